"""Owns how a model folder is replaced by a newer one at a stroke. Knows file names, no tensor."""

import ctypes
import errno
import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

from engine.config import CONFIG_NAMES

MODEL_FILES = (
    *CONFIG_NAMES,
    *("generation_config.json", "encoder.json", "vocab.json", "vocab.bpe", "merges.txt"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("model*.safetensors", "model*.safetensors.index.json"),
    *("pytorch_model*.bin", "pytorch_model*.bin.index.json"),
    *("checkpoint", "model*.index", "model*.meta", "*.data-[0-9]*-of-[0-9]*"),
    *("tf_model.h5", "flax_model.msgpack"),
)
"""What makes up a model in one format or another; whatever else lies in its folder is kept."""
AT_FDCWD = -100
RENAME_EXCHANGE = 2


def is_of_a_model(name: str) -> bool:
    """Tell whether a file of that name makes up a model.

    >>> is_of_a_model("model-00001-of-00002.safetensors"), is_of_a_model("training.json")
    (True, False)
    """
    return any(fnmatch(name, pattern) for pattern in MODEL_FILES)


def replace_model(new: Path, folder: Path) -> None:
    """Put the model in `new` into the place of the one in `folder`, with all else that lies there.

    Where the system can swap two folders (Linux, on most file systems), a reader finds the old
    model or the new one, whole, whenever it looks and whatever is killed. Elsewhere the files
    change one by one, and a reader finds no model meanwhile: `config.json` goes first and comes
    last. Files that are open go on; none may be made or renamed in the folder by others meanwhile.

    Args:
        new: a whole model, on the same file system; gone afterwards.
        folder: where to; it need not exist, or hold a model.

    Raises:
        OSError: the disk refuses.
    """
    for path in (*new.iterdir(), new):
        flush(path)
    if not folder.exists():
        new.rename(folder)
    else:
        try:
            _carry_along(folder, new)
            _exchange(new, folder)
        except OSError:
            _replace_each(new, folder)
        shutil.rmtree(new, ignore_errors=True)
    flush(folder.parent)


def flush(path: Path) -> None:
    """Have a file or a folder on the disk: a power cut may keep a name and lose what it holds.

    Raises:
        OSError: the disk refuses.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _carry_along(folder: Path, new: Path) -> None:
    # Links, not moves: until the swap, and if it never comes, the old folder has to stay whole.
    def skip(at: str, names: list[str]) -> set[str]:
        return set(filter(is_of_a_model, names)) if Path(at) == folder else set()

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(folder, new, ignore=skip, copy_function=link, symlinks=True, dirs_exist_ok=True)


def _exchange(one: Path, other: Path) -> None:
    # Python has no name for it: rename(2), which Linux has since 3.15 and glibc since 2.28.
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))


def _replace_each(new: Path, folder: Path) -> None:
    for name in CONFIG_NAMES:
        (folder / name).unlink(missing_ok=True)
    for path in folder.iterdir():
        if is_of_a_model(path.name):
            path.unlink()
    files = [path for path in new.iterdir() if is_of_a_model(path.name)]
    for path in sorted(files, key=lambda path: path.name in CONFIG_NAMES):
        path.replace(folder / path.name)
    flush(folder)

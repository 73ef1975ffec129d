"""Owns how a model's files are told from those of another training. Opens none of them."""

from pathlib import Path

from engine.checkpoints.replacing import is_of_a_model

FileStamps = frozenset[tuple[str, int, int, int]]
"""What tells the files of a model from those that are there after another training."""


def file_stamps(folder: Path) -> FileStamps:
    """Return what a model's files look like from outside.

    Args:
        folder: of the model.

    Returns:
        Nothing while the folder is being replaced: half of them would look like another model.
    """
    stamps = set()
    try:
        for path in folder.iterdir():
            if is_of_a_model(path.name):
                stat = path.stat()
                stamps.add((path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    except OSError:
        return frozenset()
    return frozenset(stamps)

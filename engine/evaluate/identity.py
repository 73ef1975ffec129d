"""Owns saying exactly which files were measured: their SHA-256. Knows no tensors."""

import hashlib
import json
from pathlib import Path

from tqdm import tqdm

from engine.checkpoints.opening import READERS
from engine.checkpoints.tensorflow import find_tensorflow
from engine.errors import ModelError

CHUNK_BYTES = 2**22
SLOW_FROM_BYTES = 10**9
"""From here on hashing takes seconds, and a progress bar shows it."""


def weights_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a model's weights are loaded from, by its name.

    Raises:
        ModelError: there is none, or several and nothing says which.
    """
    return {path.name: file_sha256(path) for path in _weight_files(folder)}


def _weight_files(folder: Path) -> list[Path]:
    """List what `engine.checkpoints.opening` chooses, and what belongs to it."""
    known = (folder / name for name in READERS)
    main = next((path for path in known if path.is_file()), None) or find_tensorflow(folder)
    if main is None:
        msg = f"{folder} holds no weights"
        raise ModelError(msg)
    if main.suffix == ".index":
        return [main, *sorted(folder.glob(f"{main.stem}.data-*"))]
    if main.suffix == ".json":
        shards = json.loads(main.read_text(encoding="utf-8"))["weight_map"].values()
        return [main, *(folder / shard for shard in sorted(set(shards)))]
    return [main]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    size_bytes = path.stat().st_size
    digest = hashlib.sha256()
    # None: shown on a terminal only.
    hidden = True if size_bytes < SLOW_FROM_BYTES else None
    with (
        path.open("rb") as file,
        tqdm(total=size_bytes, unit="B", unit_scale=True, desc="hash", disable=hidden) as bar,
    ):
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()

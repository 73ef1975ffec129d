"""A release small enough to download in a test, who watches, and a process that can be killed."""

import hashlib
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.download import download
from engine.fetch import Patience
from engine.releases import Release, ReleasedFile

WEIGHTS = "model.safetensors"
FILES = {
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"#version: 0.2\n",
    WEIGHTS: random.Random(0).randbytes(300_000),
    "config.json": b'{"n_layer": 1}',
}
PREFIX = "/openai-community/gpt2/resolve/0123abcd/"
"""Where the server has the files."""
WEIGHTS_PATH = PREFIX + WEIGHTS
ALL_BYTES = sum(map(len, FILES.values()))
HASTE = Patience(attempts=4, backoff_s=0.0, connect_s=10.0, read_s=10.0)

Get = Callable[..., dict[str, bytes]]
"""Downloads the small release, given a Patience, and returns what the folder holds."""
Run = Callable[..., int]
"""Runs the whole command, given options, and returns its exit status."""


def make_release(files: Mapping[str, bytes] = FILES, *, size_bytes: int | None = None) -> Release:
    """Pin these files; `size_bytes` is said of each instead of what it has."""
    released = tuple(
        ReleasedFile(name, size_bytes or len(data), hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    )
    return Release("124M", "openai-community/gpt2", "0123abcd", released)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Watcher:
    """Counts the bytes and keeps the lines."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self.lines: list[str] = []

    def advance(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes

    def say(self, line: str) -> None:
        self.lines.append(line)


def download_in_process(mirror: str, models: Path) -> None:
    """Run as a process of its own, so that it can be killed."""
    download(make_release(), models, Watcher(), mirror=mirror, patience=HASTE)

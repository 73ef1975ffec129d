"""Copies of the checkout in which a safeguard can be switched off. Knows no test runner."""

import shutil
from pathlib import Path

from tests.mutations.table import Mutation

CHECKOUT = Path(__file__).resolve().parents[2]
COPIED = ("bot", "codec", "engine", "sandbox", "tests", "wire", "pyproject.toml")
LINKED = ("models/demo",)
"""Large, and only read."""
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*")


def copied(folder: Path) -> Path:
    """Put a copy of the checkout into an empty folder, and return where it is."""
    for name in COPIED:
        source, target = CHECKOUT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=NOT_COPIED)
        else:
            shutil.copy2(source, target)
    for name in LINKED:
        link = folder / name
        link.parent.mkdir(parents=True)
        link.symlink_to(CHECKOUT / name)
    return folder


def switched_off(root: Path, mutation: Mutation) -> None:
    """Switch a safeguard off in a copy.

    Raises:
        ValueError: The text that is to be replaced does not stand there exactly once.
    """
    file = root / mutation.file
    text = file.read_text(encoding="utf-8")
    num_found = text.count(mutation.old)
    if num_found != 1:
        msg = f"{mutation.name}: {mutation.file} holds its text {num_found} times, not once"
        raise ValueError(msg)
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")

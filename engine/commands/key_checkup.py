"""Looks after the watermark's key: is it there, whole, and for its owner's eyes only.

Makes no key and shows none; only its fingerprint is ever said.
"""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from engine.commands.marking import MarkingCommand
from engine.errors import EngineError
from engine.key_store import parse_keys
from engine.watermark import WatermarkKey
from wire.findings import Finding, fault, note, ok

SETTING = "OVID_WATERMARK_KEY"
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_key(settings: MarkingCommand) -> tuple[list[Finding], str | None]:
    """Check what the watermark's settings lead to.

    Returns:
        What was found, and the fingerprint of the key that marks: empty for none (yet), None for
        one that cannot be read.
    """
    found, keys = _find_keys(settings)
    if not settings.watermark:
        said = "OVID_WATERMARK is off: nobody can prove what this engine writes"
        return [note("key", said, "OVID_WATERMARK=on marks it."), *found], ""
    if keys is None:
        return found, None
    return found, keys[0].fingerprint if keys else ""


Found = tuple[list[Finding], tuple[WatermarkKey, ...] | None]
"""Keys, none yet, or None where they cannot be read."""


def _find_keys(settings: MarkingCommand) -> Found:
    if settings.watermark_key is not None:
        return _read(settings.watermark_key.get_secret_value(), SETTING)
    path = settings.key_file
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return [_foresee(path)], ()
    except OSError as error:
        said = f"{path} cannot be read: {error.strerror}"
        return [fault("key", said, "Let it be a file of the user that runs the engine.")], None
    found, keys = _read(text, str(path))
    return [*_check_mode(path, mode), *found], keys


def _read(text: str, origin: str) -> Found:
    try:
        keys = parse_keys(text, origin)
    except EngineError as error:
        remedy = "Put it back from a copy; without one, older texts can no longer be proved."
        return [fault("key", str(error).removesuffix("."), remedy)], None
    old = f"; old ones: {', '.join(key.fingerprint for key in keys[1:])}" if keys[1:] else ""
    return [ok("key", f"{keys[0].fingerprint} from {origin}{old}")], keys


def _check_mode(path: Path, mode: int) -> Iterator[Finding]:
    if mode & OTHERS:
        yield fault(
            "key",
            f"{path} is open to others (mode {stat.S_IMODE(mode):o}), who could forge the mark",
            f"chmod 600 {path}; if others may have seen it, put a new key on its first line.",
        )


def _foresee(path: Path) -> Finding:
    """Say whether the first start can make the key."""
    above = unwritable_above(path)
    if above is None:
        return note("key", f"there is none yet; the first start makes it in {path}")
    return fault(
        "key",
        f"there is none, and none can be made in {path}",
        f"Let {above} be writable, or name another place in OVID_WATERMARK_KEY_FILE.",
    )


def unwritable_above(path: Path) -> Path | None:
    """Return what keeps this user from making a file; None where it can be made."""
    may = partial(os.access, effective_ids=os.access in os.supports_effective_ids)
    above = next(folder for folder in path.absolute().parents if may(folder, os.F_OK))
    return None if may(above, os.W_OK | os.X_OK) else above

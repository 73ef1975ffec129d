"""Owns where the watermark's keys are kept: in a setting, or in a file that only its owner reads.

Nothing here shows a key, not even one that is damaged: errors name the file or the setting.
"""

import logging
import os
import secrets
import stat
from pathlib import Path

from engine.errors import EngineError
from engine.watermark import KEY_BYTES, WatermarkKey

log = logging.getLogger(__name__)

OWNER_ONLY = 0o600
HOW_TO = (
    f"a key is {2 * KEY_BYTES} hexadecimal digits; several, the current one first, stand on lines "
    f"of their own or behind commas"
)


def parse_keys(text: str, origin: str) -> tuple[WatermarkKey, ...]:
    """Read keys, the current one first.

    Args:
        text: hexadecimal, parted by commas or white space.
        origin: the file or setting that it comes from, for the error.

    Raises:
        EngineError: there is no key, or one is damaged.
    """
    words = text.replace(",", " ").split()
    try:
        keys = tuple(WatermarkKey(bytes.fromhex(word)) for word in words)
    except ValueError:
        keys = ()
    if not keys:
        # Without the cause, which quotes what it could not read.
        msg = f"{origin} holds no watermark key: {HOW_TO}."
        raise EngineError(msg) from None
    return keys


def open_keys(path: Path) -> tuple[WatermarkKey, ...]:
    """Read the keys in a file, making one with a fresh key where there is none.

    Raises:
        EngineError: the file can be neither read nor made, or holds no key.
    """
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        msg = (
            f"the watermark key cannot be kept in {path}: {error.strerror}. Name another place in "
            f"OVID_WATERMARK_KEY_FILE, put a key into OVID_WATERMARK_KEY ({HOW_TO}), or set "
            f"OVID_WATERMARK=off."
        )
        raise EngineError(msg) from error
    return read_keys(path)


def read_keys(path: Path) -> tuple[WatermarkKey, ...]:
    """Read the keys in a file that is there.

    A file that others may read or write is taken, since where it is mounted its mode may not be
    the operator's to choose; a warning names it.

    Raises:
        EngineError: the file cannot be read, or holds no key.
    """
    try:
        _warn_of_others(path)
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        msg = (
            f"the watermark key in {path} cannot be read: {error.strerror}. Let it be a file that "
            f"the engine's user may read, or name another one in OVID_WATERMARK_KEY_FILE."
        )
        raise EngineError(msg) from error
    return parse_keys(text, str(path))


def _warn_of_others(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~OWNER_ONLY & (stat.S_IRWXG | stat.S_IRWXO):
        log.warning(
            "the watermark key in %s is open to other users of this machine (mode %04o): whoever "
            "has it can forge the mark. Close it with: chmod 600 %s",
            path,
            mode,
            path,
        )


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Never over another one: of two engines that start at once, one makes the key of both.
        os.link(partial, path)
        log.info("made a watermark key in %s: keep a copy, since only it proves its texts", path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()

"""Owns the watermark's settings, for every command that writes texts or verifies them."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import CliSuppress

from engine.key_store import open_keys, parse_keys, read_keys
from engine.settings import OFF_THE_COMMAND_LINE, ModelCommand
from engine.watermark import WatermarkKey

KEY_FILE_NAME = ".watermark-key"


class MarkingCommand(ModelCommand):
    """A command that has to do with the watermark."""

    watermark: bool = True
    """Mark texts, so that `verify` can tell them; `--no-watermark`, OVID_WATERMARK=off: not."""
    watermark_key: CliSuppress[SecretStr | None] = Field(
        default=None, json_schema_extra=OFF_THE_COMMAND_LINE
    )
    """The secret of the mark, 64 hexadecimal digits; behind it and commas old ones. Left out: it is
    kept in a file."""
    watermark_key_file: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    """Where the secret is kept, made at the first start; left out: in .watermark-key, beside the
    models. OVID_WATERMARK_KEY, in the environment alone, is the secret itself."""

    def keys(self) -> tuple[WatermarkKey, ...]:
        """Return all keys, the current one first.

        Raises:
            EngineError: they can be neither read nor made.
        """
        if self.watermark_key is not None:
            return parse_keys(self.watermark_key.get_secret_value(), "OVID_WATERMARK_KEY")
        return open_keys(self.key_file)

    def known_keys(self) -> tuple[WatermarkKey, ...]:
        """Return all keys that are there already, the current one first; none is made.

        Raises:
            EngineError: they cannot be read.
        """
        if self.watermark_key is not None:
            return self.keys()
        return read_keys(self.key_file) if self.key_file.exists() else ()

    def marking_key(self) -> WatermarkKey | None:
        """Return the key that marks new texts; None where none is wanted.

        Raises:
            EngineError: it can be neither read nor made.
        """
        return self.keys()[0] if self.watermark else None

    @property
    def key_file(self) -> Path:
        """Return where the secret is kept unless a setting holds it."""
        return self.watermark_key_file or self.models / KEY_FILE_NAME

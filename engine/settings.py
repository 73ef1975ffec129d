"""Owns what every command takes: by option, by environment (`OVID_…`), by `.env`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Command(BaseSettings):
    """What every command takes, and what it does."""

    model_config = SettingsConfigDict(
        env_prefix="OVID_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    models: Path = Path("models")
    """Folder of the models that are known by name."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to run; auto takes CUDA when there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of the model; left out: all cores."""

    def run(self) -> None:
        """Do it.

        Raises:
            EngineError, VocabularyError, ValueError, OSError: it cannot be done; the text says why.
        """
        raise NotImplementedError


class ModelCommand(Command):
    """A command that runs a model."""

    model: str = "demo"
    """The model to run: a name or a folder."""

"""Owns what every command takes: by option, by environment (`OVID_…`), by `.env`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, SettingsConfigDict

NOTHING = "–"
"""Given to an option, it is as if left out. The library's own word for it is None, and that may be
what somebody wants continued."""

OFF_THE_COMMAND_LINE: JsonDict = {"off_the_command_line": True}
"""Schema of a secret that is taken from the environment alone: every user of a machine can list the
arguments of its processes."""


class Command(BaseSettings):
    """What every command takes, and what it does.

    The first line of a command's docstring is what the list of commands says of it, and the
    sentence below each field is what `--help` says of the option.
    """

    model_config = SettingsConfigDict(
        env_prefix="OVID_",
        env_file=".env",
        env_ignore_empty=True,
        # The environment and `.env` also hold what other commands take; the command line may not.
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_parse_none_str=NOTHING,
        cli_exit_on_error=False,
        # What OpenAI's scripts and their PyTorch port call the same thing.
        cli_shortcuts={
            "models": "models-dir",
            "model": ["model-name", "param"],
            "prompt": "text",
            "as-json": "json",
        },
    )

    models: Annotated[Path, AfterValidator(Path.expanduser)] = Path("models")
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

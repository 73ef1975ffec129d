"""Owns the engine's command line: settings in, one command run, an exit status out."""

import os
import pkgutil
import sys
from collections.abc import Callable

import torch
from pydantic import ValidationError
from pydantic_settings import CliApp

from codec.vocabulary import VocabularyError
from engine.errors import EngineError
from engine.settings import Command
from wire.jobs import explain

COMMANDS = {
    "serve": "engine.commands.serve:Serve",
    "sample": "engine.commands.sample:Sample",
    "finetune": "engine.train.command:Finetune",
}
"""By name, so that a command imports only what it needs itself."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 1 (it failed), 2 (it was asked wrongly)."""
    name, *args = (sys.argv[1:] if argv is None else argv) or [""]
    if name not in COMMANDS:
        print(_usage(), file=sys.stderr)
        return 0 if name in ("-h", "--help") else 2
    try:
        command = CliApp.run(_command(name), cli_args=args)
    except ValidationError as error:
        print(f"{name}: {explain(error)}", file=sys.stderr)
        return 2
    if command.threads is not None:
        torch.set_num_threads(command.threads)
    return _status_of(name, command.run)


def _status_of(name: str, run: Callable[[], None]) -> int:
    """Run a command; what goes wrong on the way becomes a sentence."""
    try:
        run()
    except BrokenPipeError:
        # Whoever reads, such as `head`, has seen enough; what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (EngineError, VocabularyError, ValueError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except torch.OutOfMemoryError:
        print(
            f"{name}: the device is out of memory: use fewer slots or a smaller model",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _command(name: str) -> type[Command]:
    kind: type[Command] = pkgutil.resolve_name(COMMANDS[name])
    return kind


def _usage() -> str:
    lines = [f"  {name:10} {_command(name).__doc__}" for name in COMMANDS]
    return "\n".join(["usage: python -m engine COMMAND [options]", *lines])


if __name__ == "__main__":
    sys.exit(main())

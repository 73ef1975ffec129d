"""Owns the engine's command line: a command's name in, the command run, an exit status out."""

import ast
import importlib.metadata
import importlib.util
import io
import os
import pkgutil
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codec.vocabulary import VocabularyError
from engine.command_line import UsageError, nearest, read_command
from engine.errors import EngineError
from wire.version import VERSION

if TYPE_CHECKING:
    from engine.settings import Command

COMMANDS = {
    "serve": "engine.commands.serve:Serve",
    "sample": "engine.commands.sample:Sample",
    "chat": "engine.commands.chat:Chat",
    "download": "engine.commands.download:Download",
    "finetune": "engine.train.command:Finetune",
    "verify": "engine.commands.verify:Verify",
    "evaluate": "engine.evaluate.command:Evaluate",
    "bench": "engine.commands.bench:Bench",
    "doctor": "engine.commands.doctor:Doctor",
}
"""By name, so that a command imports only what it needs itself."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 1 (it failed), 2 (it was asked wrongly)."""
    name, *args = (sys.argv[1:] if argv is None else argv) or [""]
    _open_what_is_closed()
    match name, args:
        case ("-h" | "--help", _) | ("help", []):
            return _status_of("help", lambda: print(_usage()))
        case "--version", _:
            return _status_of("version", lambda: print(_version()))
        case "help", [name, *_]:
            args = ["--help"]
        case _:
            pass
    if name not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        return 2
    return _status_of(name, lambda: _run(name, args))


def _run(name: str, args: list[str]) -> None:
    kind: type[Command] = pkgutil.resolve_name(COMMANDS[name])
    command = read_command(kind, name, args)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no robot shows a question mark; the words of the label remain.
        sys.stdout.reconfigure(errors="replace")
    # PyTorch takes seconds to import, so only commands that use it do; no other has threads.
    torch = sys.modules.get("torch")
    if torch is not None and command.threads is not None:
        torch.set_num_threads(command.threads)
    command.run()


def _status_of(name: str, run: Callable[[], None]) -> int:
    """Run a command; what goes wrong on the way becomes a sentence."""
    status, said = 0, ""
    try:
        try:
            run()
        finally:
            # That it cannot be written is to be known now, and not when Python has gone.
            sys.stdout.flush()
    except SystemExit as end:
        # Help was asked for and printed.
        status = end.code if isinstance(end.code, int) else 0
    except UsageError as error:
        status, said = 2, str(error)
    except BrokenPipeError:
        # Whoever reads, such as `head`, has seen enough.
        status = 1
    except (EngineError, VocabularyError, ValueError, OSError, FloatingPointError) as error:
        status, said = 1, str(error)
    except (RuntimeError, MemoryError) as error:
        # By name and words, since this command may do without PyTorch.
        short = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not short and "can't allocate memory" not in str(error):
            raise
        status, said = 1, "memory is used up: take fewer slots, smaller batches or a smaller model"
    except KeyboardInterrupt:
        status = 130
    if said:
        print(f"{name}: {said}", file=sys.stderr)
    _let_go_of_output()
    return status


def _open_what_is_closed() -> None:
    """Put nothing in the place of a stream that the caller has closed: Python has none then."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - for good
            setattr(sys, name, nothing)


def _let_go_of_output() -> None:
    """Forget what cannot be written, since Python would try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage() -> str:
    return "\n".join(
        [
            "usage: python -m engine COMMAND [options]",
            "",
            *(f"  {name:10} {_summary(target)}" for name, target in COMMANDS.items()),
            "",
            "python -m engine help COMMAND lists its options; --version says what runs here.",
        ]
    )


def _unknown(name: str) -> str:
    if not name:
        return _usage()
    question = nearest(name, list(COMMANDS)) or f": there are {', '.join(COMMANDS)}"
    return f"there is no command {name!r}{question}"


def _summary(target: str) -> str:
    """Return the first line of a command's docstring, read without importing what it needs."""
    module, _, kind = target.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind]
    return (ast.get_docstring(found) or "").partition("\n")[0]


def _version() -> str:
    torch = importlib.metadata.version("torch")
    return f"ovid {VERSION}, torch {torch}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())

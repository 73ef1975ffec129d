"""`python -m sandbox`: starts Redis, engine, bot and a local Discord, and lets a person talk to it.

Exit status: 0 after a labelled reply or `/quit`, 1 with a sentence when there was none, 130 after
Ctrl-C, 143 after SIGTERM. Nothing that was started is left behind.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack

from sandbox.chat import Chat, LeaveError
from sandbox.processes import START_WITHIN_S, Child, Program, ProgramError, log_folder, running
from sandbox.redis_server import RedisServer, RedisServerError
from sandbox.server import Sandbox
from sandbox.terminal import Printer, ReplyError, once

PROMPT = "In a shocking finding, scientists discovered a herd of unicorns"
"""How OpenAI's best-known sample of GPT-2 begins."""
REPLY_WITHIN_S = 120.0
"""Generous: a loaded machine without a GPU."""

Programs = Callable[[Sandbox, str, argparse.Namespace], list[Program]]


def engine_and_bot(sandbox: Sandbox, redis_url: str, options: argparse.Namespace) -> list[Program]:
    """Say how the engine and the bot are started for this sandbox and this Redis."""
    engine = {"OVID_REDIS_URL": redis_url}
    if options.model:
        engine["OVID_MODEL"] = options.model
    if options.device:
        engine["OVID_DEVICE"] = options.device
    bot = {
        "OVID_REDIS_URL": redis_url,
        "DISCORD_TOKEN": sandbox.token,
        "OVID_DISCORD_API": sandbox.api_url,
        "OVID_DISCORD_GATEWAY": sandbox.gateway_url,
    }
    python = sys.executable
    return [
        Program("engine", (python, "-m", "engine", "serve"), "engine ready", engine),
        Program("bot", (python, "-m", "bot", "run"), "bot ready", bot),
    ]


def read_options(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="Talk to Ovid in a local Discord: no account, no network.",
    )
    parser.add_argument(
        "--once", metavar="TEXT", help="say this, print the reply, and end; status 0 if labelled"
    )
    parser.add_argument("--model", help="the model to run: a name or a folder")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to run it")
    parser.add_argument(
        "--within",
        metavar="SECONDS",
        type=float,
        default=REPLY_WITHIN_S,
        help="how long the reply to --once may take (default %(default)g)",
    )
    return parser.parse_args(argv)


async def demo(options: argparse.Namespace, programs: Programs = engine_and_bot) -> None:
    """Start everything, talk, and stop everything.

    Raises:
        ProgramError, RedisServerError: when something does not start or dies.
        ReplyError: when no labelled reply arrives.
    """
    printer = Printer()
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(log_folder())
        redis_url = os.environ.get("OVID_REDIS_URL", "")
        if redis_url:
            printer.note("using the Redis at OVID_REDIS_URL")
        else:
            server = await stack.enter_async_context(RedisServer())
            redis_url = server.url
            printer.note("a private Redis is ready")
        sandbox = await stack.enter_async_context(Sandbox())
        printer.note(f"a local Discord is ready at {sandbox.api_url}")
        children: list[Child] = []
        for program in programs(sandbox, redis_url, options):
            printer.note(f"starting the {program.name}: {' '.join(program.command)}")
            children.append(await stack.enter_async_context(running(program, folder)))
        for child in children:
            await child.ready(START_WITHIN_S)
            printer.note(f"the {child.name} is ready")
        try:
            await _until_death(_talk(sandbox, options, printer), children)
        except ReplyError as error:
            msg = f"{error} The logs are in {folder}."
            raise ReplyError(msg) from None


async def _until_death(talk: Coroutine[None, None, None], children: list[Child]) -> None:
    """Talk until the end, or until a program dies, which is raised."""
    tasks = [asyncio.create_task(talk), *(asyncio.create_task(child.died()) for child in children)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await next(task for task in tasks if task.done())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _talk(sandbox: Sandbox, options: argparse.Namespace, printer: Printer) -> None:
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if options.once is None and on_terminal:
        printer.write("Type a text for the bot, /help for more, /quit to end.\n")
        await Chat(sandbox).run(PROMPT)
    else:
        text = PROMPT if options.once is None else options.once
        await once(sandbox, text, printer, options.within)


def main(argv: list[str] | None = None, programs: Programs = engine_and_bot) -> int:
    """Run the command line and return the exit status."""
    options = read_options(argv)
    try:
        asyncio.run(demo(options, programs))
    except (ProgramError, RedisServerError, ReplyError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, LeaveError):
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush to them again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

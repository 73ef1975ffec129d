"""`python -m bot run | doctor | invite`: settings, Redis, client, signals, exit codes. No more.

Exit status: 0 after a stop that was asked for, 2 when something keeps the bot from starting; that
of `doctor` goes by the worst that it finds.
"""

import signal

if __name__ == "__main__":
    # While the libraries load, Ctrl-C ends the program without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import contextlib
import io
import logging
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import aiohttp
import discord
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bot.ban import Ban
from bot.client import BotClient, invite_link
from bot.discord_api import log_in, use_discord_at
from bot.doctor import examine, may_be_token
from bot.health import BotHealth, health_server
from bot.metrics import BotMetrics
from bot.queue_watch import QueueWatch
from bot.settings import TOKEN_PAGE, BadSettingsError, BotSettings, load_settings
from bot.supervise import Pauses
from wire.connection import connect, hide_password
from wire.findings import EXIT_STATUS, exit_status
from wire.listening import cannot_listen
from wire.log_lines import LogFormat, set_up_logging
from wire.queue import Bounds, JobQueue

_log = logging.getLogger("bot")

EXIT_CANNOT_START = 2
INTERRUPTED = 130
"""The exit status after Ctrl-C, as a shell has it."""
CLOSED_FOR_BAD_TOKEN = 4004
RETRY_S, RETRY_MAX_S = 5.0, 120.0
"""How soon Discord is tried again. Of a thousand sessions a day each takes one, and past the last
Discord resets the token; so a bot that loses each at once waits longer and longer.
Source: discord.com/developers/docs, "Gateway", "Session Start Limit"."""
BAD_TOKEN = f"Discord does not take DISCORD_TOKEN: reset it and copy it anew at {TOKEN_PAGE}"


C = TypeVar("C", bound=discord.Client)


class StartError(Exception):
    """What keeps the bot from starting, as a sentence for a person."""


def main() -> None:
    """Run the command line and exit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="bot", description="Ovid's Discord bot.")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser(
        "run", help="answer people until stopped (what it does if nothing is named)"
    )
    about_doctor = "say what keeps the bot from answering, and the remedy"
    commands.add_parser("doctor", help=about_doctor, description=about_doctor, epilog=EXIT_STATUS)
    commands.add_parser("invite", help="print the link that adds the bot to a server")
    command = parser.parse_args().command or "run"
    if command == "doctor":
        sys.exit(doctor())
    try:
        settings = read_settings()
        configure_logging(settings.log_level, settings.log_format)
        asyncio.run(_until_stopped(run(settings) if command == "run" else invite(settings)))
    except StartError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CANNOT_START)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def doctor() -> int:
    """Print what keeps the bot from answering, and return the exit status."""
    configure_logging("ERROR")
    try:
        found = asyncio.run(examine())
    except KeyboardInterrupt:
        return INTERRUPTED
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What servers are called may hold what a terminal has no letters for.
        sys.stdout.reconfigure(errors="replace")
    for each in found:
        print(each.line())
    return exit_status(found)


def read_settings() -> BotSettings:
    """Read the settings from the environment and `.env`.

    Raises:
        StartError: With a sentence for each setting that can't be used.
    """
    try:
        settings = load_settings()
    except BadSettingsError as error:
        raise StartError("\n".join(error.args)) from None
    token = settings.discord_token.get_secret_value().strip()
    if not token:
        msg = f"DISCORD_TOKEN is not set: make a bot and copy its token at {TOKEN_PAGE}"
        raise StartError(msg)
    if not may_be_token(token):
        raise StartError(BAD_TOKEN)
    return settings


def configure_logging(level: str, log_format: LogFormat = "text") -> None:
    """Log to standard error.

    discord.py's own logger stays at INFO or above, as its DEBUG shows messages and tokens.
    """
    set_up_logging(level, log_format)
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    logging.getLogger("discord").setLevel(max(logging.INFO, logging.getLevelName(level)))


async def run(settings: BotSettings) -> None:
    """Answer people, and connect again and again while Discord can't be reached.

    Raises:
        StartError: Discord does not take the token, the Redis URL can't be read, or the port for
            health can't be had.
    """
    bounds = Bounds(settings.max_waiting, settings.max_unfinished_per_user)
    metrics, ban = BotMetrics(), Ban()
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(_connect_redis(settings))
        queue = JobQueue(redis)
        watch = QueueWatch(queue)
        health = BotHealth(watch, ban)
        # Before anything is waited for: it is asked for most where something does not answer.
        await stack.enter_async_context(_serve_health(health, metrics, settings))
        await _look_for_redis(redis, settings)
        await stack.enter_async_context(watch)

        async def answer_people(client: BotClient) -> None:
            _log.info("add the bot to a server: %s", invite_link(client.application_id or 0))
            await client.connect()

        pauses = Pauses(RETRY_S, RETRY_MAX_S)
        while True:
            health.client = client = BotClient(
                queue, bounds, note=settings.label_note, watch=watch, metrics=metrics, ban=ban
            )
            began_s = time.monotonic()
            await at_discord(client, settings, answer_people)
            health.client = None
            lasted_s = time.monotonic() - began_s
            await asyncio.sleep(pauses.after(lasted_s) if client.shards else RETRY_S)


async def invite(settings: BotSettings) -> None:
    """Print the link that adds the bot to a server.

    Raises:
        StartError: Discord does not take the token, or can't be reached.
    """

    async def print_link(client: discord.Client) -> None:
        print(invite_link(client.application_id or 0))

    client = discord.Client(intents=discord.Intents.none())
    if not await at_discord(client, settings, print_link):
        msg = "Discord can't be reached, and only it knows the bot's id."
        raise StartError(msg)


async def at_discord(
    client: C, settings: BotSettings, work: Callable[[C], Awaitable[None]]
) -> bool:
    """Log in and do `work`; False when Discord could not be reached, then or later.

    Raises:
        StartError: Discord does not take the token.
    """
    use_discord_at(settings.discord_api, settings.discord_gateway)
    async with client:
        try:
            await log_in(client, settings.discord_token.get_secret_value())
            await work(client)
        except discord.LoginFailure:
            raise StartError(BAD_TOKEN) from None
        except discord.ConnectionClosed as error:
            if error.code == CLOSED_FOR_BAD_TOKEN:
                raise StartError(BAD_TOKEN) from None
            _log.warning("Discord closed the connection with code %s", error.code)
        except (aiohttp.ClientError, OSError, discord.DiscordException) as error:
            _log.warning("Discord can't be reached: %s", error)
        except Exception as error:  # noqa: BLE001  # an event that the library can't read ends it
            # Without its text, which may quote what a person wrote.
            frames = "".join(traceback.format_tb(error.__traceback__))
            _log.error("the connection to Discord broke with %s:\n%s", type(error).__name__, frames)
        else:
            return True
    return False


def _connect_redis(settings: BotSettings) -> Redis:
    try:
        return connect(settings.redis_url.get_secret_value())
    except ValueError as error:
        msg = f"OVID_REDIS_URL: {error}"
        raise StartError(msg) from None


@contextlib.asynccontextmanager
async def _serve_health(
    health: BotHealth, metrics: BotMetrics, settings: BotSettings
) -> AsyncIterator[None]:
    """Answer how the bot is, if that is wanted."""
    host, port = settings.bot_health_host, settings.bot_health_port
    if port is None:
        yield
        return
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(health_server(health, metrics, host, port))
        except (OSError, UnicodeError) as error:
            msg = f"OVID_BOT_HEALTH_PORT: {cannot_listen(host, f'port {port}', error)}"
            raise StartError(msg) from None
        yield


async def _look_for_redis(redis: Redis, settings: BotSettings) -> None:
    try:
        await redis.ping()
    except RedisError as error:
        where = hide_password(settings.redis_url.get_secret_value())
        _log.warning(
            "Redis does not answer at %s; requests are refused until it does: %s", where, error
        )


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do `work` until it ends or a signal asks to stop, which is no failure."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        _log.info("stopped")


if __name__ == "__main__":
    main()

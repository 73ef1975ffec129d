"""Looks for what keeps the bot from answering: settings, Discord, Redis, engines, clocks, port.

Owns what is asked of Discord. What Redis is asked stands in `wire.checkup`, what of a port in
`wire.listening`, how a finding is said in `wire.findings`. Changes nothing, and shows no token.
"""

import asyncio
import contextlib
import importlib.metadata
import platform
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import discord
import yarl

from bot.client import PERMISSIONS, invite_link
from bot.discord_api import log_in, use_discord_at
from bot.doctor_channels import look_into
from bot.settings import TOKEN_PAGE, BadSettingsError, BotSettings, load_settings
from wire.checkup import Clock, check_queue, compare_clocks
from wire.findings import Finding, fault, few, note, ok, warn, within
from wire.listening import check_port

DISCORD_LIMIT_S = 6.0
"""What all that is asked of Discord may take."""
GATEWAY_VERSION = {"v": "10", "encoding": "json"}
HELLO = 10
MAX_SERVERS = 200
"""What one answer of Discord's lists."""
NUM_SERVERS_NAMED = 5
BAD_TOKEN = (
    "Discord does not take DISCORD_TOKEN",
    f"Reset it and copy it anew at {TOKEN_PAGE}.",
)


async def examine() -> list[Finding]:
    """Check all that the bot needs; takes ten seconds at most, even if nothing answers."""
    try:
        settings = load_settings()
    except BadSettingsError as error:
        remedy = "Correct it in the environment or in .env."
        return [fault("settings", each.removesuffix("."), remedy) for each in error.args]
    discord_late = fault(
        "discord",
        f"it has not said all within {DISCORD_LIMIT_S:.0f} s",
        "See whether this machine reaches discord.com, and https://discordstatus.com.",
    )
    at_discord, in_queue = await asyncio.gather(
        within(DISCORD_LIMIT_S, discord_late, check_discord(settings)),
        check_queue(settings.redis_url.get_secret_value(), engine_expected=True),
    )
    return [_versions(), *at_discord, *in_queue, *_check_health_port(settings)]


async def check_discord(settings: BotSettings, now_s: Clock = time.time) -> AsyncIterator[Finding]:
    """Check the token, the application, the gateway, servers, commands and the clock.

    Args:
        settings: the bot's.
        now_s: this machine's clock, seconds since 1970.
    """
    token = settings.discord_token.get_secret_value().strip()
    if not token:
        yield fault(
            "token", "DISCORD_TOKEN is not set", f"Make a bot and copy its token: {TOKEN_PAGE}."
        )
        return
    if not may_be_token(token):
        yield fault("token", "DISCORD_TOKEN holds what no token does", BAD_TOKEN[1])
        return
    use_discord_at(settings.discord_api, settings.discord_gateway)
    clock = _DiscordsClock(now_s)
    client = discord.Client(intents=discord.Intents.none(), http_trace=clock.trace())
    try:
        async with client:
            await log_in(client, token)
            async for each in _look_around(client, settings.discord_gateway):
                yield each
            for each in clock.compare():
                yield each
    except discord.LoginFailure:
        yield fault("token", *BAD_TOKEN)
    except discord.HTTPException as error:
        yield fault(
            "discord",
            f"it answers with status {error.status}, code {error.code}",
            "Try again later (see https://discordstatus.com), or correct OVID_DISCORD_API if set.",
        )
    except (aiohttp.ClientError, OSError, discord.DiscordException) as error:
        said = f"it cannot be reached at {discord.http.Route.BASE}: {_words(error)}"
        yield fault("discord", said, "See to this machine's network, proxy and DNS.")


def may_be_token(token: str) -> bool:
    r"""Say whether it can be sent to Discord at all: one word of letters and signs.

    >>> may_be_token("MTA.x-y_z"), may_be_token("copied with\nsomething else")
    (True, False)
    """
    return token.isascii() and token.isprintable() and " " not in token


async def _look_around(client: discord.Client, gateway: str | None) -> AsyncIterator[Finding]:
    application = client.application
    assert application is not None, "a client that has logged in knows its application"
    for each in judge_application(application):
        yield each
    num_shards, url, starts = await client.http.get_bot_gateway()
    for each in judge_starts(num_shards, starts):
        yield each
    yield await _greet(yarl.URL(gateway or url))
    servers = await client.http.get_guilds(MAX_SERVERS, with_counts=False)
    for each in judge_servers(servers, invite_link(application.id)):
        yield each
    commands = await client.http.get_global_commands(application.id)
    names = [each["name"] for each in commands]
    if names:
        yield ok("commands", f"registered: {few(names, len(names))}")
    else:
        yield note("commands", "none is registered yet", "The bot does it when it runs.")
    able = [each for each in servers if not _lacks(int(each["permissions"]))]
    assert client.user is not None, "a client that has logged in knows itself"
    async for each in look_into(client, able, client.user.id):
        yield each


def judge_application(application: discord.AppInfo) -> Iterator[Finding]:
    """Judge what Discord says of the application."""
    yield ok("token", f"it is that of {application.name} ({application.id})")
    if application.interactions_endpoint_url:
        yield fault(
            "commands",
            "Discord sends them to an interactions endpoint and not to the bot",
            f"Empty that field at {TOKEN_PAGE}/{application.id}.",
        )


def judge_starts(num_shards: int, starts: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge how often the bot may still connect; past its daily bound Discord resets the token."""
    left, hours = int(starts["remaining"]), int(starts["reset_after"]) / 3_600_000
    if left < num_shards:
        yield fault(
            "gateway",
            f"{left} of {starts['total']} connections are left for today, and {num_shards} needed",
            f"Stop what restarts the bot, and wait {hours:.1f} hours.",
        )


async def _greet(url: yarl.URL) -> Finding:
    """Open the gateway and wait for its greeting, which counts as no connection."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url.update_query(GATEWAY_VERSION)) as socket,
        ):
            greeting = await socket.receive_json()
    except (aiohttp.ClientError, OSError, TypeError, ValueError) as error:
        said = f"no WebSocket can be opened to {url}: {_words(error)}"
        return fault("gateway", said, "Let this machine's firewall and proxy pass WebSockets.")
    if not isinstance(greeting, dict) or greeting.get("op") != HELLO:
        return fault(
            "gateway", f"{url} is no gateway of Discord's", "Correct OVID_DISCORD_GATEWAY."
        )
    return ok("gateway", "it greets")


def judge_servers(servers: Sequence[Mapping[str, Any]], invitation: str) -> Iterator[Finding]:
    """Judge what the bot may do in the servers it is in; single channels can still forbid it.

    Args:
        servers: as Discord lists those of a bot, the first two hundred.
        invitation: the link that adds the bot to a server, or gives it what it needs there.
    """
    if not servers:
        yield note("servers", "the bot is in none", f"Invite it: {invitation}")
        return
    lacking = {str(each["name"]): _lacks(int(each["permissions"])) for each in servers}
    lacking = {name: lacks for name, lacks in lacking.items() if lacks}
    number = f"at least {MAX_SERVERS}" if len(servers) == MAX_SERVERS else str(len(servers))
    yield ok(
        "servers", f"the bot is in {number}, and lacks nothing in {len(servers) - len(lacking)}"
    )
    for name, lacks in list(lacking.items())[:NUM_SERVERS_NAMED]:
        remedy = f"Invite it there once more, or allow its role these: {invitation}"
        yield warn("servers", f"in {name} it may not {' or '.join(lacks)}", remedy)
    if len(lacking) > NUM_SERVERS_NAMED:
        said = f"in {len(lacking) - NUM_SERVERS_NAMED} more it lacks permissions"
        yield warn("servers", said, f"Invite it there once more: {invitation}")


def _lacks(permissions: int) -> list[str]:
    has = discord.Permissions(permissions)
    if has.administrator:
        return []
    return [
        name.replace("_", " ") for name, needed in PERMISSIONS if needed and not getattr(has, name)
    ]


class _DiscordsClock:
    """The newest date that came with an answer of Discord's, and when it came."""

    def __init__(self, now_s: Clock) -> None:
        self._now_s = now_s
        self._heard: tuple[float, float] | None = None

    def trace(self) -> aiohttp.TraceConfig:
        """Return what listens to the answers."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._hear)
        return trace

    async def _hear(self, _: object, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        date = end.response.headers.get("Date")
        if date is not None:
            # It leaves out the fraction of the second, which is a half on average.
            self._heard = parsedate_to_datetime(date).timestamp() + 0.5, self._now_s()

    def compare(self) -> Iterator[Finding]:
        """Say whether it agrees with this machine's, if a date came."""
        if self._heard is not None:
            yield compare_clocks("Discord", *self._heard)


def _check_health_port(settings: BotSettings) -> Iterator[Finding]:
    host, port = settings.bot_health_host, settings.bot_health_port
    if port:
        with contextlib.ExitStack() as opened:
            yield check_port(opened, "health", "OVID_BOT_HEALTH", host, port, who="a bot")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _versions() -> Finding:
    libraries = [f"{each} {importlib.metadata.version(each)}" for each in ("discord.py", "redis")]
    return ok("versions", ", ".join([f"Python {platform.python_version()}", *libraries]))

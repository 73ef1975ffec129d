"""`python -m bot doctor`: each fault at Discord, in the settings, and its exit status."""

import asyncio
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot import doctor
from bot.doctor import examine
from bot.settings import BadSettingsError, load_settings
from sandbox.server import Sandbox
from tests.bot.findings import at_discord, only
from tests.bot.support import Engine, environment_of, running_bot
from tests.ports import held_port
from wire.findings import Level

PORTAL = "https://discord.com/developers/applications"
INVITATION = "https://discord.com/oauth2/authorize?client_id=1"
SEE = 1 << 10
ADMINISTRATOR = 1 << 3
NOBODY = 65534


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Where nobody listens, nor can by chance."""
    with held_port() as port:
        yield port


async def test_a_bot_that_lacks_nothing_is_all_well(
    sandbox: Sandbox, redis_url: str, engine: Engine, program
):
    async with running_bot(sandbox, redis_url):
        child = await program("doctor", **environment_of(sandbox, redis_url))
        assert await child.until_it_ends() == 0
    assert child.log == []
    said = (await child.process.stdout.read()).decode()
    assert "FAULT" not in said
    assert "warn" not in said
    for words in (
        f"ok    token: it is that of Ovid ({sandbox.bot_user.id}).",
        f"ok    versions: Python {platform.python_version()}, discord.py ",
        "ok    gateway: it greets.",
        "ok    servers: the bot is in 1, and lacks nothing in 1.",
        "ok    commands: registered: generate",
        "ok    clock: it agrees with Discord's.",
        "ok    clock: it agrees with Redis's.",
        "ok    engines: 1 alive: engine-1 (124M); models: 124M.",
    ):
        assert words in said
    assert sandbox.token not in said


async def test_all_faults_are_told_at_once_and_no_secret(program, tmp_path: Path):
    child = await program("doctor", OVID_REDIS_URL=f"unix://:hunter2@{tmp_path}/nowhere.sock")
    assert await child.until_it_ends() == 2
    assert child.log == []
    said = (await child.process.stdout.read()).decode()
    assert (
        f"FAULT token: DISCORD_TOKEN is not set. Make a bot and copy its token: {PORTAL}." in said
    )
    assert "FAULT redis: no use can be made of it at unix://:***@" in said
    assert "hunter2" not in said


async def test_every_bad_setting_is_a_fault(settings, monkeypatch: pytest.MonkeyPatch):
    settings()
    monkeypatch.setenv("OVID_MAX_WAITING", "0")
    monkeypatch.setenv("OVID_REDIS_URL", "http://me:hunter2@host")
    redis_url, max_waiting = [each.line() for each in await examine()]
    assert redis_url.startswith("FAULT settings: OVID_REDIS_URL: input should begin with redis://")
    assert redis_url.endswith(". Correct it in the environment or in .env.")
    assert "hunter2" not in redis_url
    assert max_waiting == (
        "FAULT settings: OVID_MAX_WAITING: input should be greater than or equal to 1, not '0'. "
        "Correct it in the environment or in .env."
    )


@pytest.mark.parametrize("name", ["OVID_DISCORD_API", "OVID_DISCORD_GATEWAY"])
@pytest.mark.parametrize(
    "address", ["discord.com/api", "ftp://host", "http://", "ws:///gateway", "ws://host:99999"]
)
async def test_an_address_that_nobody_can_have_is_a_fault(
    settings, monkeypatch: pytest.MonkeyPatch, name: str, address: str
):
    settings()
    monkeypatch.setenv(name, address)
    line = only(await examine(), Level.FAULT)
    assert line.startswith(
        f"FAULT settings: {name}: input should be an address like http://127.0.0.1:8080/api/v10, "
        f"not {address!r}."
    )


async def test_an_env_file_that_is_no_text_is_a_fault(settings, tmp_path: Path):
    settings()
    (tmp_path / ".env").write_bytes(b"OVID_LOG_LEVEL=\xff")
    line = only(await examine(), Level.FAULT)
    assert line.startswith("FAULT settings: .env: it is no UTF-8 text.")


def test_an_env_file_that_may_not_be_read_is_a_sentence(monkeypatch: pytest.MonkeyPatch):
    # Not below pytest's folders, into which no other user may look.
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    (folder / ".env").touch(mode=0)
    monkeypatch.chdir(folder)
    me = os.geteuid()
    try:
        if me == 0:
            os.seteuid(NOBODY)
        with pytest.raises(
            BadSettingsError, match=r"^\.env: it can't be read: Permission denied\.$"
        ):
            load_settings()
    finally:
        if me == 0:
            os.seteuid(me)
        shutil.rmtree(folder)


async def test_a_token_that_cannot_even_be_sent_is_a_fault(settings):
    line = only(await at_discord(settings(DISCORD_TOKEN="made.up\ntoken")), Level.FAULT)
    assert line.startswith("FAULT token: DISCORD_TOKEN holds what no token does.")
    assert "made.up" not in line


async def test_a_token_that_discord_refuses_is_a_fault(settings):
    line = only(await at_discord(settings(DISCORD_TOKEN="made.up.token")), Level.FAULT)
    assert line == (
        f"FAULT token: Discord does not take DISCORD_TOKEN. Reset it and copy it anew at {PORTAL}."
    )


async def test_a_discord_that_cannot_be_reached_is_a_fault(settings, closed_port: int):
    api = f"http://127.0.0.1:{closed_port}/api/v10"
    line = only(await at_discord(settings(OVID_DISCORD_API=api)), Level.FAULT)
    assert line.startswith(f"FAULT discord: it cannot be reached at {api}: ")


@pytest.mark.parametrize("page", ["<html>Please sign in.</html>", "{}", "[]", "null"])
async def test_what_answers_in_discords_place_is_a_fault(settings, page: str):
    async def serve(_: web.Request) -> web.Response:
        kind = "text/html" if page.startswith("<") else "application/json"
        return web.Response(text=page, content_type=kind)

    app = web.Application()
    app.router.add_get("/api/v10/{rest:.*}", serve)
    async with TestServer(app) as server:
        api = str(server.make_url("/api/v10"))
        line = only(await at_discord(settings(OVID_DISCORD_API=api)), Level.FAULT)
    said = "something else answers in its place"
    assert line.startswith(f"FAULT discord: it cannot be reached at {api}: {said}.")


async def test_a_discord_that_is_out_of_order_is_a_fault(sandbox: Sandbox, settings):
    sandbox.faults.refuse("GET /users/@me", 503)
    line = only(await at_discord(settings()), Level.FAULT)
    assert line.startswith("FAULT discord: it answers with status 503, code 0.")


async def test_a_discord_that_says_nothing_is_a_fault_and_no_hang(
    sandbox: Sandbox, settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    settings()
    monkeypatch.setattr(doctor, "DISCORD_LIMIT_S", 5.0)
    sandbox.faults.hold("GET /gateway/bot")
    async with asyncio.timeout(60):
        found = await examine()
    assert only(found, Level.FAULT).startswith("FAULT discord: it has not said all within")
    assert any(each.about == "token" and each.level is Level.OK for each in found)


async def test_a_gateway_that_cannot_be_opened_is_a_fault_and_the_rest_is_looked_at(
    settings, closed_port: int
):
    url = f"ws://127.0.0.1:{closed_port}"
    found = await at_discord(settings(OVID_DISCORD_GATEWAY=url))
    assert only(found, Level.FAULT).startswith(
        f"FAULT gateway: no WebSocket can be opened to {url}"
    )
    assert any(each.about == "servers" for each in found)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"op": 11}, "is no gateway of Discord's. Correct OVID_DISCORD_GATEWAY."),
        (["hello"], "is no gateway of Discord's. Correct OVID_DISCORD_GATEWAY."),
        (None, "no WebSocket can be opened to ws://"),
    ],
)
async def test_what_is_no_gateway_is_a_fault(settings, answer: object, said: str):
    async def serve(request: web.Request) -> web.StreamResponse:
        if answer is None:
            raise web.HTTPNotFound
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(answer)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    async with TestServer(app) as server:
        url = str(server.make_url("/")).replace("http", "ws")
        found = await at_discord(settings(OVID_DISCORD_GATEWAY=url))
    assert said in only(found, Level.FAULT)


async def about_health(settings, port: int, host: str = "127.0.0.1") -> str:
    settings(OVID_BOT_HEALTH_PORT=str(port), OVID_BOT_HEALTH_HOST=host)
    [line] = [each.line() for each in await examine() if each.about == "health"]
    return line


async def test_a_health_port_is_free_or_a_warning(settings, closed_port: int):
    free = f"ok    health: port {closed_port} at 127.0.0.1 is free."
    assert await about_health(settings, closed_port) == free
    with socket.create_server(("127.0.0.1", closed_port)):
        assert await about_health(settings, closed_port) == (
            f"warn  health: port {closed_port} at 127.0.0.1 cannot be had: Address already in use. "
            "Take another OVID_BOT_HEALTH_PORT, unless a bot serves there now."
        )


@pytest.mark.parametrize("host", ["nö..x", "192.0.2.1"])
async def test_a_health_host_that_is_not_this_machine_s_is_a_fault(settings, host: str):
    line = await about_health(settings, 9, host)
    assert line.startswith("FAULT health: ")
    assert "Correct OVID_BOT_HEALTH_HOST" in line


async def test_without_a_command_the_bot_runs_and_a_mangled_token_is_one_sentence(
    sandbox: Sandbox, redis_url: str, program
):
    bot = await program(**environment_of(sandbox, redis_url) | {"DISCORD_TOKEN": "made.up\ntoken"})
    assert await bot.until_it_ends() == 2
    [line] = bot.log
    assert line.startswith("Discord does not take DISCORD_TOKEN")
    assert "made.up" not in line

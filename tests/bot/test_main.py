"""`python -m bot` as people meet it: what it says, and its exit status."""

import signal
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.server import Sandbox
from tests.bot.support import CHECKOUT, environment_of


async def test_without_a_token_it_says_in_one_line_where_to_get_one(program):
    bot = await program("run")
    assert await bot.until_it_ends() == 2
    assert bot.log == [
        "DISCORD_TOKEN is not set: make a bot and copy its token at "
        "https://discord.com/developers/applications\n"
    ]


async def test_an_empty_token_is_no_token(program):
    bot = await program("invite", DISCORD_TOKEN="")
    assert await bot.until_it_ends() == 2
    assert bot.log[0].startswith("DISCORD_TOKEN is not set")


async def test_a_token_that_discord_does_not_take_is_one_sentence(
    sandbox: Sandbox, redis_url: str, program
):
    environment = environment_of(sandbox, redis_url) | {"DISCORD_TOKEN": "made.up.token"}
    bot = await program("run", **environment)
    assert await bot.until_it_ends() == 2
    assert bot.log[-1].startswith("Discord does not take DISCORD_TOKEN")
    assert "Traceback" not in "".join(bot.log)
    assert "made.up.token" not in "".join(bot.log)


async def test_every_bad_setting_is_named_at_once_and_secrets_are_not_shown(program):
    bot = await program(
        "run",
        DISCORD_TOKEN="a.secret.token",
        OVID_REDIS_URL="http://me:hunter2@example.com",
        OVID_MAX_WAITING="0",
        OVID_DISCORD_API="nonsense",
    )
    assert await bot.until_it_ends() == 2
    assert bot.log == [
        "OVID_REDIS_URL: input should begin with redis://, rediss://, unix://, redis+sentinel://, "
        "rediss+sentinel://, redis+cluster:// or rediss+cluster://.\n",
        "OVID_DISCORD_API: input should be an address like http://127.0.0.1:8080/api/v10, "
        "not 'nonsense'.\n",
        "OVID_MAX_WAITING: input should be greater than or equal to 1, not '0'.\n",
    ]


async def test_it_invites_with_the_least_permissions(sandbox: Sandbox, redis_url: str, program):
    bot = await program("invite", **environment_of(sandbox, redis_url))
    assert await bot.until_it_ends() == 0
    link = (await bot.process.stdout.read()).decode()
    assert link.startswith("https://discord.com/oauth2/authorize?client_id=")
    assert "permissions=274877975552" in link
    assert "applications.commands" in link


async def test_an_invitation_for_which_something_else_answers_is_a_sentence(program):
    async def serve(_: web.Request) -> web.Response:
        return web.Response(text="<html>Please sign in.</html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/api/v10/{rest:.*}", serve)
    async with TestServer(app) as server:
        api = str(server.make_url("/api/v10"))
        child = await program("invite", DISCORD_TOKEN="made.up.token", OVID_DISCORD_API=api)
        assert await child.until_it_ends() == 2
    assert any("something else answers in its place" in line for line in child.log)
    assert child.log[-1] == "Discord can't be reached, and only it knows the bot's id.\n"


async def test_it_stops_cleanly_when_asked(child_bot):
    for number in (signal.SIGTERM, signal.SIGINT):
        bot = await child_bot()
        bot.process.send_signal(number)
        assert await bot.until_it_ends() == 0
        assert "Traceback" not in "".join(bot.log)


LOADING = """
import sys, time

class HeldUp:
    def find_spec(self, name, *_):
        if name == "discord.enums":
            print("loading", file=sys.stderr, flush=True)
            time.sleep(600)

sys.meta_path.insert(0, HeldUp())
"""


async def test_it_can_be_interrupted_while_it_loads(
    sandbox: Sandbox, redis_url: str, program, tmp_path: Path
):
    (tmp_path / "sitecustomize.py").write_text(LOADING)
    path = {"PYTHONPATH": f"{tmp_path}:{CHECKOUT}"}
    bot = await program("run", **environment_of(sandbox, redis_url), **path)
    await bot.until_it_logs("loading")
    bot.process.send_signal(signal.SIGINT)
    assert await bot.until_it_ends() == -signal.SIGINT
    assert "Traceback" not in "".join(bot.log)


async def test_it_prints_the_invite_link_when_it_starts(child_bot):
    bot = await child_bot()
    assert any("https://discord.com/oauth2/authorize?client_id=" in line for line in bot.log)


async def test_a_missing_redis_is_a_sentence_and_no_end(sandbox: Sandbox, program, tmp_path):
    nowhere = f"unix://:hunter2@{tmp_path}/nowhere.sock"
    bot = await program("run", **environment_of(sandbox, nowhere))
    await bot.until_it_logs("bot ready")
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    assert "queue cannot be reached" in (await sandbox.wait_for_reply(asked)).content
    bot.process.terminate()
    assert await bot.until_it_ends() == 0
    log = "".join(bot.log)
    assert "Redis does not answer at unix://" in log
    assert "hunter2" not in log
    assert "Traceback" not in log

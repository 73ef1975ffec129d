"""What the bot tells of itself: at its port, in its log, and when the port cannot be had."""

import asyncio
import json
import re
import socket

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.health import BotHealth, health_server
from bot.metrics import BotMetrics
from bot.queue_watch import QueueWatch
from sandbox.server import Sandbox
from tests.bot.support import DEADLINE_S, Engine, Program, environment_of, running_bot
from wire.queue import JobQueue


async def url_of(bot: Program) -> str:
    """Read in its log where a bot tells of itself."""
    await bot.until_it_logs("health at ")
    [line] = [line for line in bot.log if "health at " in line]
    return line.split()[-1]


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def until_ready(url: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await get(f"{url}/readyz"))[0] != 200:
            await asyncio.sleep(0.05)


async def test_it_is_ready_when_gateway_redis_and_an_engine_are_there(
    sandbox: Sandbox, engine: Engine, child_bot
):
    bot = await child_bot(OVID_BOT_HEALTH_PORT="0")
    url = await url_of(bot)
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", url)
    await until_ready(url)
    report = json.loads((await get(f"{url}/readyz"))[1])
    assert report["status"] == "ready"
    assert (report["gateway"], report["redis"]) == ("connected", "answers")
    assert report["engines"] == 1
    assert await get(f"{url}/healthz") == (200, '{"status": "ok"}')
    status, metrics = await get(f"{url}/metrics")
    assert status == 200
    assert re.search(r"^process_open_fds [0-9.]+$", metrics, re.MULTILINE)
    assert re.search(r"^ovid_bot_heartbeat_latency_seconds ", metrics, re.MULTILINE)
    assert int(float(re.findall(r"^ovid_bot_tasks (.*)$", metrics, re.MULTILINE)[0])) > 3


async def test_without_an_engine_it_is_well_but_not_ready(sandbox: Sandbox, child_bot):
    url = await url_of(await child_bot(OVID_BOT_HEALTH_PORT="0"))
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status, said = await get(f"{url}/readyz")
            assert status == 503
            if json.loads(said)["engines"] == 0:
                break
            await asyncio.sleep(0.05)
    assert (await get(f"{url}/healthz"))[0] == 200


async def test_it_listens_nowhere_unless_told(child_bot):
    bot = await child_bot()
    bot.process.terminate()
    assert await bot.until_it_ends() == 0
    assert "health at" not in "".join(bot.log)


async def test_a_port_that_is_taken_is_a_sentence(sandbox: Sandbox, redis_url: str, program):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = environment_of(sandbox, redis_url)
        bot = await program("run", **environment, OVID_BOT_HEALTH_PORT=str(port))
        assert await bot.until_it_ends() == 2
    assert bot.log == [
        f"OVID_BOT_HEALTH_PORT: nobody can listen at 127.0.0.1, port {port}: "
        "Address already in use.\n"
    ]


async def test_a_host_that_is_none_is_a_sentence(sandbox: Sandbox, redis_url: str, program):
    settings = {"OVID_BOT_HEALTH_PORT": "0", "OVID_BOT_HEALTH_HOST": "x" * 70}
    bot = await program("run", **environment_of(sandbox, redis_url), **settings)
    assert await bot.until_it_ends() == 2
    assert len(bot.log) == 1
    assert bot.log[0].startswith("OVID_BOT_HEALTH_PORT: nobody can listen at xxx")


async def test_a_bot_that_no_longer_follows_the_queue_is_not_well(
    sandbox: Sandbox, redis_url: str, redis: Redis, engine: Engine
):
    async with QueueWatch(JobQueue(redis)) as watch, running_bot(sandbox, redis_url) as client:
        health = BotHealth(watch)
        health.client = client
        async with health_server(health, BotMetrics(), "127.0.0.1", 0) as port:
            url = f"http://127.0.0.1:{port}"
            await until_ready(url)
            [following] = [
                task
                for task in asyncio.all_tasks()
                if "supervised" in repr(task.get_coro()) and task in client._background
            ]
            following.cancel()
            await asyncio.wait([following])
            assert (await get(f"{url}/healthz"))[0] == 503
            status, said = await get(f"{url}/readyz")
            assert (status, json.loads(said)["gateway"]) == (503, "connected")


async def test_a_bot_whose_loop_breaks_off_again_and_again_is_not_well(
    sandbox: Sandbox, redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    async def break_off(*_: object) -> frozenset[str]:
        raise ZeroDivisionError

    async with QueueWatch(JobQueue(redis)) as watch, running_bot(sandbox, redis_url) as client:
        health = BotHealth(watch)
        health.client = client
        assert health.is_well
        monkeypatch.setattr("bot.follower.RECONCILE_INTERVAL_S", 0.01)
        monkeypatch.setattr(JobQueue, "own", break_off)
        monkeypatch.setattr("bot.follower.STALLED_S", 6.0)
        async with asyncio.timeout(DEADLINE_S):
            while health.is_well:
                await asyncio.sleep(0.05)


async def test_a_watch_that_has_ended_is_not_well(redis: Redis):
    async with QueueWatch(JobQueue(redis)) as watch:
        assert BotHealth(watch).is_well
    assert not BotHealth(watch).is_well


async def test_a_log_of_json_has_a_job_in_fields_of_its_own(
    sandbox: Sandbox, engine: Engine, child_bot
):
    bot = await child_bot(OVID_LOG_FORMAT="json")
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    job = await engine.take()
    await engine.end(job, "There.")
    await sandbox.wait_for_reply(asked)
    await bot.until_it_logs('"ending": "done"')
    bot.process.terminate()
    assert await bot.until_it_ends() == 0
    lines = [json.loads(line) for line in bot.log]
    [told] = [line for line in lines if "ending" in line]
    assert (told["job"], told["attempt"], told["reason"]) == (job.job_id, 1, "length")
    assert (told["prompt_tokens"], told["completion_tokens"]) == (1, 2)
    assert (told["queue_ms"], told["first_token_ms"], told["total_ms"]) == (3, 4, 5)
    assert {"time", "level", "logger", "message", "parts", "edits", "shown_ms"} <= told.keys()


async def test_a_bot_whom_discord_does_not_hear_is_not_ready(
    sandbox: Sandbox, engine: Engine, child_bot
):
    bot = await child_bot(OVID_BOT_HEALTH_PORT="0")
    url = await url_of(bot)
    await until_ready(url)
    sandbox.faults.refuse("*", 429, via=False, retry_after_s=500.0)
    await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Hi")
    await bot.until_it_logs("shut this machine out")
    status, said = await get(f"{url}/readyz")
    report = json.loads(said)
    assert (status, report["gateway"], report["discord"]) == (503, "connected", "shuts out")
    assert (await get(f"{url}/healthz"))[0] == 200

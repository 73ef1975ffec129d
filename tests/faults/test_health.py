"""Health, metrics and the log tell the truth, whatever is away; everything broken is real."""

import asyncio
import contextlib
import re
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import pytest

from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Ask, Fate
from tests.faults.probe import TIMEOUT_S, Probe

READY = {"status": "ready"}
NOT_READY = {"status": "not ready"}
ENDING = re.compile(r"job=(\S+) attempt=(\S+) ending=(\S+) reason=(\S+) ")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


@dataclass(frozen=True, slots=True)
class Watched:
    """A bot and an engine that run, and the probes at both."""

    bot: Process
    engine: Process
    bot_probe: Probe
    engine_probe: Probe

    async def both_are_ready(self) -> None:
        await self.bot_probe.says(**READY, gateway="connected", redis="answers", engines=1)
        await self.engine_probe.says(**READY, step_loop="runs", redis="answers")

    async def both_are_well(self) -> None:
        assert await self.bot_probe.is_well()
        assert await self.engine_probe.is_well()


async def start(stack: Stack, session: aiohttp.ClientSession) -> Watched:
    engine = await stack.start_engine(OVID_HEALTH_PORT="0")
    bot = await stack.start_bot(OVID_BOT_HEALTH_PORT="0")
    probes = [await Probe.of(session, stack.log_of[each]) for each in (bot, engine)]
    watched = Watched(bot, engine, *probes)
    await watched.both_are_ready()
    return watched


def log_of(stack: Stack, program: Process) -> str:
    return stack.log_of[program].read_text()


async def ask_for_every_fate(stack: Stack, account: Account) -> tuple[Ask, Ask, Ask]:
    """Let one text be written, one fail and one be refused, and two more be written."""
    ann, ben = stack.sandbox.join("Ann"), stack.sandbox.join("Ben")
    written = await account.generate(ann, "A private word", length=12)
    # One that no model has room for, and one more than a person may have unfinished.
    too_long = await account.generate(ann, "private " * 200, length=1000)
    many = [await account.generate(ben, "Mine", length=1000) for _ in range(3)]
    fates = await account.check(Fate.REFUSED, Fate.ERROR)
    assert fates == {Fate.FULL: 3, Fate.REFUSED: 1, Fate.ERROR: 1}
    [refused] = [ask for ask in many if await account.fate(ask) is Fate.REFUSED]
    return written, too_long, refused


@pytest.mark.fault
async def test_a_job_is_counted_and_logged_once_in_both_programs(
    stack: Stack, account: Account, session: aiohttp.ClientSession
) -> None:
    watched = await start(stack, session)
    written, too_long, refused = await ask_for_every_fate(stack, account)

    # The last line comes behind the last edit.
    async with asyncio.timeout(TIMEOUT_S):
        while log_of(stack, watched.bot).count(" ending=") < len(account.asks):
            await asyncio.sleep(0.05)
    logs = {each: log_of(stack, each) for each in (watched.bot, watched.engine)}
    told = {each: ENDING.findall(log) for each, log in logs.items()}
    for endings in told.values():
        assert len({job_id for job_id, *_ in endings}) == len(endings)
        assert (written.job_id, "1", "done", "length") in endings
        assert (too_long.job_id, "1", "failed", "prompt_too_long") in endings
    assert (refused.job_id, "-", "refused", "busy_user") in told[watched.bot]
    assert refused.job_id not in logs[watched.engine]
    assert len(told[watched.bot]) == len(account.asks)
    for log in logs.values():
        assert "completion_tokens=12 " in log
        assert "private" not in log
        assert stack.sandbox.token not in log

    counted = await watched.bot_probe.metrics()
    assert counted["ovid_bot_requests_total{ok,generate}"] == 4
    assert counted["ovid_bot_requests_total{busy_user,generate}"] == 1
    assert counted["ovid_bot_replies_total{done,length}"] == 3
    assert counted["ovid_bot_reply_seconds_count"] == 4
    assert counted["ovid_bot_first_text_seconds_count"] == 3
    assert counted["ovid_bot_gateway_up"] == counted["ovid_bot_redis_up"] == 1
    assert (counted["ovid_bot_engines"], counted["ovid_bot_live_replies"]) == (1, 0)
    counted = await watched.engine_probe.metrics()
    assert counted["ovid_engine_jobs_total{done,length}"] == 3
    assert counted["ovid_engine_completion_tokens_total"] == 2012
    assert counted["ovid_engine_first_token_seconds_count"] == 3
    assert (counted["ovid_engine_slots"], counted["ovid_engine_running"]) == (4, 0)


@pytest.mark.fault
async def test_both_programs_say_when_redis_is_killed_or_frozen_and_when_it_is_back(
    stack: Stack, session: aiohttp.ClientSession
) -> None:
    watched, server = await start(stack, session), stack.redis_server

    async def freeze() -> None:
        server.pause()

    async def thaw() -> None:
        server.resume()

    ways: tuple[tuple[Callable[[], Awaitable[None]], Callable[[], Awaitable[None]]], ...] = (
        (server.kill, server.restart),
        (freeze, thaw),
    )
    for break_it, mend_it in ways:
        await break_it()
        report = await watched.bot_probe.says(**NOT_READY, redis="away", engines=None)
        assert report["gateway"] == "connected"
        report = await watched.engine_probe.says(**NOT_READY, redis="away")
        assert report["step_loop"] == "runs"
        counted = await watched.bot_probe.metrics()
        assert counted["ovid_bot_redis_up"] == 0
        # What nobody can know is not made up.
        assert not {"ovid_bot_engines", "ovid_queue_waiting"} & counted.keys()
        assert (await watched.engine_probe.metrics())["ovid_engine_redis_up"] == 0
        await watched.both_are_well()
        await mend_it()
        await watched.both_are_ready()


@pytest.mark.fault
async def test_the_bot_says_when_redis_is_full_or_a_replica_and_when_no_more(
    stack: Stack, session: aiohttp.ClientSession
) -> None:
    watched = await start(stack, session)
    await stack.redis.config_set("maxmemory", 1)
    report = await watched.bot_probe.says(**NOT_READY, redis="full")
    assert (report["gateway"], report["engines"]) == ("connected", 1)
    await watched.both_are_well()
    await stack.redis.config_set("maxmemory", 0)
    await watched.both_are_ready()

    await stack.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    await watched.bot_probe.says(**NOT_READY, redis="read-only", gateway="connected")
    await watched.engine_probe.says(**NOT_READY, redis="read-only")
    await watched.both_are_well()
    await stack.redis.execute_command("REPLICAOF", "NO", "ONE")
    await watched.both_are_ready()


@pytest.mark.fault
async def test_the_bot_says_when_its_engine_is_gone_and_when_another_came(
    stack: Stack, session: aiohttp.ClientSession
) -> None:
    watched = await start(stack, session)
    await stack.kill(watched.engine)
    report = await watched.bot_probe.says(**NOT_READY, engines=0)
    assert (report["gateway"], report["redis"]) == ("connected", "answers")
    assert await watched.bot_probe.is_well()
    await stack.start_engine()
    await watched.bot_probe.says(**READY, engines=1)


@pytest.mark.fault
async def test_the_bot_says_when_discord_is_away_and_is_there_to_say_it(
    stack: Stack, session: aiohttp.ClientSession
) -> None:
    await stack.start_engine()
    stack.sandbox.faults.refuse("GET /users/@me", 503, times=1000)
    bot = await stack.spawn("bot", "run", OVID_BOT_HEALTH_PORT="0")
    probe = await Probe.of(session, stack.log_of[bot])
    await probe.says(**NOT_READY, gateway="away", redis="answers", engines=1)
    assert await probe.is_well()
    stack.sandbox.faults.clear()
    await probe.says(**READY, gateway="connected")

    async def drop_again_and_again() -> None:
        while True:
            await stack.sandbox.gateway.drop(resumable=False)
            await asyncio.sleep(0.01)

    dropping = asyncio.create_task(drop_again_and_again())
    try:
        await probe.says(**NOT_READY, gateway="away", redis="answers", engines=1)
        assert await probe.is_well()
    finally:
        dropping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await dropping
    await probe.says(**READY, gateway="connected")
    assert (await probe.metrics())["ovid_bot_gateway_up"] == 1

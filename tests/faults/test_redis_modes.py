"""The programs at a Redis with TLS, passwords and rights, and at one that fails over."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Ask, Fate
from tests.faults.probe import TIMEOUT_S, Probe
from tests.faults.under_way import check_written, frozen, running, started
from tests.wire.lossy_proxy import LossyProxy
from tests.wire.redis_modes import certify, cluster, until, watched
from tests.wire.rights import REFUSED, RIGHTS, SECRET, grant, url_of_user

pytestmark = pytest.mark.fault

NUM_ASKED = 6
LONG = 100
WAITING = ("+blpop", "+xread")
At = Callable[[str], AbstractAsyncContextManager[tuple[Stack, Account]]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_S)) as session:
        yield session


@pytest.fixture
def at(own_redis_server: RedisServer, quick_model: Path, tmp_path: Path) -> At:
    """The stack at another Redis, of which the URL is given."""

    @contextlib.asynccontextmanager
    async def at(url: str) -> AsyncIterator[tuple[Stack, Account]]:
        box = Sandbox(limits={})
        async with Stack(
            own_redis_server, quick_model, sandbox=box, logs=tmp_path, redis_url=url
        ) as stack:
            yield stack, Account(stack)

    return at


async def ask_some(stack: Stack, account: Account) -> None:
    """Let some people ask for texts that are the same in every attempt."""
    for number in range(NUM_ASKED):
        user = stack.sandbox.join(f"user {len(account.asks)}")
        await account.generate(user, "A tale", length=LONG, seed=number)


async def test_over_tls_all_is_answered_and_a_wrong_authority_is_told(
    stack: Stack, account: Account, tmp_path: Path
) -> None:
    ca, other = tmp_path / "ca.crt", tmp_path / "other.crt"
    certify(other)
    async with LossyProxy(stack.redis_url).serve(certify(ca)) as proxy:
        _, bot = await started(stack, OVID_REDIS_URL=f"{proxy.url}?ssl_ca_certs={ca}")
        await ask_some(stack, account)
        assert await account.check() == {Fate.FULL: NUM_ASKED}
        await stack.kill(bot)
        bot = await stack.start_bot(OVID_REDIS_URL=f"{proxy.url}?ssl_ca_certs={other}")
        asked = await account.mention(stack.sandbox.join("late"), "Anybody there?")
        await account.check(Fate.REFUSED)
        assert await account.fate(asked) is Fate.REFUSED
        assert "CERTIFICATE_VERIFY_FAILED" in stack.log_of[bot].read_text("utf-8")


async def test_a_user_with_the_documented_rights_is_enough(stack: Stack, account: Account) -> None:
    await grant(stack.redis, RIGHTS)
    _, bot = await started(stack, OVID_REDIS_URL=url_of_user(stack.redis_server))
    await ask_some(stack, account)
    await account.mention(stack.sandbox.join("who mentions it"), "Once upon a time")
    await account.verify(stack.sandbox.join("who verifies"), "Who wrote this, I wonder? " * 20)
    assert await account.check() == {Fate.FULL: NUM_ASKED + 2}
    for log in stack.log_of.values():
        said = log.read_text("utf-8")
        assert not re.search(REFUSED, said)
        assert SECRET not in said
    assert await stack.terminate(bot) == 0


async def test_a_missing_right_is_said_once_and_for_as_long_as_it_is_missing(
    stack: Stack, session: aiohttp.ClientSession
) -> None:
    await grant(stack.redis, [each for each in RIGHTS if each not in WAITING])
    url = url_of_user(stack.redis_server)
    programs = [
        await stack.start_engine(OVID_REDIS_URL=url, OVID_HEALTH_PORT="0"),
        await stack.start_bot(OVID_REDIS_URL=url, OVID_BOT_HEALTH_PORT="0"),
    ]
    probes = [await Probe.of(session, stack.log_of[each]) for each in programs]
    for probe in probes:
        await probe.says(redis="refuses")
    async with asyncio.timeout(TIMEOUT_S):
        while min((await refusals(stack)).values()) < 8:
            assert [(await probe.report())["redis"] for probe in probes] == ["refuses"] * 2
    await grant(stack.redis, RIGHTS)
    for probe in probes:
        await probe.says(redis="answers")
    for program in programs:
        said = stack.log_of[program].read_text("utf-8")
        assert said.count("Redis is ") == said.count("Redis answers again") == 1


async def refusals(stack: Stack) -> dict[str, int]:
    """Count how often Redis has refused each command by which the programs wait."""
    counts = dict.fromkeys(WAITING, 0)
    log: Any = await stack.redis.acl_log()
    for entry in log:
        counts[f"+{entry['object']}"] += int(entry["count"])
    return counts


async def test_a_wrong_password_is_a_sentence_to_people_until_it_is_right(
    stack: Stack, account: Account
) -> None:
    await stack.redis.ping()
    await stack.redis.config_set("requirepass", "right")
    url = stack.redis_url.replace("unix://", "unix://:typed-wrong@")
    bot = await stack.start_bot(OVID_REDIS_URL=url)
    asked = await account.mention(stack.sandbox.join("early"), "Anybody there?")
    assert await account.settled() == {Fate.REFUSED: 1}
    await stack.redis.config_set("requirepass", "typed-wrong")
    await stack.start_engine(OVID_REDIS_URL=url)
    await ask_some(stack, account)
    assert await account.check(Fate.REFUSED) == {Fate.REFUSED: 1, Fate.FULL: NUM_ASKED}
    assert await account.fate(asked) is Fate.REFUSED
    assert "typed-wrong" not in stack.log_of[bot].read_text("utf-8")


async def test_a_password_that_changes_is_an_outage_to_whoever_must_connect_anew(
    stack: Stack, account: Account
) -> None:
    await started(stack)
    await ask_some(stack, account)
    await running(stack, 2)
    await stack.redis.config_set("requirepass", "changed")
    await stack.redis.client_kill_filter(_type="normal", skipme=True)
    late = await account.mention(stack.sandbox.join("late"), "Anybody there?")
    await until_refused(account, late)
    await stack.redis.config_set("requirepass", "")
    assert await account.check(Fate.REFUSED) == {Fate.FULL: NUM_ASKED, Fate.REFUSED: 1}
    await check_written(stack)


async def until_refused(account: Account, asked: Ask) -> None:
    async def is_refused() -> bool:
        return await account.fate(asked) is Fate.REFUSED

    await until(is_refused)


async def test_a_redis_that_becomes_a_replica_takes_nothing_and_loses_nothing(
    stack: Stack, account: Account
) -> None:
    await started(stack)
    await ask_some(stack, account)
    await running(stack, 2)
    await stack.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    late = await account.mention(stack.sandbox.join("late"), "Anybody there?")
    await until_refused(account, late)
    await stack.redis.execute_command("REPLICAOF", "NO", "ONE")
    assert await account.check(Fate.REFUSED) == {Fate.FULL: NUM_ASKED, Fate.REFUSED: 1}
    await check_written(stack)


async def test_when_a_clusters_node_dies_its_replica_goes_on_with_all_replies(at: At) -> None:
    async with cluster(replica=True) as nodes, at(nodes.url) as (stack, account):
        await fail_over(stack, account, lambda: nodes.kill(nodes.owner))


async def test_when_a_master_dies_sentinels_lead_to_the_next_one(at: At) -> None:
    async with watched() as servers, at(servers.url) as (stack, account):
        await fail_over(stack, account, servers.kill_master)


async def fail_over(
    stack: Stack, account: Account, kill_master: Callable[[], Awaitable[None]]
) -> None:
    """Kill a master with jobs running. What it had not yet told its replica may be lost."""
    engine, _ = await started(stack)
    await ask_some(stack, account)
    await running(stack, 2)
    # Or more might be written, and shown, than is remembered.
    with frozen(engine):
        await account.remember()
        await kill_master()
    await until(stack.redis.ping)
    fates = await account.check(Fate.LOST)
    assert fates[Fate.FULL] >= NUM_ASKED - 1
    await check_written(stack, 1, 2)
    afterwards = await account.generate(stack.sandbox.join("late"), "A tale", length=10)
    await account.check(Fate.LOST)
    assert await account.fate(afterwards) is Fate.FULL

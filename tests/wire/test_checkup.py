"""What is said of a Redis that cannot carry the queue, and of who uses it: on real servers."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sandbox.redis_server import RedisServer
from tests.ports import held_port
from tests.wire.support import ROOMY, make_job
from wire.checkup import check_queue
from wire.connection import connect
from wire.findings import Finding, Level, exit_status, fault, note, ok, warn, within
from wire.queue import JobQueue, Progress
from wire.redis_url import Kind
from wire.server_checkup import explain_refusal, judge_server

LATE = fault("it", "is late", "Wait.")


@pytest.fixture
async def own(own_redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of a server that this test may set up as it likes."""
    async with connect(own_redis_server.url) as client:
        yield client


async def check(url: str, *, engine_expected: bool = False, **more: Any) -> list[Finding]:
    return await check_queue(url, engine_expected=engine_expected, **more)


def only(found: list[Finding], level: Level) -> str:
    """The one line of its level, and there is nothing worse."""
    assert exit_status(found) == exit_status([Finding(level, "", "")])
    [line] = [each.line() for each in found if each.level is level]
    return line


async def test_a_sound_redis_with_an_engine_is_all_well(own_redis_server: RedisServer, own: Redis):
    await JobQueue(own).claim("e1", ["124M", "notes"], 0, [])
    found = await check(own_redis_server.url, engine_expected=True)
    assert {each.level for each in found} == {Level.OK}
    said = "\n".join(each.line() for each in found)
    assert "engines: 1 alive: e1 (124M); models: 124M, notes." in said
    assert "clock: it agrees with Redis's." in said


async def test_a_redis_that_is_not_there_is_one_line_without_the_password(tmp_path: Any):
    found = await check(f"unix://:hunter2@{tmp_path}/nowhere.sock")
    line = only(found, Level.FAULT)
    assert line.startswith("FAULT redis: no use can be made of it at unix://:***@")
    assert "OVID_REDIS_URL" in line
    assert "hunter2" not in line


async def test_an_address_that_is_none_is_one_line_without_the_password():
    line = only(await check("http://:hunter2@host"), Level.FAULT)
    assert "it should look like redis://" in line
    assert "hunter2" not in line


@pytest.mark.parametrize("credentials", ["", ":wrong@", "nobody:s3cret@"])
async def test_a_wrong_password_is_told_from_an_absent_redis(
    own_redis_server: RedisServer, own: Redis, credentials: str
):
    await own.config_set("requirepass", "s3cret")
    url = own_redis_server.url.replace("unix://", f"unix://{credentials}")
    line = only(await check(url), Level.FAULT)
    assert line.startswith("FAULT redis: it takes no such user or password at unix://")
    assert "s3cret" not in line
    assert "wrong" not in line


async def test_a_wrong_password_is_told_over_tcp_too():
    with held_port() as port:
        async with RedisServer(port=port) as server:
            async with connect(server.url) as own:
                await own.config_set("requirepass", "s3cret")
            for credentials in ("", ":wrong@"):
                url = f"redis://{credentials}127.0.0.1:{port}"
                line = only(await check(url), Level.FAULT)
                assert line.startswith("FAULT redis: it takes no such user or password at redis://")
            assert exit_status(await check(f"redis://:s3cret@127.0.0.1:{port}")) == 0


async def test_a_user_who_may_not_run_the_scripts_is_named_with_the_remedy(
    own_redis_server: RedisServer, own: Redis
):
    await own.execute_command(
        "ACL", "SETUSER", "ovid", "on", ">pw", "~*", "+info", "+time", "+ping"
    )
    url = own_redis_server.url.replace("unix://", "unix://ovid:pw@")
    line = only(await check(url), Level.FAULT)
    assert line.startswith("FAULT redis: the queue's scripts are denied to its user")
    assert line.endswith("Give its user the rights that stand in docs/operations.md.")


async def test_a_denied_info_is_a_warning_and_the_queue_is_looked_at_all_the_same(
    own_redis_server: RedisServer, own: Redis
):
    await own.execute_command("ACL", "SETUSER", "ovid", "on", ">pw", "~*", "+@all", "-info")
    found = await check(own_redis_server.url.replace("unix://", "unix://ovid:pw@"))
    assert "Allow its user +info" in only(found, Level.WARN)
    assert any(each.about == "queue" for each in found)


async def test_a_replica_is_named_with_its_master(own_redis_server: RedisServer, own: Redis):
    await own.execute_command("REPLICAOF", "127.0.0.1", "1")
    lines = [each.line() for each in await check(own_redis_server.url)]
    said = "FAULT redis: it is a replica, which takes no jobs. Name its master in OVID_REDIS_URL: "
    assert f"{said}127.0.0.1." in lines


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_policy_that_evicts_is_a_fault_and_a_warning_where_memory_has_no_bound(
    own_redis_server: RedisServer, own: Redis, policy: str
):
    await own.config_set("maxmemory-policy", policy)
    line = only(await check(own_redis_server.url), Level.WARN)
    assert line.startswith(f"warn  redis: maxmemory-policy is {policy}, so jobs are thrown away")
    await own.config_set("maxmemory", "1gb")
    line = only(await check(own_redis_server.url), Level.FAULT)
    assert line.endswith("Set maxmemory-policy noeviction.")


async def test_a_memory_that_is_nearly_full_is_a_warning(own_redis_server: RedisServer, own: Redis):
    # Made where it is kept: what a client sends would be counted for a while as well.
    await own.setrange("ballast", 50_000_000, "x")
    await own.config_set("maxmemory", int((await own.info("memory"))["used_memory"] * 1.05))
    line = only(await check(own_redis_server.url), Level.WARN)
    assert "% of its memory is used" in line
    assert line.endswith("Raise maxmemory.")


async def test_without_an_append_only_file_it_says_what_a_restart_costs(redis_url: str):
    line = only([each for each in await check(redis_url) if each.about == "redis"], Level.NOTE)
    assert "jobs in flight are lost when it restarts" in line
    assert line.endswith("To keep them: appendonly yes.")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"redis_version": "5.0.14"}, "version 5.0.14 is too old. Install 6.0 or later."),
        ({"aof_last_write_status": "err"}, "its append-only file cannot be written."),
    ],
)
async def test_what_a_server_says_of_itself_is_judged(
    redis: Redis, told: dict[str, str], said: str
):
    found = list(judge_server({**(await redis.info()), **told}, Kind.ALONE))
    assert said in only(found, Level.FAULT)


def test_what_a_redis_before_6_says_of_a_short_wait_is_told_as_its_age():
    error = ResponseError("timeout is not an integer or out of range")
    line = explain_refusal(error, "redis://host", Kind.ALONE).line()
    assert line == (
        "FAULT redis: it is too old, and waits for whole seconds only. Install 6.0 or later."
    )


async def test_a_redis_whose_scripts_heed_no_replicas_is_a_warning_where_that_is_asked_for(
    own: Redis,
):
    old = {"redis_version": "6.2.6"}
    assert not warnings({**(await own.info()), **old})
    await own.config_set("min-replicas-to-write", 1)
    [said] = warnings({**(await own.info()), **old})
    assert said.startswith("warn  redis: version 6.2.6 heeds no min-replicas-to-write in the queue")
    assert said.endswith("Install 6.2.7 or later.")
    for told in ({"redis_version": "6.2.7"}, {"redis_version": "unstable"}):
        assert not warnings({**(await own.info()), **told})


def warnings(info: dict[str, Any]) -> list[str]:
    return [each.line() for each in judge_server(info, Kind.ALONE) if each.level is Level.WARN]


async def test_a_version_without_numbers_is_taken_for_a_new_one(redis: Redis):
    found = list(judge_server({**(await redis.info()), "redis_version": "unstable"}, Kind.ALONE))
    assert "version" in found[0].said
    assert found[0].level is Level.OK


@pytest.mark.parametrize(("ahead_s", "words"), [(10, "10 s ahead of"), (-7, "7 s behind")])
async def test_clocks_that_disagree_are_a_warning(redis_url: str, ahead_s: int, words: str):
    found = await check(redis_url, now_s=lambda: time.time() + ahead_s)
    assert f"clock: this machine is {words} Redis" in only(found, Level.WARN)


async def test_a_second_between_clocks_is_nothing(redis_url: str):
    found = await check(redis_url, now_s=lambda: time.time() - 1)
    assert exit_status(found) == 0


async def test_that_no_engine_lives_is_a_fault_to_who_needs_one(redis_url: str):
    line = only(await check(redis_url, engine_expected=True), Level.FAULT)
    assert line.startswith("FAULT engines: none is alive")
    assert "python -m engine serve" in line
    assert note("engines", "none is alive") in await check(redis_url)


async def test_jobs_that_were_given_up_are_named_newest_first(redis: Redis, redis_url: str):
    queue = JobQueue(redis)
    for job_id in ("m1.1", "m1.2"):
        await queue.submit(make_job(job_id), ROOMY)
        for attempt in (1, 2, 3):
            await queue.claim("e1", ["124M"], 1, [])
            await queue.beat("e1", [Progress(job_id, attempt, 0, "x")])
            await queue.leave("e1")
    line = only(await check(redis_url), Level.WARN)
    assert "queue: 2 jobs were given up" in line
    assert "m1.2, m1.1" in line
    assert "redis-cli DEL '{ovid:0}:dead'" in line


async def test_a_job_given_up_whose_name_is_no_text_is_a_line_too(redis: Redis, redis_url: str):
    await redis.lpush("{ovid:0}:dead", b"\xff")
    line = only(await check(redis_url), Level.WARN)
    assert "1 jobs were given up" in line


async def test_engines_with_different_keys_are_named(redis: Redis, redis_url: str):
    queue = JobQueue(redis)
    for engine, mark in (("e1", "11111111"), ("e2", "11111111")):
        await queue.claim(engine, ["124M"], 0, [])
        await queue.announce(engine, mark)
    assert exit_status(await check(redis_url)) == 0
    assert exit_status(await check(redis_url, own_mark="11111111")) == 0
    line = only(await check(redis_url, own_mark="22222222"), Level.WARN)
    assert "here 22222222, e1 11111111, e2 11111111" in line
    await queue.announce("e2", "")
    line = only(await check(redis_url), Level.WARN)
    assert "e1 11111111, e2 none" in line
    assert "OVID_WATERMARK_KEY_FILE" in line


async def test_a_frozen_redis_is_a_line_and_no_hang(own_redis_server: RedisServer):
    own_redis_server.pause()
    async with asyncio.timeout(20):
        line = only(await check(f"{own_redis_server.url}?socket_timeout=0.2"), Level.FAULT)
    assert line.startswith("FAULT redis: ")
    own_redis_server.resume()


async def test_what_is_no_redis_is_a_line():
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        line = only(await check(f"redis://127.0.0.1:{port}"), Level.FAULT)
    assert line.startswith("FAULT redis: ")


async def test_when_time_is_up_what_was_found_counts():
    async def checks() -> AsyncIterator[Finding]:
        yield ok("it", "began")
        await asyncio.Event().wait()

    assert await within(0.05, LATE, checks()) == [ok("it", "began"), LATE]


def test_the_exit_status_is_that_of_the_worst():
    found = [ok("a", "b"), note("a", "b")]
    assert exit_status(found) == 0
    found.append(warn("a", "b", "C."))
    assert exit_status(found) == 1
    found.insert(0, LATE)
    assert exit_status(found) == 2

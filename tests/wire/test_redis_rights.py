"""The user of its own that docs/operations.md gives to Redis may do enough, and nothing besides."""

import re
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from sandbox.redis_server import RedisServer
from tests.wire.rights import REFUSED, RIGHTS, grant, url_of_user
from tests.wire.support import BOT, MODELS, ROOMY, beat, claim, finish, lapse, make_job, submit
from wire.checkup import check_queue
from wire.connection import connect
from wire.findings import Finding, Level, exit_status
from wire.queue import JobQueue
from wire.rights import refused_commands
from wire.server_checkup import RIGHTS_REMEDY

COMMANDS = [each for each in RIGHTS if each.startswith("+")]


async def grant_alone(admin: Redis, rights: list[str]) -> None:
    """Make the user anew, of whom no connection is left."""
    await admin.execute_command("ACL", "DELUSER", "ovid")
    await grant(admin, rights)


async def do_everything(admin: Redis, redis: Redis) -> None:
    """Call all that bots and engines call, so that the scripts come by each of their commands."""
    queue = JobQueue(redis)
    await admin.flushall()
    await admin.script_flush()
    await redis.ping()
    await redis.exists("{ovid:0}")
    await submit(queue, "a", "b", "late")
    await queue.submit(make_job("c", "bob", model="other"), ROOMY)
    await queue.wait_for_work(0.01, MODELS)
    assert len(await claim(queue)) == 3
    await queue.announce("e1", "1f2e3d4c")
    await queue.announced()
    await queue.models()
    await beat(queue, "a", "Once")
    await queue.note_messages("a", [1, 2])
    await queue.adopt("a")
    await queue.place("c")
    await queue.snapshot("a")
    assert await queue.release("e1", "late", 1)
    assert await queue.cancel("late")
    for _ in range(2):
        await beat(queue, "a")
        await lapse(admin, "a", "b")
        await queue.tick()
        await claim(queue)
    await finish(queue, "a", "Once", attempt=3)
    await queue.leave("e1")
    await queue.own(BOT)
    await queue.shown(BOT, "a")
    await queue.hints(BOT, await queue.follow(BOT), block_ms=0)
    await queue.tick()


async def give_up(admin: Redis, redis: Redis) -> None:
    """Let a job be given up, which only then is put into a list that `doctor` reads."""
    queue = JobQueue(redis, max_attempts=1)
    await submit(queue, "poison")
    await claim(queue)
    await lapse(admin, "poison")
    assert (await queue.tick()).num_dead == 1
    await redis.lrange("{ovid:0}:dead", 0, 5)


async def test_the_documented_user_can_do_all_that_bots_and_engines_do(
    own_redis_server: RedisServer,
):
    async with (
        Redis.from_url(own_redis_server.url) as admin,
        connect(url_of_user(own_redis_server)) as redis,
    ):
        await grant_alone(admin, RIGHTS)
        await do_everything(admin, redis)
        await give_up(admin, redis)
        assert (
            exit_status(await check_queue(url_of_user(own_redis_server), engine_expected=False))
            == 1
        )
        await grant_alone(admin, [*RIGHTS, "+info"])
        found = await check_queue(url_of_user(own_redis_server), engine_expected=False)
        [dead] = [each for each in found if "were given up" in each.said]
        assert exit_status(each for each in found if each is not dead) == 0


async def test_each_of_its_commands_is_needed(own_redis_server: RedisServer):
    refusals = {}
    async with Redis.from_url(own_redis_server.url) as admin:
        for command in COMMANDS:
            await grant_alone(admin, [each for each in RIGHTS if each != command])
            async with connect(url_of_user(own_redis_server)) as redis:
                refusals[command] = await first_refusal(admin, redis)
    assert [each for each, said in refusals.items() if not re.search(REFUSED, said)] == []


async def first_refusal(admin: Redis, redis: Redis) -> str:
    try:
        await do_everything(admin, redis)
        await give_up(admin, redis)
    except RedisError as error:
        return str(error)
    return "none"


async def test_doctor_names_whichever_right_is_missing(own_redis_server: RedisServer):
    url = url_of_user(own_redis_server)
    async with Redis.from_url(own_redis_server.url) as admin:
        for command in COMMANDS:
            await grant_alone(admin, [each for each in RIGHTS if each != command])
            assert await faults(url) == [command.removeprefix("+")]
        await grant_alone(
            admin, [each for each in RIGHTS if each not in ("+append", "+blpop", "+xread")]
        )
        assert await faults(url) == ["append, xread, blpop"]


async def faults(url: str) -> list[str]:
    """What doctor says is refused; each fault sends its reader to the document."""
    found = [each for each in await check_queue(url, engine_expected=False) if is_fault(each)]
    assert {each.remedy for each in found} == {RIGHTS_REMEDY}
    return [re.sub(r".* needs: |.*run the '(\w+)' command.*", r"\1", each.said) for each in found]


def is_fault(finding: Finding) -> bool:
    return finding.level is Level.FAULT


async def test_to_try_the_rights_leaves_nothing_where_nothing_may_be_deleted(
    own_redis_server: RedisServer,
):
    async with (
        Redis.from_url(own_redis_server.url) as admin,
        connect(url_of_user(own_redis_server)) as redis,
    ):
        await grant_alone(admin, [each for each in RIGHTS if each != "+unlink"])
        assert await refused_commands(redis) == ["unlink"]
        assert await admin.keys("*") == []


async def test_to_try_the_rights_leaves_nothing(redis: Redis):
    queue = JobQueue(redis)
    await submit(queue, "a")
    await redis.delete("{ovid:0}:bell")
    before = {key: await redis.dump(key) for key in await redis.keys("*")}
    assert await refused_commands(redis) == []
    assert {key: await redis.dump(key) for key in await redis.keys("*")} == before
    assert (await redis.info("clients"))["blocked_clients"] == 0


@pytest.mark.parametrize(
    "command",
    [
        *(("GET", "other"), ("HGETALL", "ovid"), ("EVAL", "return redis.call('GET', 'other')", 0)),
        *(("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",)),
        *(("PUBLISH", "channel", "x"), ("SCRIPT", "FLUSH"), ("CLIENT", "LIST"), ("MONITOR",)),
    ],
)
async def test_it_may_neither_touch_other_keys_nor_the_server(
    own_redis_server: RedisServer, command: tuple[Any, ...]
):
    async with (
        Redis.from_url(own_redis_server.url) as admin,
        connect(url_of_user(own_redis_server)) as redis,
    ):
        await grant_alone(admin, RIGHTS)
        with pytest.raises(RedisError, match=REFUSED):
            await redis.execute_command(*command)

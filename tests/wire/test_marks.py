"""What each engine says of itself, its key and its version: noted, read, forgotten."""

from tests.wire.support import MODELS, PREFIX, claim, leftovers, silence
from wire.queue import Announced
from wire.version import VERSION

MARKED = Announced("1f2e3d4c", VERSION)
UNMARKED = Announced("", VERSION)


async def test_each_live_engine_is_listed_with_what_it_marks_with_and_its_version(queue):
    for engine in ("e1", "e2", "e3"):
        await claim(queue, engine, 0)
    assert await queue.announced() == {}
    assert await queue.announce("e1", "1f2e3d4c") == {"e1": MARKED}
    both = {"e1": MARKED, "e2": UNMARKED}
    assert await queue.announce("e2", "") == both
    assert await queue.announced() == both
    assert (await queue.announce("e1", "99999999"))["e1"] == Announced("99999999", VERSION)


async def test_an_engine_too_old_to_say_its_version_is_listed_without_one(queue, redis):
    await claim(queue, "old", 0)
    await redis.hset(f"{PREFIX}:marks", "old", "1f2e3d4c")
    assert await queue.announced() == {"old": Announced("1f2e3d4c", "")}


async def test_what_redis_has_lost_is_noted_by_the_next_announcement(queue, redis):
    await claim(queue, "e1", 0)
    await queue.announce("e1", "1f2e3d4c")
    await redis.delete(f"{PREFIX}:marks")
    assert await queue.announced() == {}
    assert await queue.announce("e1", "1f2e3d4c") == {"e1": MARKED}


async def test_an_engine_that_left_or_is_silent_does_not_count_and_is_forgotten(queue, redis):
    for engine in ("left", "silent", "alive"):
        await claim(queue, engine, 0)
        await queue.announce(engine, "1f2e3d4c")
    await queue.leave("left")
    await silence(redis, "silent")
    assert await queue.announced() == {"alive": MARKED}
    await queue.tick()
    assert await redis.hkeys(f"{PREFIX}:marks") == [b"alive"]


async def test_what_an_engine_said_goes_with_the_last_that_is_known_of_it(queue, redis):
    for engine in ("dead", "alive"):
        await claim(queue, engine, 0)
        await queue.announce(engine, "1f2e3d4c")
    await redis.delete(f"{PREFIX}:engines")
    await claim(queue, "alive", 0)
    await queue.tick()
    for name in ("models", "marks"):
        assert await redis.hkeys(f"{PREFIX}:{name}") == [b"alive"]
    await redis.delete(f"{PREFIX}:engines")
    await queue.tick()
    await claim(queue, "alive", 0)
    assert await queue.announce("alive", "1f2e3d4c") == {"alive": MARKED}
    assert await queue.models() == MODELS


async def test_an_engine_that_nobody_would_forget_is_not_noted(queue, redis):
    assert await queue.announce("never seen", "1f2e3d4c") == {}
    await claim(queue, "e1", 0)
    await queue.leave("e1")
    assert await queue.announce("e1", "1f2e3d4c") == {}
    assert await redis.exists(f"{PREFIX}:marks") == 0
    assert await leftovers(redis) == []


async def test_to_ask_what_engines_say_is_no_sign_of_life_and_writes_nothing(queue, redis):
    assert await queue.announced() == {}
    assert await redis.keys("*") == []

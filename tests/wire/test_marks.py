"""Which watermark key each engine marks with: noted, read, forgotten, and never more than that."""

from tests.wire.support import PREFIX, claim, leftovers, silence


async def test_each_live_engine_is_listed_with_what_it_marks_with(queue):
    for engine in ("e1", "e2", "e3"):
        await claim(queue, engine, 0)
    assert await queue.key_fingerprints() == {}
    assert await queue.announce_key("e1", "1f2e3d4c") == {"e1": "1f2e3d4c"}
    both = {"e1": "1f2e3d4c", "e2": ""}
    assert await queue.announce_key("e2", "") == both
    assert await queue.key_fingerprints() == both
    assert (await queue.announce_key("e1", "99999999"))["e1"] == "99999999"


async def test_what_redis_has_lost_is_noted_by_the_next_announcement(queue, redis):
    await claim(queue, "e1", 0)
    await queue.announce_key("e1", "1f2e3d4c")
    await redis.delete(f"{PREFIX}:marks")
    assert await queue.key_fingerprints() == {}
    assert await queue.announce_key("e1", "1f2e3d4c") == {"e1": "1f2e3d4c"}


async def test_an_engine_that_left_or_is_silent_does_not_count_and_is_forgotten(queue, redis):
    for engine in ("left", "silent", "alive"):
        await claim(queue, engine, 0)
        await queue.announce_key(engine, "1f2e3d4c")
    await queue.leave("left")
    await silence(redis, "silent")
    assert await queue.key_fingerprints() == {"alive": "1f2e3d4c"}
    await queue.tick()
    assert await redis.hkeys(f"{PREFIX}:marks") == [b"alive"]


async def test_an_engine_that_nobody_would_forget_is_not_noted(queue, redis):
    assert await queue.announce_key("never seen", "1f2e3d4c") == {}
    await claim(queue, "e1", 0)
    await queue.leave("e1")
    assert await queue.announce_key("e1", "1f2e3d4c") == {}
    assert await redis.exists(f"{PREFIX}:marks") == 0
    assert await leftovers(redis) == []


async def test_to_ask_for_the_keys_is_no_sign_of_life_and_writes_nothing(queue, redis):
    assert await queue.key_fingerprints() == {}
    assert await redis.keys("*") == []

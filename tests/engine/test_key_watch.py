"""Who marks with another key: noticed by whoever comes later, said once, never of the dead."""

import logging

import pytest
from redis.asyncio import Redis

from engine import key_watch
from engine.key_watch import KeyWatch
from tests.engine.marked import KEY, OLD
from tests.wire.support import silence
from wire.queue import JobQueue

MARK, OTHER = KEY.fingerprint, OLD.fingerprint


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return JobQueue(redis)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was logged; each look is at once."""
    monkeypatch.setattr(key_watch, "LOOK_EVERY_S", 0.0)
    caplog.set_level(logging.INFO, logger=key_watch.__name__)
    lines: list[str] = []
    monkeypatch.setattr(key_watch.log, "warning", lambda form, *args: lines.append(form % args))
    monkeypatch.setattr(key_watch.log, "info", lambda form, *args: lines.append(form % args))
    return lines


async def join(queue: JobQueue, engine: str, fingerprint: str) -> KeyWatch:
    """Come as an engine comes: the first claim, and then the first look."""
    await queue.claim(engine, ["tiny"], 0, [])
    watch = KeyWatch(queue, engine, fingerprint)
    await watch.look()
    return watch


async def test_engines_that_share_a_key_say_nothing(queue: JobQueue, said: list[str]):
    for engine in ("e1", "e2", "e3"):
        await join(queue, engine, MARK)
    marks = {engine: said.fingerprint for engine, said in (await queue.announced()).items()}
    assert marks == dict.fromkeys(("e1", "e2", "e3"), MARK)
    assert said == []


@pytest.mark.parametrize(("other", "shown"), [(OTHER, OTHER), ("", "none")])
async def test_whoever_comes_later_names_the_engine_with_another_key_and_the_remedy(
    queue: JobQueue, said: list[str], other: str, shown: str
):
    await join(queue, "e1", MARK)
    await join(queue, "e2", MARK)
    await join(queue, "e3", other)
    [line] = said
    assert f"this one, e3, marks with {shown}, but e1 marks with {MARK}, e2 marks with" in line
    assert "give all of them the same OVID_WATERMARK_KEY or OVID_WATERMARK_KEY_FILE" in line


async def test_an_engine_hears_of_one_that_joined_says_it_once_and_when_it_is_over(
    queue: JobQueue, said: list[str]
):
    first = await join(queue, "e1", MARK)
    await join(queue, "e2", OTHER)
    said.clear()
    for _ in range(3):
        await first.look()
    assert len(said) == 1
    assert f"but e2 marks with {OTHER}." in said[0]
    await join(queue, "e3", OTHER)
    said.clear()
    await first.look()
    assert len(said) == 1
    for engine in ("e2", "e3"):
        await queue.leave(engine)
    for _ in range(3):
        await first.look()
    assert said[1:] == ["all engines at this Redis mark with one watermark key again"]


async def test_an_engine_that_left_or_died_does_not_count(
    queue: JobQueue, redis: Redis, said: list[str]
):
    await join(queue, "left", OTHER)
    await queue.leave("left")
    await join(queue, "dead", OTHER)
    await silence(redis, "dead")
    await join(queue, "e1", MARK)
    assert said == []


async def test_looks_are_seldom(queue: JobQueue, redis: Redis):
    watch = await join(queue, "e1", MARK)
    await redis.delete("{ovid:0}:marks")
    await watch.look()
    assert await queue.announced() == {}

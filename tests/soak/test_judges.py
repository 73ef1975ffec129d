"""The soak's judges on trial: what is wrong on purpose must be found, what is right must pass."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot import replies
from sandbox.model import Draft
from sandbox.redis_server import RedisServer
from tests.end_to_end.stack import Stack
from tests.faults.account import Account
from tests.soak import logs
from tests.soak.readings import MAX_GROWTH_MIB, MAX_POOLED, MAX_TASKS_MORE, Reading, leaks
from tests.soak.soak import end
from tests.soak.verdict import is_explained

CALM = Reading(
    tasks=9,
    own_fds=8,
    redis_connections=20,
    discord_connections=5,
    broken_connections=0,
    rss_mib=70.0,
)
JOB = "m1573755858.1573756744"
LINE = f"2026-01-01 00:00:00 INFO bot: job={JOB} attempt=1 ending=done reason=length\n"


def test_what_goes_back_to_what_it_was_leaks_nothing() -> None:
    assert leaks(CALM, replace(CALM, redis_connections=30, rss_mib=71.0)) == []


def test_each_thing_that_grows_is_found() -> None:
    grown = [
        replace(CALM, tasks=10 + MAX_TASKS_MORE),
        replace(CALM, own_fds=9),
        replace(CALM, redis_connections=MAX_POOLED + 1),
        replace(CALM, discord_connections=MAX_POOLED + 1),
        replace(CALM, broken_connections=MAX_POOLED + 1),
        replace(CALM, rss_mib=71.0 + MAX_GROWTH_MIB),
    ]
    assert [len(leaks(CALM, after)) for after in grown] == [1] * len(grown)


def test_a_secret_in_a_log_is_found_and_not_repeated() -> None:
    found = logs.told({"a.log": "so hunter2 said", "b.log": "all well"}, {"password": ["hunter2"]})
    assert found == ["a.log holds 1 x password"]


def test_a_reply_in_a_log_is_found_by_a_piece_of_it() -> None:
    text = "There once was a fox that spoke, and it said nothing of note to anybody at all."
    pieces = logs.fragments(text)
    assert pieces
    assert logs.told({"a.log": f"reply: {text[:60]!r}"}, {"text": pieces})
    assert not logs.told({"a.log": "There once was a cat"}, {"text": pieces})


def test_a_traceback_is_found_with_what_was_raised() -> None:
    log = f'{LINE}{logs.TRACEBACK}:\n  File "bot.py", line 1\n    1 / 0\nZeroDivisionError: no\n'
    [found] = logs.tracebacks({"a.log": log})
    assert "ZeroDivisionError" in found
    assert logs.tracebacks({"a.log": LINE}) == []


def test_a_line_that_is_missing_or_doubled_is_counted() -> None:
    assert logs.endings(LINE, [JOB, "m1.2"]) == {JOB: 1, "m1.2": 0}
    assert logs.endings(LINE * 2, [JOB]) == {JOB: 2}


async def test_people_who_could_not_go_on_fail_the_soak() -> None:
    async def live(*, falls_over: bool) -> None:
        async with asyncio.TaskGroup() as people:
            for _ in range(2):
                people.create_task(asyncio.sleep(3600))
            if falls_over:
                raise KeyError

    await end(asyncio.create_task(live(falls_over=False)))
    people = asyncio.create_task(live(falls_over=True))
    await asyncio.wait([people])
    with pytest.raises(ExceptionGroup):
        await end(people)


async def test_a_refusal_needs_a_fault_between_asking_and_refusal(
    redis_server: RedisServer,
) -> None:
    async with Stack(redis_server, Path("none")) as stack:
        ask = await Account(stack).mention(stack.sandbox.alice, "Is anybody there?")
        world = stack.sandbox.world
        refusal = world.post(world.bot, ask.event.channel, Draft(replies.REDIS_AWAY))
        told_s = refusal.revisions[-1].at_s
        assert is_explained(ask, refusal, [("redis_killed", told_s - 9, told_s)])
        assert is_explained(ask, refusal, [("wire_lossy", told_s - 9, told_s + 9)])
        assert not is_explained(ask, refusal, [])
        assert not is_explained(ask, refusal, [("engine_killed", told_s - 9, told_s + 9)])
        assert not is_explained(ask, refusal, [("redis_killed", told_s - 99, told_s - 90)])
        assert not is_explained(ask, refusal, [("redis_killed", told_s + 1, told_s + 9)])

"""Callers of an AsyncEngine with a fake model, and what they hear of it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from engine.async_engine import AsyncEngine, Event
from tests.engine.support import ENDLESS, FakeModelRunner, NextToken, make_engine
from wire.jobs import Delta, Done

DEADLINE_S = 60
PACE_S = 0.001
"""So that an endless reply does not flood the test with its text."""


def start(
    next_token: NextToken, *, num_slots: int = 2, max_waiting: int = 8, n_ctx: int = 2 * ENDLESS
) -> AsyncEngine:
    runner = FakeModelRunner(next_token, pace_s=PACE_S)
    engine = make_engine(runner, num_slots=num_slots, max_waiting=max_waiting, n_ctx=n_ctx)
    return AsyncEngine(engine, "tiny")


async def collect(events: AsyncGenerator[Event, None]) -> list[Event]:
    async with asyncio.timeout(DEADLINE_S), aclosing(events):
        return [event async for event in events]


async def first_of(events: AsyncGenerator[Event, None]) -> Event:
    async with asyncio.timeout(DEADLINE_S):
        return await anext(events)


def text_of(events: list[Event]) -> str:
    """Join the deltas, which must follow one another byte for byte."""
    text = ""
    for event in events:
        if isinstance(event, Delta):
            assert event.text
            assert event.offset_bytes == len(text.encode())
            text += event.text
    return text


def only_done(events: list[Event]) -> Done:
    *deltas, done = events
    assert all(isinstance(event, Delta) for event in deltas)
    assert isinstance(done, Done)
    return done

"""AsyncEngine: a real thread before a fake model, and callers that come, leave, and are told.

A reply that must not end by itself asks for `ENDLESS` tokens: only the engine's doing ends it.
"""

import asyncio
from contextlib import aclosing

import pytest

from tests.engine.callers import collect, first_of, only_done, start, text_of
from tests.engine.support import ENDLESS, forever_a, make_params, replies
from wire.jobs import FinishReason


async def test_a_reply_is_deltas_and_then_one_done():
    async with start(replies({"hi": "né🤖o"})) as engine:
        events = await collect(engine.generate("hi", make_params(seed=9), waited_ms=70))
    assert text_of(events) == "né🤖o"
    done = only_done(events)
    assert (done.finish_reason, done.model_name, done.seed) == (FinishReason.STOP, "tiny", 9)
    usage = done.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.queue_ms) == (2, 8, 70)
    assert usage.first_token_ms is not None
    assert 0 <= usage.first_token_ms <= usage.total_ms - 70


async def test_replies_that_run_together_get_each_their_own_text():
    texts: dict[str, str | bytes | list[int]] = {f"p{n}": f"reply {n} " * (n + 1) for n in range(8)}
    async with start(replies(texts), num_slots=3) as engine:
        found = await asyncio.gather(
            *(collect(engine.generate(prompt, make_params(max_tokens=500))) for prompt in texts)
        )
    assert [text_of(events) for events in found] == list(texts.values())
    assert {only_done(events).finish_reason for events in found} == {FinishReason.STOP}


async def test_leaving_early_frees_the_slot():
    async with start(forever_a, num_slots=1) as engine:
        async with aclosing(engine.generate("x", make_params(max_tokens=ENDLESS))) as endless:
            await first_of(endless)
        second = await collect(engine.generate("y", make_params(max_tokens=3)))
    assert text_of(second) == "aaa"


async def test_a_caller_who_is_cancelled_frees_the_slot():
    async with start(forever_a, num_slots=1) as engine:
        endless = engine.generate("x", make_params(max_tokens=ENDLESS))
        await first_of(endless)
        listening = asyncio.create_task(collect(endless))
        await asyncio.sleep(0)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        second = await collect(engine.generate("y", make_params(max_tokens=3)))
    assert text_of(second) == "aaa"


async def test_leaving_before_the_first_token_frees_the_place_in_line():
    async with start(forever_a, num_slots=1, max_waiting=1) as engine:
        running = engine.generate("x", make_params(max_tokens=ENDLESS))
        await first_of(running)
        waiting = engine.generate("y", make_params(max_tokens=ENDLESS))
        listening = asyncio.create_task(collect(waiting))
        await asyncio.sleep(0)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        third = asyncio.create_task(collect(engine.generate("z", make_params(max_tokens=2))))
        await asyncio.sleep(0)
        await running.aclose()
        assert text_of(await third) == "aa"


async def test_a_cancelled_reply_ends_with_what_was_written_until_then():
    cancelled = asyncio.Event()
    async with start(forever_a, num_slots=1) as engine:
        events = engine.generate("x", make_params(max_tokens=ENDLESS), cancelled=cancelled)
        first = await first_of(events)
        cancelled.set()
        found = [first, *await collect(events)]
        done = only_done(found)
        assert done.finish_reason is FinishReason.CANCELLED
        assert text_of(found) == "a" * done.usage.completion_tokens
        second = await collect(engine.generate("y", make_params(max_tokens=3)))
    assert text_of(second) == "aaa"


async def test_a_cancelled_reply_shows_what_was_held_back_before_its_last_word():
    cancelled = asyncio.Event()
    held = "a" * 5 + "b"
    async with start(forever_a, num_slots=1) as engine:
        params = make_params(max_tokens=ENDLESS, stop=(held,))
        events = engine.generate("x", params, cancelled=cancelled)
        found = [await first_of(events)]
        cancelled.set()
        found += await collect(events)
    # The last five might always have begun the stop string.
    done = only_done(found)
    assert done.finish_reason is FinishReason.CANCELLED
    assert text_of(found) == "a" * done.usage.completion_tokens


async def test_a_reply_cancelled_before_it_began_ends_as_cancelled():
    cancelled = asyncio.Event()
    cancelled.set()
    async with start(forever_a) as engine:
        params = make_params(max_tokens=ENDLESS)
        found = await collect(engine.generate("x", params, cancelled=cancelled))
    assert only_done(found).finish_reason is FinishReason.CANCELLED


async def test_a_seed_left_out_is_drawn_anew_each_time_and_reported():
    async with start(replies({"hi": "x"})) as engine:
        params = make_params(seed=None)
        seeds = [only_done(await collect(engine.generate("hi", params))).seed for _ in range(5)]
    assert len(set(seeds)) == 5

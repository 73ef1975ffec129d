"""AsyncEngine when something is wrong: who is refused or fails, who is told, and who goes on.

A reply that must not end by itself asks for `ENDLESS` tokens: only the engine's doing ends it.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import pytest

from engine.async_engine import AsyncEngine
from engine.errors import EngineStoppedError
from tests.engine.callers import DEADLINE_S, collect, first_of, only_done, start, text_of
from tests.engine.support import ENDLESS, NextToken, forever_a, make_params
from wire.jobs import Done, ErrorCode, Failed, FinishReason


def dies_of(poison: str) -> NextToken:
    """A model that nothing can be computed with any more once it has read `poison`."""

    def next_token(held: Sequence[int]) -> int:
        if bytes(held).startswith(poison.encode()):
            raise RuntimeError("the device is lost")
        return forever_a(held)

    return next_token


async def test_an_overload_fails_one_caller_only():
    cancelled = asyncio.Event()
    async with start(forever_a, num_slots=1, max_waiting=1) as engine:
        running = engine.generate("x", make_params(max_tokens=ENDLESS), cancelled=cancelled)
        await first_of(running)
        # Tasks begin in the order in which they were made.
        waiting = asyncio.create_task(collect(engine.generate("y", make_params(max_tokens=3))))
        refused = await asyncio.create_task(collect(engine.generate("z", make_params())))
        assert [type(event) for event in refused] == [Failed]
        assert isinstance(refused[0], Failed)
        assert refused[0].code is ErrorCode.OVERLOADED
        cancelled.set()
        assert only_done(await collect(running)).finish_reason is FinishReason.CANCELLED
        assert text_of(await waiting) == "aaa"


@pytest.mark.parametrize(
    ("prompt", "code"),
    [("x" * 50, ErrorCode.PROMPT_TOO_LONG), ("\ud800", ErrorCode.INVALID_REQUEST)],
    ids=["too-long", "no-text"],
)
async def test_a_request_that_cannot_be_run_fails_alone(prompt: str, code: ErrorCode):
    async with start(forever_a, n_ctx=64) as engine:
        [failed] = await collect(engine.generate(prompt, make_params()))
        assert isinstance(failed, Failed)
        assert failed.code is code
        assert failed.message.endswith(".")
        assert text_of(await collect(engine.generate("y", make_params(max_tokens=3)))) == "aaa"


async def test_a_dying_model_fails_everybody_who_waits_and_the_next_caller():
    async with start(dies_of("poison"), num_slots=2) as engine:
        running = engine.generate("x", make_params(max_tokens=ENDLESS))
        await first_of(running)
        assert engine.is_alive
        tasks = [
            asyncio.create_task(collect(engine.generate(prompt, make_params(max_tokens=ENDLESS))))
            for prompt in ("poison", "waits for a slot", "this one too")
        ]
        async with asyncio.timeout(DEADLINE_S):
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in ended] == [EngineStoppedError] * 3
        with pytest.raises(EngineStoppedError):
            await collect(running)
        with pytest.raises(EngineStoppedError):
            await collect(engine.generate("next", make_params()))
        assert not engine.is_alive


async def test_closing_the_engine_fails_who_still_listens_and_who_comes_later():
    engine = start(forever_a)
    assert not engine.is_alive
    async with engine:
        assert engine.is_alive
        running = engine.generate("x", make_params(max_tokens=ENDLESS))
        await first_of(running)
    assert not engine.is_alive
    with pytest.raises(EngineStoppedError):
        await collect(running)
    with pytest.raises(EngineStoppedError):
        await collect(engine.generate("y", make_params()))


def test_an_idle_engine_leaves_when_the_event_loop_has_gone():
    # A caller's loop may be closed while the thread still writes to it.
    async def leave_without_a_word() -> AsyncEngine:
        engine = await start(forever_a).__aenter__()
        await first_of(engine.generate("x", make_params(max_tokens=ENDLESS)))
        return engine

    async def stop(engine: AsyncEngine) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await engine.__aexit__(None, None, None)

    engine = asyncio.run(leave_without_a_word())
    assert engine.is_alive
    asyncio.run(stop(engine))
    assert not engine.is_alive


def overflows_at(poison: str) -> NextToken:
    """A model whose numbers are none once it has read `poison`."""

    def next_token(held: Sequence[int]) -> int:
        if bytes(held).startswith(poison.encode()):
            raise FloatingPointError
        return forever_a(held)

    return next_token


async def test_a_model_that_computes_what_is_no_number_says_so_and_takes_the_next_request():
    async with start(overflows_at("bad"), num_slots=1) as engine:
        for _ in range(3):
            [failed] = await collect(engine.generate("bad", make_params()))
            assert isinstance(failed, Failed)
            assert failed.code is ErrorCode.INTERNAL
            assert failed.message.startswith("The model tiny cannot write this: a logit that")
        assert text_of(await collect(engine.generate("good", make_params(max_tokens=3)))) == "aaa"


@pytest.mark.parametrize("num_slots", [1, 2, 4])
async def test_who_waits_behind_what_is_no_number_or_runs_beside_it_is_answered(num_slots: int):
    prompts = ("good", "bad", "good", "bad", "good")
    async with start(overflows_at("bad"), num_slots=num_slots) as engine:
        replies = await asyncio.gather(
            *(collect(engine.generate(each, make_params(max_tokens=3))) for each in prompts)
        )
    assert [type(reply[-1]) for reply in replies] == [Done, Failed, Done, Failed, Done]
    assert [text_of(reply) for reply in replies[::2]] == ["aaa"] * 3


@pytest.fixture
def hanging() -> Iterator[NextToken]:
    """A model of which a step does not end before the test does."""
    over = threading.Event()

    def next_token(held: Sequence[int]) -> int:
        over.wait(2 * DEADLINE_S)
        return forever_a(held)

    before = set(threading.enumerate())
    yield next_token
    over.set()
    # Others look whether an engine's thread is left behind.
    for thread in set(threading.enumerate()) - before:
        thread.join(DEADLINE_S)


async def test_an_engine_whose_step_hangs_is_not_alive(
    hanging: NextToken, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.async_engine.HUNG_S", 0.05)
    monkeypatch.setattr("engine.async_engine.LEAVE_S", 0.0)
    async with start(hanging) as engine:
        assert engine.is_alive
        waiting = asyncio.create_task(collect(engine.generate("hi", make_params())))
        async with asyncio.timeout(DEADLINE_S):
            while engine.is_alive:
                await asyncio.sleep(0.01)
        waiting.cancel()


async def test_a_step_that_hangs_keeps_nobody_from_leaving(
    hanging: NextToken, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("engine.async_engine.LEAVE_S", 0.05)
    async with asyncio.timeout(DEADLINE_S), start(hanging) as engine:
        waiting = asyncio.create_task(anext(engine.generate("hi", make_params())))
        while not engine._step_s:
            await asyncio.sleep(0.01)
        waiting.cancel()
    assert "model tiny: a step has not ended" in caplog.text

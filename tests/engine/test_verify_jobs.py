"""Jobs that ask where a text comes from, and keys that engines at one Redis should share."""

import logging
import threading
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine import key_watch
from engine.verifier import Verifier
from engine.verify import verify
from engine.watermark import WatermarkKey
from tests.engine.marked import KEY, OLD, marked_letters
from tests.engine.serving import DEADLINE_S, ended, has_text, serving, submit, until
from tests.engine.support import forever_a, replies, write_vocabulary
from tests.wire.support import PREFIX, ROOMY, leftovers, make_job
from wire.jobs import MAX_VERIFY_BYTES, Done, ErrorCode, Failed, FinishReason
from wire.queue import JobQueue, JobState
from wire.verdicts import Verdict, Verified

THIRD = WatermarkKey(bytes(32))
"""Of another installation."""


@pytest.fixture
def queue(redis: Redis) -> JobQueue:
    return JobQueue(redis)


@pytest.fixture
def ours(tmp_path: Path) -> Verifier:
    (tmp_path / "bytes").mkdir()
    write_vocabulary(tmp_path / "bytes")
    return Verifier(lambda: [tmp_path / "bytes"], (KEY, OLD))


async def ask(queue: JobQueue, job_id: str, text: str) -> None:
    await queue.submit(make_job(job_id, kind="verify", prompt=text), ROOMY)


async def test_a_job_that_asks_is_answered_with_a_verdict_and_no_text(
    queue: JobQueue, redis: Redis, ours: Verifier
):
    await ask(queue, "1", f"> {marked_letters(OLD)}")
    await ask(queue, "2", marked_letters(THIRD))
    await ask(queue, "3", "Hi.")
    await submit(queue, "4", "hi")
    async with serving(queue, replies({"hi": "x"}), verifier=ours) as running:
        records = [await ended(queue, job_id) for job_id in "1234"]
        await running.stopped()
    old, foreign, short, written = (record.outcome for record in records)
    assert isinstance(old, Verified)
    assert (old.verdict, old.key) == (Verdict.OURS, OLD.fingerprint)
    assert isinstance(foreign, Verified)
    assert foreign.verdict is Verdict.NO_SIGN
    assert isinstance(short, Verified)
    assert short.verdict is Verdict.TOO_SHORT
    assert isinstance(written, Done)
    assert [record.text for record in records] == ["", "", "", "x"]
    assert {(record.state, record.attempt) for record in records} == {(JobState.ENDED, 1)}
    assert [each for each in await leftovers(redis) if not each.startswith("own:")] == []


async def test_the_longest_text_that_fits_into_a_job_is_answered(queue: JobQueue, ours: Verifier):
    others = "x" * (MAX_VERIFY_BYTES - 2000)
    await ask(queue, "1", f"{others}\n{marked_letters()}")
    async with serving(queue, forever_a, verifier=ours):
        record = await ended(queue, "1")
    assert isinstance(record.outcome, Verified)
    assert record.outcome.verdict is Verdict.OURS


async def test_an_engine_without_a_key_says_so(queue: JobQueue):
    await ask(queue, "1", marked_letters())
    async with serving(queue, forever_a):
        record = await ended(queue, "1")
    said = "This engine has no watermark key, so it cannot tell what it wrote."
    assert record.outcome == Failed(code=ErrorCode.INVALID_REQUEST, message=said)


class HeldUp:
    """Verifying that stands still until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_begun, self.let_go = threading.Event(), threading.Event()
        monkeypatch.setattr("engine.verifier.verify", self)

    def __call__(self, *args: object) -> object:
        self.has_begun.set()
        assert self.let_go.wait(DEADLINE_S), "it was never let go"
        return verify(*args)  # type: ignore[arg-type]

    async def begins(self) -> None:
        async def has_begun() -> bool:
            return self.has_begun.is_set()

        await until(has_begun)


async def test_while_a_text_is_looked_at_replies_flow_and_a_stop_is_heard(
    queue: JobQueue, redis: Redis, ours: Verifier, monkeypatch: pytest.MonkeyPatch
):
    held_up = HeldUp(monkeypatch)
    await ask(queue, "1", marked_letters())
    async with serving(queue, forever_a, verifier=ours):
        try:
            await held_up.begins()
            await submit(queue, "2", "hi", user_id="bob")
            await has_text(queue, "2", "a" * 50)

            async def lease_ms() -> float:
                return await redis.zscore(f"{PREFIX}:lease", "1") or 0.0

            before_ms = await lease_ms()

            async def is_renewed() -> bool:
                return await lease_ms() > before_ms

            await until(is_renewed)
            assert await queue.cancel("1")
            record = await ended(queue, "1")
        finally:
            held_up.let_go.set()
    assert isinstance(record.outcome, Done)
    assert record.outcome.finish_reason is FinishReason.CANCELLED


async def test_a_stop_of_the_engine_hands_the_job_back(
    queue: JobQueue, ours: Verifier, monkeypatch: pytest.MonkeyPatch
):
    held_up = HeldUp(monkeypatch)
    await ask(queue, "1", marked_letters())
    async with serving(queue, forever_a, verifier=ours) as running:
        try:
            await held_up.begins()
            await running.stopped()
        finally:
            held_up.let_go.set()
    record = await queue.snapshot("1")
    assert record is not None
    assert (record.state, record.attempt) == (JobState.WAITING, 0)


async def test_a_fault_of_ours_is_a_sentence_and_nothing_of_a_text_is_logged(
    queue: JobQueue,
    ours: Verifier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("DEBUG")
    await ask(queue, "1", "secret sentence " * 30)
    async with serving(queue, forever_a, verifier=ours):
        await ended(queue, "1")

        def broken(*args: object) -> object:
            raise RuntimeError("a mistake of ours")

        monkeypatch.setattr("engine.verifier.verify", broken)
        await ask(queue, "2", "secret sentence")
        record = await ended(queue, "2")
    said = "Something went wrong in the engine while it looked at this."
    assert record.outcome == Failed(code=ErrorCode.INTERNAL, message=said)
    assert "job=1 attempt=1 ending=verified" in caplog.text
    assert "secret" not in caplog.text
    for key in (KEY, OLD):
        assert key.secret.hex() not in caplog.text
        assert repr(key.secret) not in caplog.text


async def test_engines_with_different_keys_are_named_by_both_sides(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(key_watch, "LOOK_EVERY_S", 0.0)
    caplog.set_level(logging.INFO, logger=key_watch.__name__)
    next_token = replies({"hi": "x"})
    async with (
        serving(queue, next_token, name="e1", fingerprint=KEY.fingerprint),
        serving(queue, next_token, name="e2"),
    ):

        async def have_both_said_it() -> bool:
            said = caplog.text
            return "this one, e1, marks" in said and "this one, e2, marks with none" in said

        await until(have_both_said_it)
        marks = {engine: each.fingerprint for engine, each in (await queue.announced()).items()}
        assert marks == {"e1": KEY.fingerprint, "e2": ""}
    assert len([each for each in caplog.records if each.name == key_watch.__name__]) == 2

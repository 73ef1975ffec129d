"""A background task that dies is started again, and the log says so."""

import asyncio

import pytest

from bot import supervise
from bot.supervise import Pauses, supervised
from tests.bot.support import DEADLINE_S


async def test_what_fails_or_ends_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(supervise, "RESTART_MIN_S", 0.01)
    runs = 0
    third = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            msg = "first failure"
            raise ValueError(msg)
        if runs == 3:
            third.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(supervised("the work", work))
    async with asyncio.timeout(DEADLINE_S):
        await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "the work failed" in caplog.text
    assert "first failure" in caplog.text
    assert "the work ended by itself" in caplog.text


def test_pauses_double_up_to_the_longest_until_a_run_lasts():
    pauses = Pauses(5, 30)
    assert [pauses.after(1) for _ in range(5)] == [5, 10, 20, 30, 30]
    assert [pauses.after(each) for each in (31, 1, 1)] == [5, 10, 20]

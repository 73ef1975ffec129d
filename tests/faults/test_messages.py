"""What goes wrong between Discord and a bot that lives: lost answers, repeated events, and Stop."""

import json
import random

import pytest

from bot import replies
from sandbox.model import Interaction, Message
from tests.end_to_end.stack import REPLY_TIMEOUT_S, Stack
from tests.faults.account import Account, Ask, Fate
from tests.faults.under_way import start_slow_engine
from wire.jobs import Done

STROLL_S = "0.02"
CRAWL_S = "0.05"
ROOMY = {"OVID_MAX_UNFINISHED_PER_USER": "20"}
POSTS = ("POST /channels/{channel_id}/messages", "POST /interactions/*")
EDITS = ("PATCH /channels/*/messages/*", "PATCH /webhooks/*")
MANY = 500
"""More requests of a kind than any test makes."""
LONG = 500
"""Tokens of a reply that takes more than one message."""
ENDLESS = 900


def lose_some(stack: Stack, pattern: str, share: float, chance: random.Random) -> None:
    """Lose a share of the answers to what matches, by breaking the line or by a 502."""
    for _ in range(MANY):
        if chance.random() < share:
            stack.sandbox.faults.lose(pattern, status=chance.choice((None, 502)))
        else:
            stack.sandbox.faults.delay(pattern, 0.0)


@pytest.mark.fault
async def test_11_what_discord_does_without_saying_so_is_not_done_twice(
    stack: Stack, account: Account
) -> None:
    chance = random.Random(11)
    await start_slow_engine(stack, 8, STROLL_S)
    await stack.start_bot(**ROOMY)
    for pattern in POSTS:
        lose_some(stack, pattern, 0.3, chance)
    for pattern in EDITS:
        lose_some(stack, pattern, 0.2, chance)
    for number in range(8):
        user = stack.sandbox.join(f"user {number}")
        await account.mention(user, f"Question {number}")
        await account.generate(user, f"Question {number}", length=LONG if number % 2 else 40)
    assert await account.check() == {Fate.FULL: 16}
    for ask in account.asks:
        posted = stack.sandbox.bot_messages(account.home(ask.user))
        nonces = [message.nonce for message in posted if message.nonce]
        assert len(nonces) == len(set(nonces))


@pytest.mark.fault
async def test_15_what_is_stopped_at_any_time_says_so_and_frees_its_slot(
    stack: Stack, account: Account
) -> None:
    chance = random.Random(15)
    await start_slow_engine(stack, 4, CRAWL_S)
    await stack.start_bot(**ROOMY)
    to_stop = set(chance.sample(range(20), 10))
    stopped = []
    for number in range(20):
        user = stack.sandbox.join(f"user {number}")
        length = ENDLESS if number in to_stop else 60
        ask = await account.generate(user, f"Question {number}", length=length)
        if number in to_stop:
            stopped.append(ask)
    chance.shuffle(stopped)
    for ask in stopped:
        await press_stop(stack, account, ask)
    fates = await account.check(Fate.STOPPED)
    assert fates == {Fate.FULL: 10, Fate.STOPPED: 10}
    begun = set()
    for ask in stopped:
        record = await account.record(ask)
        assert record is not None
        assert isinstance(record.outcome, Done)
        assert record.outcome.usage.completion_tokens < ENDLESS
        begun.add(record.attempt)
        assert account.messages(ask)[-1].content.endswith(replies.STOPPED)
    assert begun == {0, 1}, "some were stopped in line, and some while they were written"
    stats = await stack.queue.tick()
    assert (stats.num_running, stats.num_waiting) == (0, 0)
    for number in range(4):
        user = stack.sandbox.join(f"later {number}")
        await account.generate(user, "And now", length=20)
    assert await account.check(Fate.STOPPED) == {Fate.FULL: 14, Fate.STOPPED: 10}


async def stoppable(stack: Stack, account: Account, ask: Ask) -> tuple[Message, str]:
    """Wait until the reply to a question has a Stop button; return message and `custom_id`."""

    def look() -> tuple[Message, str] | None:
        for message in account.messages(ask):
            button = message.button(replies.STOP_BUTTON)
            if button is not None:
                return message, button.custom_id
        return None

    return await stack.sandbox.wait_for(look, REPLY_TIMEOUT_S)


async def press_stop(stack: Stack, account: Account, ask: Ask) -> None:
    """Press Stop as soon as the reply to a question has the button."""
    await stack.sandbox.press(ask.user, *await stoppable(stack, account, ask))


@pytest.mark.fault
async def test_17_an_event_that_comes_six_times_and_once_more_is_answered_once(
    stack: Stack, account: Account
) -> None:
    box = stack.sandbox
    box.gateway.event_copies = 6
    await start_slow_engine(stack, 8, STROLL_S)
    await stack.start_bot(OVID_MAX_UNFINISHED_PER_USER="2")
    greedy = box.join("greedy")
    endless = [await account.generate(greedy, "For ever", length=ENDLESS) for _ in range(2)]
    for each in endless:
        await stoppable(stack, account, each)
    refused = await account.mention(greedy, "One too many")
    await box.wait_for(lambda: account.messages(refused) or None, REPLY_TIMEOUT_S)
    for each in endless:
        await press_stop(stack, account, each)
    for number in range(6):
        await account.mention(box.join(f"user {number}"), f"Question {number}")
        await account.generate(box.join(f"other {number}"), f"Question {number}", length=40)
    fates = {Fate.FULL: 12, Fate.STOPPED: 2, Fate.REFUSED: 1}
    assert await account.check(Fate.STOPPED, Fate.REFUSED) == fates
    repeat_messages(stack)
    await account.mention(box.join("latecomer"), "The last question")
    fates[Fate.FULL] += 1
    assert await account.check(Fate.STOPPED, Fate.REFUSED) == fates
    assert max(record.attempt for record in await stack.records()) == 1
    answered = [ask.event for ask in account.asks if isinstance(ask.event, Interaction)]
    assert all(len(event.followups) == 0 for event in answered)


def repeat_messages(stack: Stack) -> None:
    """Send all that people wrote once more, as a gateway does that lost count."""
    for session in stack.sandbox.gateway.sessions.values():
        for _, frame in list(session.sent):
            event = json.loads(frame)
            if event["t"] == "MESSAGE_CREATE":
                session.dispatch(event["t"], event["d"])

"""The judge on trial: what went wrong on purpose must be found, and what went well must pass."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot import replies
from bot.origin import MessageOrigin, dump_origin
from sandbox.model import Draft, Message
from sandbox.redis_server import RedisServer
from tests.end_to_end.stack import LABEL, Stack, parts_of
from tests.faults.account import Account, Ask, Fate
from tests.wire.support import claim, finish, make_done, make_job
from wire.jobs import Done, ErrorCode, Failed, FinishReason
from wire.queue import JobRecord

TEXT = "There once was a fox that spoke.\n\nIt said nothing of note. " * 3


@pytest.fixture
async def stack(redis_server: RedisServer, redis_url: str) -> AsyncIterator[Stack]:
    """Neither bot nor engine runs: the tests play both."""
    async with Stack(redis_server, Path("none")) as stack:
        yield stack


@pytest.fixture
def account(stack: Stack) -> Account:
    return Account(stack)


async def ask(stack: Stack, account: Account) -> Ask:
    """Let somebody ask, and put it into the queue as the bot would."""
    asked = await account.mention(stack.sandbox.alice, "Tell me of the fox")
    origin = MessageOrigin(
        channel_id=asked.event.channel.id, asker_id=asked.user.id, message_id=asked.event.id
    )
    bot_id = str(stack.sandbox.bot_user.id)
    job = make_job(asked.job_id, bot_id=bot_id, origin=dump_origin(origin))
    await stack.queue.submit(job)
    return asked


async def end(
    stack: Stack, asked: Ask, text: str = TEXT, outcome: Done | Failed | None = None
) -> JobRecord:
    """Write the reply and its last word as an engine would, and note that it is shown."""
    await claim(stack.queue)
    assert await finish(stack.queue, asked.job_id, text, outcome=outcome) == 1
    await stack.queue.shown(str(stack.sandbox.bot_user.id), asked.job_id)
    record = await stack.queue.snapshot(asked.job_id)
    assert record is not None
    return record


def show(stack: Stack, asked: Ask, *contents: str) -> list[Message]:
    """Post as the bot would."""
    world = stack.sandbox.world
    assert isinstance(asked.event, Message)
    return [
        world.post(world.bot, asked.event.channel, Draft(content), reference=asked.event)
        for content in contents
    ]


async def judged(account: Account) -> Fate:
    """Judge the only question as it stands."""
    [fate] = await account.settled(timeout_s=0)
    return fate


async def test_a_reply_that_equals_its_record_is_in_full(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    show(stack, asked, *parts_of(await end(stack, asked)))
    assert await account.check() == {Fate.FULL: 1}


async def test_silence_is_found(stack: Stack, account: Account) -> None:
    await end(stack, await ask(stack, account))
    assert await judged(account) is Fate.UNANSWERED
    assert "wanted" in await account.explain()


async def test_a_reply_that_still_runs_is_no_answer(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    show(stack, asked, f"{LABEL} 124M\nThere once ▌")
    await end(stack, asked)
    assert await judged(account) is Fate.UNANSWERED


async def test_a_second_reply_is_found(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    parts = parts_of(await end(stack, asked))
    show(stack, asked, *parts, *parts)
    assert await judged(account) is Fate.DOUBLED


async def test_a_repeated_part_of_a_long_reply_is_found(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    parts = parts_of(await end(stack, asked, TEXT * 20))
    assert len(parts) > 1
    show(stack, asked, *parts, parts[-1])
    assert await judged(account) is Fate.DOUBLED


@pytest.mark.parametrize("wrong", ["changed", "cut", "swapped"])
async def test_a_garbled_reply_is_found(stack: Stack, account: Account, wrong: str) -> None:
    asked = await ask(stack, account)
    parts = list(parts_of(await end(stack, asked, TEXT * 20)))
    if wrong == "changed":
        parts[0] = parts[0].replace("fox", "cat", 1)
    elif wrong == "cut":
        parts[-1] = parts[-1][:-1]
    else:
        parts.reverse()
    show(stack, asked, *parts)
    assert await judged(account) is Fate.GARBLED


async def test_a_reply_that_changes_after_its_end_is_found(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    [message] = show(stack, asked, *parts_of(await end(stack, asked)))
    assert await judged(account) is Fate.FULL
    stack.sandbox.world.edit(message, replace(message.draft, content="something else"))
    assert await judged(account) is Fate.GARBLED


async def test_who_was_answered_is_not_told_to_ask_again(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    show(stack, asked, *parts_of(await end(stack, asked)), replies.FORGOTTEN)
    assert await judged(account) is Fate.DOUBLED


async def forgotten(stack: Stack, account: Account, asked: Ask) -> str:
    """Let Redis lose a job whose engine had begun, and return the label."""
    await claim(stack.queue)
    await stack.queue.beat("e1", [])
    record = await stack.queue.snapshot(asked.job_id)
    assert record is not None
    await stack.redis.append(f"{{ovid:0}}:text:{asked.job_id}", TEXT)
    await account.remember()
    await stack.redis.flushall()
    return f"{LABEL} {record.model_name} · not written by a person"


async def test_what_stands_before_the_notice_is_a_clean_prefix(
    stack: Stack, account: Account
) -> None:
    asked = await ask(stack, account)
    label = await forgotten(stack, account, asked)
    [message] = show(stack, asked, f"{label}\n{TEXT[:20]}\n{replies.FORGOTTEN}")
    assert await judged(account) is Fate.LOST
    other = f"{label}\nThere never was\n{replies.FORGOTTEN}"
    stack.sandbox.world.edit(message, replace(message.draft, content=other))
    assert await judged(account) is Fate.GARBLED


async def test_a_sentence_alone_tells_that_it_is_lost(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    await forgotten(stack, account, asked)
    show(stack, asked, replies.FORGOTTEN)
    assert await judged(account) is Fate.LOST


async def test_who_was_refused_has_no_job_that_was_done(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    await end(stack, asked)
    [message] = show(stack, asked, replies.you_have_enough(2))
    assert await judged(account) is Fate.GARBLED
    # Nobody can know, while Redis is away, whether it took the job.
    stack.sandbox.world.edit(message, replace(message.draft, content=replies.REDIS_AWAY))
    assert await judged(account) is Fate.REFUSED


async def test_a_refusal_is_an_answer(stack: Stack, account: Account) -> None:
    asked = await account.mention(stack.sandbox.alice, "Tell me of the fox")
    show(stack, asked, replies.you_have_enough(2))
    assert await account.check(Fate.REFUSED) == {Fate.REFUSED: 1}


async def test_an_error_and_a_stop_are_told_from_a_full_reply(
    stack: Stack, account: Account
) -> None:
    lost = Failed(code=ErrorCode.ENGINE_LOST, message="It died.")
    for outcome in (lost, make_done(FinishReason.CANCELLED)):
        asked = await ask(stack, account)
        show(stack, asked, *parts_of(await end(stack, asked, outcome=outcome)))
    assert await account.check(Fate.ERROR, Fate.STOPPED) == {Fate.ERROR: 1, Fate.STOPPED: 1}
    with pytest.raises(AssertionError, match="stopped by a person"):
        await account.check()


async def test_a_key_that_is_left_over_is_found(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    show(stack, asked, *parts_of(await end(stack, asked)))
    await stack.redis.rpush("{ovid:0}:retry", "m1.2")
    with pytest.raises(AssertionError, match="retry"):
        await account.check()


async def test_what_the_bot_says_to_nobody_is_found(stack: Stack, account: Account) -> None:
    asked = await ask(stack, account)
    parts = parts_of(await end(stack, asked))
    show(stack, asked, *parts)
    world = stack.sandbox.world
    [again] = [world.post(world.bot, asked.event.channel, Draft(part)) for part in parts]
    with pytest.raises(AssertionError, match="said to nobody"):
        await account.check()
    world.delete(again)
    assert await account.check() == {Fate.FULL: 1}

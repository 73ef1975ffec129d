"""Many people at once: all are answered, each once, and what is over is forgotten.

How fast that is, is no test's business: `python -m bench load` measures it.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import CoroutineType

import discord
import pytest

from bot import replies
from bot.client import BotClient
from bot.interaction_surface import InteractionSurface
from bot.live_reply import LiveReply
from bot.message_editor import MessageEditor
from bot.message_surface import MessageSurface
from sandbox.model import Interaction, Message
from sandbox.server import Sandbox
from tests.bot.conftest import judged
from tests.bot.support import Engine, running_bot, until_over
from tests.end_to_end.stack import parts_of
from tests.sandbox.openapi import Checker
from wire.queue import Bounds, JobQueue, JobRecord

PEOPLE = 200
STREAMS = 64
WAITING = 50
DEADLINE_S = 120.0
PAGES = 6
PAGE = "The old lighthouse keeper counted the *ships* again. " * 8
PER_REPLY = (LiveReply, MessageEditor, MessageSurface, InteractionSurface, discord.Interaction)
"""What there is one of for each reply: none may outlive it."""

Asking = Callable[[Sandbox, int], Awaitable[Interaction | Message]]


@pytest.fixture
async def sandbox(discords_document: Checker | None) -> AsyncIterator[Sandbox]:
    """A Discord without rate limits whose time stands still: it finds no answer late."""
    async with judged(Sandbox(limits={}, clock=lambda: 0.0), discords_document) as sandbox:
        yield sandbox


async def command(sandbox: Sandbox, number: int) -> Interaction:
    user = sandbox.join(f"user {number}")
    channel = sandbox.open_channel(f"home of {user.name}")
    return await sandbox.slash(user, channel, "generate", {"prompt": f"Question {number}."})


async def mention(sandbox: Sandbox, number: int) -> Message:
    user = sandbox.join(f"user {number}")
    channel = sandbox.open_channel(f"home of {user.name}")
    return await sandbox.say(user, channel, f"{sandbox.bot_user.mention} Question {number}.")


async def answer(engine: Engine, number: int) -> None:
    for _ in range(number):
        job = await engine.take()
        await engine.end(job, f" Answer to {job.prompt}")


def shown(sandbox: Sandbox, asked: Interaction | Message) -> list[Message]:
    """List all that the bot says in the channel of one who asked there alone."""
    return sandbox.bot_messages(asked.channel)


async def record_of(queue: JobQueue, asked: Interaction | Message) -> JobRecord:
    kind = "i" if isinstance(asked, Interaction) else "m"
    record = await queue.snapshot(f"{kind}{asked.channel.id}.{asked.id}")
    assert record is not None
    return record


async def check_all_equal_their_records(
    sandbox: Sandbox, queue: JobQueue, asked: Sequence[Interaction | Message]
) -> None:
    for each in asked:
        said = [message.content for message in shown(sandbox, each)]
        assert tuple(said) == parts_of(await record_of(queue, each))


def count_objects() -> Counter[str]:
    gc.collect()
    return Counter(
        type(each).__name__ for each in gc.get_objects() if issubclass(type(each), PER_REPLY)
    )


def count_tasks() -> Counter[str]:
    """Count the bot's tasks, not those in which the sandbox keeps its connections open."""
    working = (task.get_coro() for task in asyncio.all_tasks())
    return Counter(
        each.__qualname__
        for each in working
        if isinstance(each, CoroutineType) and "aiohttp" not in each.cr_code.co_filename
    )


@pytest.mark.parametrize("ask", [command, mention])
async def test_200_people_who_ask_at_once_are_all_answered_and_each_once(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, ask: Asking
):
    asked = [await ask(sandbox, number) for number in range(PEOPLE)]
    await answer(engine, PEOPLE)
    await until_over(queue, bot)
    await check_all_equal_their_records(sandbox, queue, asked)
    await engine.take_nothing()
    answers = [each for each in sandbox.recorder if each.route.endswith("/callback")]
    assert [each.status for each in answers] == [200] * (PEOPLE if ask is command else 0)


async def test_of_200_people_at_once_those_past_a_bound_are_refused_with_a_sentence(
    sandbox: Sandbox, redis_url: str, engine: Engine, queue: JobQueue
):
    async with running_bot(sandbox, redis_url, bounds=Bounds(max_waiting=WAITING)) as bot:
        asked = [await command(sandbox, number) for number in range(PEOPLE)]

        def refused() -> list[Interaction]:
            sentence = replies.line_is_full(WAITING)
            return [each for each in asked if each.original and each.original.content == sentence]

        await sandbox.wait_for(lambda: len(refused()) == PEOPLE - WAITING or None, DEADLINE_S)
        await answer(engine, WAITING)
        await until_over(queue, bot)
        admitted = [each for each in asked if each not in refused()]
        await check_all_equal_their_records(sandbox, queue, admitted)


async def test_64_replies_that_stream_at_once_all_end_equal_to_their_records(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = [await (command, mention)[number % 2](sandbox, number) for number in range(STREAMS)]
    jobs = [await engine.take() for _ in range(STREAMS)]
    for page in range(PAGES):
        for number, job in enumerate(jobs):
            await engine.write(job, f"{number}.{page} {PAGE}")
    await sandbox.wait_for(
        lambda: all(len(shown(sandbox, each)) > 1 for each in asked) or None, DEADLINE_S
    )
    for job in jobs:
        await engine.end(job, "The end.")
    await until_over(queue, bot)
    await check_all_equal_their_records(sandbox, queue, asked)


@pytest.mark.parametrize("ask", [command, mention])
async def test_of_replies_that_are_over_nothing_is_kept(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, ask: Asking
):
    await ask(sandbox, 0)
    await answer(engine, 1)
    await until_over(queue, bot)
    before = count_tasks() + count_objects()
    for number in range(STREAMS):
        await ask(sandbox, number)
    await answer(engine, STREAMS)
    await until_over(queue, bot)
    async with asyncio.timeout(DEADLINE_S):
        while count_tasks() + count_objects() - before:
            await asyncio.sleep(0.05)
    follower = bot._follower
    assert follower is not None
    assert [follower._live, follower._submitting, follower._crashes] == [{}, set(), {}]


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_channel_whose_edit_hangs_or_is_too_early_holds_no_other(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue, is_refused: bool
):
    asked = [await mention(sandbox, number) for number in range(8)]
    jobs = [await engine.take() for _ in range(8)]
    for job in jobs:
        await engine.write(job, " Once")
    await sandbox.wait_for(lambda: all(shown(sandbox, each) for each in asked) or None, DEADLINE_S)
    edit = "PATCH /channels/{channel_id}/messages/{message_id}"
    if is_refused:
        sandbox.faults.refuse(edit, 429, retry_after_s=3600.0)
    else:
        sandbox.faults.hold(edit)
    for job in jobs:
        await engine.end(job, " more")
    bot_id = str(sandbox.bot_user.id)
    async with asyncio.timeout(DEADLINE_S):
        while len(left := await queue.own(bot_id)) > 1:
            await asyncio.sleep(0.05)
    contents = [shown(sandbox, each)[0].content for each in asked]
    assert sum(content.endswith("Once more") for content in contents) == 7
    assert len(left) == 1

"""What people meet: real bot, real engine, real Redis, and a local Discord."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.model import Interaction
from sandbox.redis_server import RedisServer
from tests.end_to_end.conftest import checked_stack, save_endless
from tests.end_to_end.stack import (
    LABEL,
    REPLY_TIMEOUT_S,
    Stack,
    check_labelled,
    has_text,
    parts_of,
)
from tests.faults.under_way import frozen, running
from wire.jobs import Done

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs(endless_model: Path) -> AsyncIterator[Stack]:
    """A bot and an engine with two slots, for all tests here: starting them takes seconds."""
    async with RedisServer() as redis_server, checked_stack(redis_server, endless_model) as stack:
        await stack.start_engine(slots=2)
        await stack.start_bot()
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def served(programs: Stack) -> Stack:
    """The programs, with nothing left of the test before."""
    await programs.forget()
    return programs


async def test_a_mention_gets_one_labelled_reply_that_streams(served: Stack) -> None:
    asked = await served.mention(served.sandbox.alice, "In a shocking finding")
    reply = await served.reply_to(asked)
    record = await served.the_record()
    assert (reply.content,) == parts_of(record)
    assert record.job.prompt == "In a shocking finding"
    check_labelled(reply)
    assert len(served.messages) == 1


async def test_an_empty_mention_is_an_unconditional_sample(served: Stack) -> None:
    reply = await served.reply_to(await served.mention(served.sandbox.alice, ""))
    record = await served.the_record()
    assert record.job.prompt == ""
    assert record.text
    assert (reply.content,) == parts_of(record)


async def test_a_direct_message_needs_no_mention(served: Stack) -> None:
    box = served.sandbox
    asked = await box.say(box.bob, box.dm(box.bob), "Once upon a time")
    reply = await served.reply_to(asked)
    assert reply.channel is box.dm(box.bob)
    assert (reply.content,) == parts_of(await served.the_record())
    check_labelled(reply)


async def test_the_slash_command_gives_the_same_text_for_the_same_seed(served: Stack) -> None:
    box = served.sandbox
    options = {"prompt": "The sea", "length": 30, "temperature": 0.9, "top_p": 0.95, "seed": 7}
    for user in (box.alice, box.bob):
        answer = await served.answer_of(await box.slash(user, box.general, "generate", options))
        check_labelled(answer)
    first, second = await served.records()
    assert first.text == second.text
    assert first.text
    assert isinstance(first.outcome, Done)
    assert first.outcome.seed == 7
    assert first.outcome.usage.completion_tokens == 30


async def test_what_details_tell_writes_the_same_text_again(served: Stack) -> None:
    box = served.sandbox
    reply = await served.reply_to(await served.mention(box.alice, "The sea"))
    button = await box.wait_for(lambda: reply.button("Details"), REPLY_TIMEOUT_S)
    press = await box.press(box.bob, reply, button.custom_id)
    told = await box.wait_for(lambda: press.original, REPLY_TIMEOUT_S)
    options: dict[str, object] = {"prompt": "The sea"}
    for name, value in re.findall(r"(\w+):([\w.]+)", told.content.split("/generate")[1]):
        options.setdefault(name, value if name == "model" else json.loads(value))
        if name == "model":
            break
    await served.answer_of(await box.slash(box.bob, box.general, "generate", options))
    first, second = await served.records()
    assert first.text == second.text
    assert first.text
    assert second.job.params.seed is not None


async def test_another_seed_gives_another_text(served: Stack) -> None:
    box = served.sandbox
    for seed in (1, 2):
        options = {"prompt": "The sea", "length": 30, "seed": seed}
        await served.answer_of(await box.slash(box.alice, box.general, "generate", options))
    first, second = await served.records()
    assert first.text != second.text


async def test_a_model_made_while_all_runs_can_be_asked_for_by_its_name(served: Stack) -> None:
    box = served.sandbox
    options = {"prompt": "The sea", "length": 20, "seed": 7}
    too_early = await box.slash(box.bob, box.general, "generate", {**options, "model": "notes"})
    refused = await served.answer_of(too_early)
    assert "endless" in refused.content, "it says what there is"
    assert await served.records() == []
    save_endless(served.models / "notes", seed=1)
    async with asyncio.timeout(REPLY_TIMEOUT_S):
        while await served.queue.models() != ("endless", "notes"):
            await asyncio.sleep(0.05)
    answers = [
        await served.answer_of(
            await box.slash(box.alice, box.general, "generate", {**options, **named})
        )
        for named in ({"model": "notes"}, {})
    ]
    records = await served.records()
    assert [record.model_name for record in records] == ["notes", "endless"]
    for record, answer in zip(records, answers, strict=True):
        assert f"{LABEL} {record.model_name} " in answer.content
        check_labelled(answer)
    assert records[0].text != records[1].text
    assert records[0].text


async def shown_before_they_are_done(served: Stack, *asked: Interaction) -> None:
    """Wait until all show text at once; an engine that is frozen meanwhile can't be too quick."""
    await running(served, len(asked))
    with frozen(served.newest["engine"]):
        await served.sandbox.wait_for(
            lambda: all(each.original and has_text(each.original.content) for each in asked),
            REPLY_TIMEOUT_S,
        )


async def test_a_long_reply_is_split_into_labelled_parts(served: Stack) -> None:
    box = served.sandbox
    options = {"prompt": "Long ago", "length": 1000, "top_k": 40}
    asked = await box.slash(box.alice, box.general, "generate", options)
    await shown_before_they_are_done(served, asked)
    (record,) = await served.settled(1)
    parts = parts_of(record)
    assert len(parts) >= 2
    messages = served.messages
    assert tuple(message.content for message in messages) == parts
    texts = [r for r in messages[0].revisions if has_text(r.content)]
    assert len(texts) >= 2, "it was shown before it was done"
    assert texts[0].components, "what is not done can be stopped"
    for message in messages:
        assert len(message.content) <= 2000
        check_labelled(message)


async def test_two_people_at_once_each_get_their_own_text(served: Stack) -> None:
    box = served.sandbox
    options = {"length": 400, "top_k": 40}
    asked = [
        await box.slash(user, box.general, "generate", {**options, "prompt": prompt, "seed": 3})
        for user, prompt in ((box.alice, "The town of stone"), (box.bob, "A cold and early spring"))
    ]
    await shown_before_they_are_done(served, *asked)
    together = [await served.answer_of(each) for each in asked]
    # A first part is done before the reply is.
    records = await served.settled(2)
    assert [message.content for message in together] == [parts_of(r)[0] for r in records]
    assert records[0].text != records[1].text
    shown = [[r.at_s for r in message.revisions if has_text(r.content)] for message in together]
    spans = [(times[0], times[-1]) for times in shown]
    assert max(begin for begin, _ in spans) < min(end for _, end in spans), "they ran together"


async def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(served: Stack) -> None:
    box = served.sandbox
    options = {"prompt": "word " * 300, "length": 1000}
    answer = await served.answer_of(await box.slash(box.alice, box.general, "generate", options))
    assert "1000" in answer.content
    assert "1024" in answer.content
    (record,) = await served.records()
    assert record.text == ""


async def test_a_third_request_of_one_person_is_refused(served: Stack) -> None:
    box = served.sandbox
    endless = {"prompt": "For ever", "length": 500}
    # Or they might be done before the third is asked for.
    with frozen(served.newest["engine"]):
        for _ in range(2):
            await box.slash(box.alice, box.general, "generate", endless)
        # An answer is put off, which shows, before its job is in line.
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while len(await served.records()) < 2:
                await asyncio.sleep(0.05)
        refused = await served.reply_to(await served.mention(box.alice, "and this"))
    assert "not done yet" in refused.content
    assert len(await served.records()) == 2


async def test_bots_and_webhooks_are_never_answered(served: Stack) -> None:
    box = served.sandbox
    await box.say(box.other_bot, box.general, f"{box.bot_user.mention} talk to me")
    await box.say_as_webhook(box.general, "feed", f"{box.bot_user.mention} talk to me")
    # The gateway keeps the order: once this is answered, the two above have been read.
    await served.reply_to(await served.mention(box.alice, "hello"))
    assert len(served.messages) == 1

"""What is stopped, missing or killed in between: real processes, really killed."""

from tests.end_to_end.stack import REPLY_TIMEOUT_S, Stack, check_labelled, parts_of
from wire.jobs import Done, FinishReason

LONG = {"prompt": "The long way home", "length": 500, "seed": 11}


async def test_a_second_engine_finishes_the_message_of_a_killed_one(stack: Stack) -> None:
    doomed = await stack.start_engine()
    await stack.start_bot()
    box = stack.sandbox
    asked = await box.slash(box.alice, box.general, "generate", LONG)
    await box.wait_for(
        lambda: (asked.original and asked.original.content.endswith("▌")) or None, REPLY_TIMEOUT_S
    )
    await stack.kill(doomed)
    before = await stack.the_record()
    assert before.outcome is None, "it was killed in the middle"
    await stack.start_engine()
    (record,) = await stack.settled(1)
    assert isinstance(record.outcome, Done)
    assert record.attempt == 2
    assert record.outcome.usage.completion_tokens == 500
    assert record.text.startswith(before.text), "the same seed gives the same text"
    messages = stack.messages
    assert tuple(message.content for message in messages) == parts_of(record)
    for message in messages:
        check_labelled(message)


async def test_a_restarted_bot_finishes_its_messages_and_posts_none_twice(stack: Stack) -> None:
    await stack.start_engine()
    bot = await stack.start_bot()
    box = stack.sandbox
    asked = [
        await stack.mention(box.alice, "The first of two"),
        await stack.mention(box.bob, "The second of two"),
    ]
    for message in asked:
        await stack.first_text(message)
    await stack.kill(bot)
    await stack.start_bot()
    replies = [await stack.reply_to(message) for message in asked]
    records = await stack.records()
    assert {(reply.content,) for reply in replies} == {parts_of(record) for record in records}
    assert len(stack.messages) == 2


async def test_a_bot_that_was_down_answers_what_was_asked_before(stack: Stack) -> None:
    bot = await stack.start_bot()
    box = stack.sandbox
    asked = await stack.mention(box.alice, "While you were away")
    reply = await box.wait_for_reply(asked, REPLY_TIMEOUT_S)
    await stack.kill(bot)
    await stack.start_engine()
    await stack.start_bot()
    await stack.finished(reply)
    assert (reply.content,) == parts_of(await stack.the_record())
    assert len(stack.messages) == 1


async def test_a_killed_redis_loses_nothing(stack: Stack) -> None:
    await stack.start_engine()
    await stack.start_bot()
    box = stack.sandbox
    asked = await box.slash(box.alice, box.general, "generate", LONG)
    await box.wait_for(
        lambda: (asked.original and asked.original.content.endswith("▌")) or None, REPLY_TIMEOUT_S
    )
    waiting = [await stack.mention(user, "And after that") for user in (box.bob, box.alice)]
    for message in waiting:
        await stack.first_text(message)
    await stack.redis_server.kill()
    await stack.redis_server.restart()
    records = await stack.settled(3)
    assert [record.attempt for record in records] == [1, 1, 1]
    assert all(isinstance(record.outcome, Done) for record in records)
    shown = sorted(message.content for message in stack.messages)
    assert shown == sorted(part for record in records for part in parts_of(record))


async def test_an_engine_that_is_told_to_end_hands_its_jobs_on(stack: Stack) -> None:
    leaving = await stack.start_engine()
    await stack.start_bot()
    await stack.start_engine()
    box = stack.sandbox
    asked = [
        await box.slash(user, box.general, "generate", {**LONG, "seed": seed})
        for seed, user in enumerate((box.alice, box.bob, box.alice, box.bob))
    ]
    for each in asked:
        await box.wait_for(
            lambda each=each: (each.original and each.original.content) or None,  # type: ignore[misc]
            REPLY_TIMEOUT_S,
        )
    assert await stack.terminate(leaving) == 0
    records = await stack.settled(4)
    assert [record.attempt for record in records] == [1, 1, 1, 1]
    assert all(isinstance(record.outcome, Done) for record in records)


async def test_stop_reaches_the_engine_and_frees_its_slot(stack: Stack) -> None:
    await stack.start_engine(slots=1)
    await stack.start_bot()
    box = stack.sandbox
    endless = {"prompt": "For ever", "length": 1000}
    first = await box.slash(box.alice, box.general, "generate", endless)
    shown = await box.wait_for(
        lambda: first.original if first.original and first.original.buttons else None,
        REPLY_TIMEOUT_S,
    )
    asked = await box.slash(box.bob, box.general, "generate", {"prompt": "Next", "length": 5})
    stop = shown.button("Stop")
    assert stop is not None
    await box.press(box.alice, shown, stop.custom_id)
    await stack.answer_of(asked)
    stopped, after = await stack.settled(2)
    assert isinstance(stopped.outcome, Done)
    assert stopped.outcome.finish_reason is FinishReason.CANCELLED
    assert stopped.outcome.usage.completion_tokens < 1000
    assert isinstance(after.outcome, Done)
    assert after.outcome.usage.completion_tokens == 5
    assert parts_of(stopped)[-1].endswith("⏹ Stopped.")
    contents = [message.content for message in stack.messages]
    assert sorted(contents) == sorted((*parts_of(stopped), *parts_of(after)))


async def test_no_engine_is_said_at_once_and_the_request_keeps_its_place(stack: Stack) -> None:
    await stack.start_bot()
    asked = await stack.mention(stack.sandbox.alice, "Is anybody there")
    reply = await stack.sandbox.wait_for_reply(asked, REPLY_TIMEOUT_S)
    assert "No engine is running" in reply.content
    await stack.start_engine()
    await stack.finished(reply)
    assert (reply.content,) == parts_of(await stack.the_record())
    check_labelled(reply)

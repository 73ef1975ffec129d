"""A bot or an engine that is not there when people ask: whoever comes later answers them."""

from tests.end_to_end.stack import REPLY_TIMEOUT_S, Stack, check_labelled, parts_of


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


async def test_no_engine_is_said_at_once_and_the_request_keeps_its_place(stack: Stack) -> None:
    await stack.start_bot()
    asked = await stack.mention(stack.sandbox.alice, "Is anybody there")
    reply = await stack.sandbox.wait_for_reply(asked, REPLY_TIMEOUT_S)
    assert "No engine is running" in reply.content
    await stack.start_engine()
    await stack.finished(reply)
    assert (reply.content,) == parts_of(await stack.the_record())
    check_labelled(reply)

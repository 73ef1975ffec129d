"""`/generate` with the real client in a local Discord."""

import pytest

from bot import replies
from bot.client import BotClient
from sandbox.model import Flags
from sandbox.server import Sandbox
from sandbox.slash import PersonError
from tests.bot.support import LABEL, MARK, Engine, until_is, until_over, until_says
from wire.jobs import FinishReason
from wire.queue import JobQueue

STORY = "The old lighthouse keeper counted the ships again. " * 60
HEAD = f"{LABEL}\n-# Alice asked for a text that begins with:\n> Once\n"


async def test_generate_takes_every_option_to_the_engine_and_shows_who_asked_what(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    options = {
        "prompt": "Once",
        "length": 64,
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.9,
        "seed": 2**53 - 1,
    }
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate", options)
    await sandbox.wait_for(lambda: called.deferred)
    job = await engine.take()
    assert job.prompt == "Once"
    params = job.params
    assert (params.max_tokens, params.temperature, params.top_k) == (64, 0.5, 7)
    assert (params.top_p, params.seed) == (0.9, 2**53 - 1)
    await engine.write(job, " upon")
    answer = called.original
    assert answer
    await until_is(sandbox, answer, f"{HEAD} upon{MARK}")
    assert answer.button("Stop")
    await engine.end(job, " a time")
    await until_is(sandbox, answer, f"{HEAD} upon a time")
    assert answer.flags & Flags.SUPPRESS_EMBEDS
    assert not answer.buttons
    assert sandbox.bot_messages(sandbox.general) == [answer]
    await until_over(queue, bot)


async def test_generate_without_options_is_an_unconditional_sample_with_the_defaults(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    called = await sandbox.slash(sandbox.alice, sandbox.dm(sandbox.alice), "generate")
    job = await engine.take()
    assert job.prompt == ""
    assert (job.params.max_tokens, job.params.seed) == (128, None)
    await engine.end(job, "Anything")
    assert called.original
    await until_is(sandbox, called.original, f"{LABEL}\n-# Alice asked for a text.\nAnything")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("length", 0),
        ("length", 1024),
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("seed", -1),
        ("prompt", "x" * 4001),
    ],
)
async def test_the_command_itself_declares_the_bound_of(
    sandbox: Sandbox, bot: BotClient, option: str, value: object
):
    with pytest.raises(PersonError, match=option):
        await sandbox.slash(sandbox.alice, sandbox.general, "generate", {option: value})


async def test_further_parts_of_a_long_answer_are_labelled_messages_below_it(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate", {"prompt": "Once"})
    job = await engine.take()
    await engine.write(job, STORY)
    await sandbox.wait_for(lambda: len(sandbox.bot_messages(sandbox.general)) == 2)
    await engine.end(job, "The end.")
    await until_over(queue, bot)
    first, second = sandbox.bot_messages(sandbox.general)
    assert first is called.original
    assert first.content.startswith(HEAD)
    assert second.content.startswith(f"{LABEL}\n")
    assert second.content.endswith("The end.")
    assert not first.buttons
    assert not second.buttons


async def test_an_answer_can_be_stopped(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    called = await sandbox.slash(sandbox.bob, sandbox.general, "generate", {"prompt": "Once"})
    job = await engine.take()
    await engine.write(job, " upon")
    await sandbox.wait_for(lambda: called.original and called.original.button("Stop"))
    answer = called.original
    assert answer
    button = answer.button("Stop")
    assert button
    await sandbox.press(sandbox.bob, answer, button.custom_id)
    await sandbox.wait_for(lambda: not answer.buttons)
    assert await engine.write(job, "") == 2
    await engine.end(job, reason=FinishReason.CANCELLED)
    await until_says(sandbox, answer, replies.STOPPED)
    await until_over(queue, bot)


async def test_a_repeated_event_and_a_lost_callback_make_one_answer(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    sandbox.gateway.event_copies = 6
    sandbox.faults.lose("POST /interactions/*")
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate", {"prompt": "Once"})
    job = await engine.take()
    await engine.end(job, " upon")
    await sandbox.wait_for(lambda: called.original and called.original.content)
    await until_over(queue, bot)
    await engine.take_nothing()
    assert called.original
    assert called.original.content == f"{HEAD} upon"
    assert sandbox.bot_messages(sandbox.general) == [called.original]


async def test_the_answer_is_deferred_before_the_queue_is_asked(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    gate = sandbox.faults.hold("POST /interactions/*")
    await sandbox.slash(sandbox.alice, sandbox.general, "generate", {"prompt": "Once"})
    asked = await sandbox.say(sandbox.bob, sandbox.general, f"{sandbox.bot_user.mention} later")
    first = await engine.take()
    assert first.prompt == "later"
    await engine.end(first, ".")
    await sandbox.wait_for_reply(asked)
    gate.set()
    assert (await engine.take()).prompt == "Once"


async def test_a_prompt_cannot_pass_for_the_models_words_or_the_label(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    prompt = "# Big\n-# 🤖 small @everyone"
    called = await sandbox.slash(sandbox.alice, sandbox.general, "generate", {"prompt": prompt})
    job = await engine.take()
    assert job.prompt == prompt
    await engine.end(job, "!")
    assert called.original
    quote = "> \\# Big\n> \\-\\# 🤖 small \\@everyone"
    head = f"{LABEL}\n-# Alice asked for a text that begins with:\n"
    await until_is(sandbox, called.original, f"{head}{quote}\n!")

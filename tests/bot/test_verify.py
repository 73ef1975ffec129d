"""Asking whether the bot wrote a text: `/verify` and the menu of a message, in a local Discord."""

import json
from collections.abc import Callable

import pytest

from bot import replies
from bot.client import BotClient
from bot.verify_commands import MAX_TEXT_CHARS, MENU_NAME
from bot.verify_source import MAX_FILE_BYTES
from sandbox.model import Draft, Flags, Interaction, Message
from sandbox.rules import Upload
from sandbox.server import Sandbox
from sandbox.slash import PersonError
from tests.bot.support import (
    DEADLINE_S,
    LABEL,
    Engine,
    running_bot,
    until_is,
    until_over,
)
from wire.jobs import MAX_VERIFY_BYTES, ErrorCode
from wire.queue import Bounds, JobQueue
from wire.verdicts import Verdict, Verified

OURS = Verified(verdict=Verdict.OURS, num_scored=88, p_value=3e-12, key="ab12cd34")
NO_SIGN = Verified(verdict=Verdict.NO_SIGN, num_scored=240, p_value=0.3, key="ab12cd34")
TEXT = "The old lighthouse keeper counted the ships again."
WAITING = "-# ⏳"
"""How every notice begins that is not the last word."""


def text_file(text: str | bytes, name: str = "story.txt") -> Upload:
    data = text.encode() if isinstance(text, str) else text
    return Upload(name, "text/plain; charset=utf-8", data)


async def verify(sandbox: Sandbox, **options: object) -> Interaction:
    return await sandbox.slash(sandbox.alice, sandbox.general, "verify", options)


async def was_it(sandbox: Sandbox, message: Message) -> Interaction:
    return await sandbox.message_command(sandbox.alice, message, MENU_NAME)


async def answer_to(sandbox: Sandbox, asked: Interaction) -> Message:
    """Wait for the last word, which must be for who asked only."""
    return await said_to(sandbox, asked, lambda content: not content.startswith(WAITING))


async def said_to(
    sandbox: Sandbox, asked: Interaction, is_it: Callable[[str], bool] = bool
) -> Message:
    """Wait for some word, which must be for who asked only."""
    await sandbox.wait_for(
        lambda: asked.original and asked.original.content and is_it(asked.original.content),
        DEADLINE_S,
    )
    assert asked.original
    assert asked.original.visible_to == sandbox.alice
    assert asked.original.flags & Flags.EPHEMERAL
    return asked.original


def link_to(message: Message) -> str:
    place = message.channel.guild.id if message.channel.guild else "@me"
    return f"https://discord.com/channels/{place}/{message.channel.id}/{message.id}"


async def test_a_text_is_looked_at_and_only_who_asked_sees_the_answer(
    sandbox: Sandbox, bot: BotClient, engine: Engine, queue: JobQueue
):
    asked = await verify(sandbox, text=TEXT)
    job = await engine.take()
    assert (job.kind, job.prompt, job.model) == ("verify", TEXT, None)
    await engine.answer(job, OURS)
    answer = await answer_to(sandbox, asked)
    assert answer.content == OURS.sentence()
    assert "n = 88 tokens, p = 3e-12" in answer.content
    assert not answer.buttons
    assert sandbox.messages(sandbox.general, seen_by=sandbox.bob) == []
    await until_over(queue, bot)
    assert sandbox.bot_messages(sandbox.general) == [answer]


async def test_a_file_is_looked_at_and_named(sandbox: Sandbox, bot: BotClient, engine: Engine):
    asked = await verify(sandbox, file=text_file(b"\xef\xbb\xbf" + TEXT.encode(), "@here [a]"))
    job = await engine.take()
    assert job.prompt == TEXT
    await engine.answer(job, NO_SIGN)
    answer = await answer_to(sandbox, asked)
    assert answer.content == f"{NO_SIGN.sentence()}\n-# Looked at: \\@here \\[a]."


@pytest.mark.parametrize("author", ["a person", "the bot", "another bot"])
async def test_the_menu_of_a_message_looks_at_its_text_whoever_wrote_it(
    sandbox: Sandbox, bot: BotClient, engine: Engine, author: str
):
    writer = {"a person": sandbox.bob, "another bot": sandbox.other_bot}.get(author)
    said = (
        await sandbox.say(writer, sandbox.random, TEXT)
        if writer
        else sandbox.world.post(sandbox.bot_user, sandbox.random, Draft(f"{LABEL}\n{TEXT}"))
    )
    asked = await was_it(sandbox, said)
    job = await engine.take()
    assert (job.kind, job.prompt) == ("verify", said.content)
    await engine.answer(job, OURS)
    answer = await answer_to(sandbox, asked)
    assert answer.content == f"{OURS.sentence()}\n-# Looked at: {link_to(said)}"
    assert answer.flags & Flags.SUPPRESS_EMBEDS


async def test_a_message_that_is_only_a_file_has_its_first_text_file_looked_at(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    picture = Upload("ship.png", "image/png", b"\x89PNG\r\n\x1a\n")
    files = [picture, text_file(TEXT), text_file("another", "other.txt")]
    said = await sandbox.say(sandbox.bob, sandbox.general, "", files=files)
    asked = await was_it(sandbox, said)
    job = await engine.take()
    assert job.prompt == TEXT
    await engine.answer(job, OURS)
    note = f"-# Looked at: story.txt in {link_to(said)}."
    answer = await answer_to(sandbox, asked)
    assert answer.content.replace("\\", "") == f"{OURS.sentence()}\n{note}"


async def test_of_a_forwarded_message_the_words_that_it_brings_along_are_looked_at(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    said = await sandbox.say(sandbox.bob, sandbox.random, TEXT)
    forwarded = await sandbox.forward(sandbox.bob, said, sandbox.general)
    asked = await was_it(sandbox, forwarded)
    job = await engine.take()
    assert job.prompt == TEXT
    await engine.answer(job, OURS)
    assert link_to(forwarded) in (await answer_to(sandbox, asked)).content


@pytest.mark.parametrize("length", [MAX_FILE_BYTES, 10 * MAX_FILE_BYTES])
@pytest.mark.parametrize("line", ["Ähren im Wind, Tag für Tag.\n", "\x01"])
async def test_of_a_long_file_as_much_as_fits_is_looked_at_and_the_answer_says_how_much(
    sandbox: Sandbox, bot: BotClient, engine: Engine, length: int, line: str
):
    data = (line * length).encode()[:length]
    whole = data.decode(errors="ignore")
    asked = await verify(sandbox, file=text_file(data))
    job = await engine.take()
    assert whole.startswith(job.prompt)
    assert len(job.model_dump_json().encode()) <= MAX_VERIFY_BYTES
    await engine.answer(job, OURS)
    num_kib = round(len(job.prompt.encode()) / 1024)
    assert num_kib == (48 if line != "\x01" else 10)
    answer = await answer_to(sandbox, asked)
    is_whole = job.prompt == whole
    said_so = answer.content.endswith(f"only the first {num_kib} KiB of it.")
    assert said_so != is_whole


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, replies.NOTHING_TO_VERIFY),
        ({"text": "  "}, replies.NOTHING_TO_VERIFY),
        ({"file": text_file(b"")}, replies.NOTHING_TO_VERIFY),
        ({"file": text_file(b"\n \n")}, replies.NOTHING_TO_VERIFY),
        ({"text": TEXT, "file": text_file(TEXT)}, replies.ONE_OF_TWO),
        ({"file": text_file(b"\x89PNG\r\n\x1a\n")}, replies.NOT_A_TEXT_FILE),
        ({"file": text_file(TEXT.encode("utf-16-le"))}, replies.NOT_A_TEXT_FILE),
        ({"file": text_file(TEXT.encode("utf-16"))}, replies.NOT_A_TEXT_FILE),
        ({"file": text_file(b"cut off \xc3")}, replies.NOT_A_TEXT_FILE),
    ],
)
async def test_what_cannot_be_looked_at_is_refused_in_private(
    sandbox: Sandbox, bot: BotClient, engine: Engine, options: dict[str, object], sentence: str
):
    asked = await verify(sandbox, **options)
    assert (await answer_to(sandbox, asked)).content == sentence
    await engine.take_nothing()


async def test_a_text_that_is_too_long_is_refused_by_the_command_itself(
    sandbox: Sandbox, bot: BotClient
):
    with pytest.raises(PersonError, match=f"at most {MAX_TEXT_CHARS} characters"):
        await verify(sandbox, text="x" * (MAX_TEXT_CHARS + 1))


@pytest.mark.parametrize("shown", ["an embed", "a picture"])
async def test_a_message_without_words_is_refused_with_what_can_be_read(
    sandbox: Sandbox, bot: BotClient, engine: Engine, shown: str
):
    if shown == "an embed":
        draft = Draft(embeds=[{"type": "rich", "description": TEXT}])
        said = sandbox.world.post(sandbox.other_bot, sandbox.general, draft)
    else:
        picture = Upload("ship.png", "image/png", b"\x89PNG\r\n\x1a\n")
        said = await sandbox.say(sandbox.bob, sandbox.general, "", files=[picture])
    asked = await was_it(sandbox, said)
    assert (await answer_to(sandbox, asked)).content == replies.MESSAGE_WITHOUT_TEXT
    await engine.take_nothing()


async def test_without_an_engine_the_person_hears_so_at_once_and_nothing_stays_in_line(
    sandbox: Sandbox, bot: BotClient, queue: JobQueue
):
    sandbox.gateway.event_copies = 3
    asked = await verify(sandbox, text=TEXT)
    assert (await answer_to(sandbox, asked)).content == replies.NO_ENGINE_TO_VERIFY
    await until_over(queue, bot)
    assert (await queue.tick()).num_waiting == 0
    assert sandbox.bot_messages(sandbox.general) == [asked.original]


async def test_who_waits_sees_the_place_in_line_without_a_label_or_a_button(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    first, second = await verify(sandbox, text="one"), await verify(sandbox, text="two")
    answer = await said_to(sandbox, second)
    await until_is(sandbox, answer, f"{WAITING} You are 2nd in line.")
    job = await engine.take()
    looking = await said_to(sandbox, first)
    await until_is(sandbox, looking, replies.LOOKING)
    assert not looking.buttons
    assert not answer.buttons
    await engine.answer(job, OURS)
    await until_is(sandbox, looking, OURS.sentence())


async def test_a_question_counts_among_a_persons_unfinished_requests(
    sandbox: Sandbox, redis_url: str, engine: Engine
):
    async with running_bot(sandbox, redis_url, bounds=Bounds(200, 1)):
        await verify(sandbox, text="one")
        await engine.take()
        refused = await verify(sandbox, text="two")
        answer = await answer_to(sandbox, refused)
        assert answer.content == replies.you_have_enough(1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ErrorCode.INVALID_REQUEST, "This engine has no key\\."),
        (ErrorCode.DEADLINE, "No engine came to look at it in time."),
        (ErrorCode.NO_ENGINE, "No engine is running"),
        (ErrorCode.ENGINE_LOST, "lost again and again"),
        (ErrorCode.INTERNAL, "Something went wrong in the engine."),
    ],
)
async def test_a_failure_is_said_in_private(
    sandbox: Sandbox, bot: BotClient, engine: Engine, code: ErrorCode, words: str
):
    asked = await verify(sandbox, text=TEXT)
    await engine.fail(await engine.take(), code, "This engine has no key.")
    answer = await answer_to(sandbox, asked)
    assert answer.content.startswith("⚠️ ")
    assert words.replace("\\", "") in answer.content.replace("\\", "")


async def test_the_log_holds_no_word_of_what_was_looked_at(
    sandbox: Sandbox, engine: Engine, child_bot
):
    bot = await child_bot(OVID_LOG_LEVEL="DEBUG")
    asked = await verify(sandbox, file=text_file("xyzzy-text", "plugh-name.txt"))
    job = await engine.take()
    await engine.answer(job, OURS)
    await answer_to(sandbox, asked)
    sandbox.faults.refuse("GET /ephemeral-attachments/*", 404)
    gone = await verify(sandbox, file=text_file("xyzzy-text", "plugh-name.txt"))
    assert (await answer_to(sandbox, gone)).content == replies.FILE_AWAY
    await bot.until_it_logs("ending=verified")
    bot.process.terminate()
    assert await bot.until_it_ends() == 0
    log = "".join(bot.log)
    assert job.job_id in log
    assert "could not be read: ClientPayloadError" in log
    for secret in ("xyzzy", "plugh", asked.token, json.loads(job.origin)["token"]):
        assert secret not in log

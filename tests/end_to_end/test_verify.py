"""What the bot wrote is told from what a person wrote: real bot, real engine, the demo model."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.verify_commands import MENU_NAME
from sandbox.model import Interaction, Message
from sandbox.redis_server import RedisServer
from sandbox.rules import Upload
from tests.end_to_end.conftest import DEMO, checked_stack
from tests.end_to_end.stack import REPLY_TIMEOUT_S, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = "This bot wrote it, or a part of it."
FIGURES = re.compile(r"\(n = (\d+) tokens, p = (\S+)\)")
BY_HAND = """
The ferry was late again, so I walked down to the harbour and watched two men mend a net. One of
them, the elder, kept a pencil behind his ear and wrote down every knot, or so it seemed to me.
When I asked what he was counting he laughed and said that he was not counting anything at all, he
was drawing: the net, the gulls, my red bag. He tore the page out and gave it to me. It hangs in our
kitchen now, between the calendar and the clock, and nobody believes me when I say where it is from.
My sister says that the gulls look like teapots. She may be right, but they are good teapots, with a
proper beak for a spout, and each of them looks in a different direction, as gulls do before rain.
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[Stack]:
    """A bot and an engine with the demo model."""
    async with RedisServer() as redis_server, checked_stack(redis_server, DEMO) as stack:
        await stack.start_engine()
        await stack.start_bot()
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def served(programs: Stack) -> Stack:
    """The programs, with nothing left of the test before."""
    await programs.forget()
    return programs


async def generated(served: Stack, **options: object) -> Message:
    box = served.sandbox
    given = {"prompt": "The old lighthouse keeper", "length": 128, "seed": 7, **options}
    return await served.answer_of(await box.slash(box.alice, box.general, "generate", given))


async def asked_of(served: Stack, message: Message) -> Message:
    """Let Bob choose the command in the message's menu; return what only he sees."""
    box = served.sandbox
    answer = await told(served, await box.message_command(box.bob, message, MENU_NAME))
    assert answer.content.endswith(f"/{message.channel.id}/{message.id}")
    return answer


async def told(served: Stack, asked: Interaction) -> Message:
    """Wait for the verdict, which stands behind whatever was said while Bob had to wait."""
    answer = await served.sandbox.wait_for(
        lambda: asked.original if asked.original and "n = " in asked.original.content else None,
        REPLY_TIMEOUT_S,
    )
    assert answer.visible_to == served.sandbox.bob
    return answer


def figures_of(answer: Message) -> tuple[int, float]:
    found = FIGURES.search(answer.content)
    assert found, answer.content
    return int(found[1]), float(found[2])


async def test_a_reply_is_told_to_be_the_bots_and_a_persons_words_are_not(served: Stack) -> None:
    box = served.sandbox
    reply = await generated(served)
    answer = await asked_of(served, reply)
    assert answer.content.startswith(OURS)
    num_tokens, p_value = figures_of(answer)
    assert 50 <= num_tokens <= 200
    assert p_value < 1e-6
    said = await box.say(box.alice, box.general, BY_HAND)
    answer = await asked_of(served, said)
    assert answer.content.startswith("No sign that this bot wrote it.")
    num_tokens, p_value = figures_of(answer)
    assert num_tokens > 100
    assert p_value > 1e-6
    assert served.messages[-1] is answer, "nothing was said to all"


async def test_a_reply_that_a_person_passes_off_as_their_own_is_found_out(served: Stack) -> None:
    box = served.sandbox
    reply = await generated(served, seed=8)
    text = reply.content.split("\n", 3)[-1].replace("\\", "")
    said = await box.say(box.alice, box.general, f"My own poem, I swear:\n{text}")
    assert (await asked_of(served, said)).content.startswith(OURS)
    file = Upload("poem.txt", "text/plain", f"{BY_HAND}\n{text}\n{BY_HAND}".encode())
    answer = await told(served, await box.slash(box.bob, box.general, "verify", {"file": file}))
    assert answer.content.startswith(OURS)
    assert "poem" in answer.content


async def test_a_few_words_are_too_short_to_tell(served: Stack) -> None:
    box = served.sandbox
    options = {"text": "It was not me, I swear."}
    answer = await told(served, await box.slash(box.bob, box.general, "verify", options))
    assert answer.content.startswith("Too short to tell")
    assert figures_of(answer)[0] < 20


async def test_greedy_text_carries_no_mark_and_nobody_is_told_that_it_does(served: Stack) -> None:
    reply = await generated(served, temperature=0.0)
    answer = await asked_of(served, reply)
    assert OURS not in answer.content
    assert figures_of(answer)[1] > 1e-6

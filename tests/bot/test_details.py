"""The Details button: all that it tells is in its id, in few characters and without loss."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.client import BotClient
from bot.details_id import MAX_ID_CHARS, PREFIX, UnreadableError, pack_details, unpack_details
from bot.details_words import UNREADABLE, details_words
from bot.inert import count_units
from bot.render import MAX_UNITS
from sandbox.model import Message
from sandbox.server import Sandbox
from tests.bot.support import DEADLINE_S, NOWHERE, Engine, running_bot
from wire.details import Details
from wire.jobs import MAX_TOKENS_LIMIT, ErrorCode, FinishReason, SamplingParams, Usage
from wire.provenance import Mark, Provenance

MADE = Provenance(
    weights="0123456789abcdef",
    version="1.2.3",
    device="cpu",
    precision="float32",
    mark=Mark.MARKED,
    key="89abcdef",
)

hexadecimal = st.text("0123456789abcdef", min_size=16, max_size=16)
options = st.integers(1, 10_000).map(lambda number: number / 10_000)
times_ms = st.integers(0, 2**24 - 2)
tokens = st.integers(0, 1024)
versions = st.one_of(
    st.just("unknown"),
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(1, 255)).map(
        lambda numbers: ".".join(map(str, numbers))
    ),
)


@st.composite
def all_details(draw: st.DrawFn) -> Details:
    mark = draw(st.sampled_from(Mark))
    return Details(
        model=draw(st.text("Aa0_.-", min_size=1, max_size=28)),
        provenance=Provenance(
            weights=draw(hexadecimal),
            version=draw(versions),
            device=draw(st.sampled_from(("cpu", "cuda"))),
            precision=draw(st.sampled_from(("float32", "bfloat16", "float16"))),
            mark=mark,
            key=draw(hexadecimal)[:8] if mark is Mark.MARKED else None,
        ),
        params=SamplingParams(
            max_tokens=draw(st.integers(1, MAX_TOKENS_LIMIT)),
            temperature=2 * draw(options),
            top_k=draw(st.integers(0, 50257)),
            top_p=draw(options),
            repetition_penalty=1 + draw(options),
            seed=draw(st.integers(0, 2**63 - 1)),
        ),
        finish_reason=draw(st.sampled_from(FinishReason)),
        usage=Usage(
            prompt_tokens=draw(tokens),
            completion_tokens=draw(tokens),
            queue_ms=draw(times_ms),
            first_token_ms=draw(st.none() | times_ms),
            total_ms=draw(times_ms),
        ),
    )


def details(model: str = "124M", mark: Mark = Mark.MARKED, **params: object) -> Details:
    key = MADE.key if mark is Mark.MARKED else None
    return Details(
        model=model,
        provenance=MADE.model_copy(update={"mark": mark, "key": key}),
        params=SamplingParams.model_validate({"seed": 7, **params}),
        finish_reason=FinishReason.LENGTH,
        usage=Usage(prompt_tokens=1, completion_tokens=2, queue_ms=3, first_token_ms=4, total_ms=5),
    )


def rounded(whole: Details) -> Details:
    names = ("temperature", "top_p", "repetition_penalty")
    exact = {name: round(getattr(whole.params, name), 4) for name in names}
    return whole.model_copy(update={"params": whole.params.model_copy(update=exact)})


@settings(max_examples=40)
@given(all_details())
def test_whatever_is_packed_is_read_again(whole: Details):
    packed = pack_details(rounded(whole))
    assert len(packed) <= MAX_ID_CHARS
    assert unpack_details(packed) == rounded(whole)


@pytest.mark.parametrize(("length", "kept"), [(28, "m" * 28), (29, "m" * 27 + "…"), (64, None)])
def test_a_name_that_does_not_fit_is_cut_and_shows_it(length: int, kept: str | None):
    packed = pack_details(details("m" * length))
    assert len(packed) == MAX_ID_CHARS
    assert unpack_details(packed).model == (kept or "m" * 27 + "…")


@pytest.mark.parametrize("length", [28, 29])
def test_of_a_cut_name_it_is_said_that_the_whole_one_is_needed(length: int):
    said = details_words(unpack_details(pack_details(details("m" * length))))
    assert ("with the whole name of the model" in said) == (length > 28)


def test_times_past_four_hours_are_cut():
    usage = Usage(
        prompt_tokens=1, completion_tokens=2, queue_ms=10**9, first_token_ms=10**9, total_ms=10**9
    )
    packed = pack_details(details().model_copy(update={"usage": usage}))
    assert unpack_details(packed).usage.first_token_ms == 2**24 - 2


@pytest.mark.parametrize("spoilt", ["", "x", "AAAA" * 16 + "124M", "A" * 92, "é" * 92, "\n"])
def test_what_is_no_details_is_refused(spoilt: str):
    with pytest.raises(UnreadableError):
        unpack_details(PREFIX + spoilt)


def test_details_of_another_form_are_refused():
    form, *numbers = urlsafe_b64decode(pack_details(details())[len(PREFIX) :][:64])
    as_it_was = urlsafe_b64encode(bytes([form, *numbers])).decode()
    assert unpack_details(f"{PREFIX}{as_it_was}124M") == details()
    with pytest.raises(UnreadableError):
        unpack_details(PREFIX + urlsafe_b64encode(bytes([form + 1, *numbers])).decode() + "124M")


@settings(max_examples=40)
@given(all_details())
def test_what_is_told_fits_a_message_and_ends_in_the_details(whole: Details):
    said = details_words(whole)
    assert count_units(said) <= MAX_UNITS
    assert "@" not in said
    assert Details.model_validate_json(json_in(said)) == whole


def test_all_of_it_is_told_in_words():
    said = details_words(details(top_k=0, top_p=0.9, temperature=0.7, max_tokens=64))
    for words in (
        "GPT-2 `124M`, weights `0123456789abcdef`",
        "Ovid `1.2.3` on cpu, float32",
        "seed 7, length 64, temperature 0.7, top\\_k 0, top\\_p 0.9",
        "1 in the prompt, 2 written; the length was reached",
        "3 ms in line, first token 4 ms later, 5 ms in all",
        "marked with the key `89abcdef`",
        "`/generate prompt:… length:64 temperature:0.7 top_k:0 top_p:0.9 seed:7 model:124M`",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("mark", "words"),
    [(Mark.OFF, "switched off (OVID\\_WATERMARK=off)"), (Mark.GREEDY, "temperature 0 always")],
)
def test_an_unmarked_text_says_why(mark: Mark, words: str):
    said = details_words(details(mark=mark))
    assert "not marked: " in said
    assert words in said


def json_in(said: str) -> str:
    found = re.search(r"```json\n(.*)\n```", said, re.DOTALL)
    assert found
    return found[1]


async def finished_reply(sandbox: Sandbox, engine: Engine) -> Message:
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Once")
    job = await engine.take()
    await engine.end(job, " upon a time", provenance=MADE)
    reply = await sandbox.wait_for_reply(asked, DEADLINE_S)
    await sandbox.wait_for(lambda: reply.button("Details"), DEADLINE_S)
    return reply


async def told(sandbox: Sandbox, reply: Message) -> str:
    button = reply.button("Details")
    assert button
    press = await sandbox.press(sandbox.bob, reply, button.custom_id)
    answer = await sandbox.wait_for(lambda: press.original, DEADLINE_S)
    assert answer.visible_to == sandbox.bob
    return answer.content


async def test_a_finished_reply_tells_anybody_in_private_how_it_was_made(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    reply = await finished_reply(sandbox, engine)
    assert [button.label for button in reply.buttons] == ["Details"]
    said = await told(sandbox, reply)
    assert Details.model_validate_json(json_in(said)).provenance == MADE
    assert json.loads(json_in(said))["params"]["seed"] == 7


async def test_details_outlive_the_bot_and_redis(sandbox: Sandbox, engine: Engine, redis_url: str):
    async with running_bot(sandbox, redis_url):
        reply = await finished_reply(sandbox, engine)
    async with running_bot(sandbox, NOWHERE):
        assert "seed 7" in await told(sandbox, reply)


async def test_a_button_of_another_version_is_answered_in_a_sentence(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    reply = await finished_reply(sandbox, engine)
    [button] = reply.buttons
    shown = next(iter(reply.draft.components))["components"][0]
    shown["custom_id"] = f"{PREFIX}of another day"
    assert reply.buttons != [button]
    assert await told(sandbox, reply) == UNREADABLE


async def test_only_the_last_part_of_a_long_reply_has_the_button(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    asked = await sandbox.slash(sandbox.bob, sandbox.general, "generate", {"prompt": "Once"})
    await engine.end(await engine.take(), "word " * 600, provenance=MADE)

    def parts() -> list[Message]:
        return [m for m in sandbox.bot_messages(sandbox.general) if m.content]

    await sandbox.wait_for(lambda: parts() and parts()[-1].button("Details"), DEADLINE_S)
    assert [len(part.buttons) for part in parts()] == [0, 1]
    assert asked.original is parts()[0]


@pytest.mark.parametrize("outcome", ["failed", "failed with text", "wrote nothing"])
async def test_a_reply_that_failed_or_is_empty_has_no_button(
    sandbox: Sandbox, bot: BotClient, engine: Engine, outcome: str
):
    asked = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Once")
    job = await engine.take()
    if outcome == "failed with text":
        await engine.write(job, " upon")
    if outcome == "wrote nothing":
        await engine.end(job, provenance=MADE)
    else:
        await engine.fail(job, ErrorCode.INTERNAL)
    reply = await sandbox.wait_for_reply(asked, DEADLINE_S)
    await sandbox.wait_for(lambda: not reply.button("Stop") and reply.content, DEADLINE_S)
    assert reply.buttons == []


async def test_options_are_rounded_to_what_the_button_can_hold(
    sandbox: Sandbox, bot: BotClient, engine: Engine
):
    options = {"temperature": 0.123456789, "top_p": 0.987654321}
    await sandbox.slash(sandbox.bob, sandbox.general, "generate", options)
    job = await engine.take()
    assert (job.params.temperature, job.params.top_p) == (0.1235, 0.9877)

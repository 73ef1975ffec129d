"""Prompts, names and sentences: pure functions over plain data."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import replies
from bot.button import stop_button
from bot.graphemes import MAX_CLUSTER_CHARS, cluster_ends
from bot.origin import (
    InteractionOrigin,
    MessageOrigin,
    dump_origin,
    job_id_of,
    load_origin,
    nonce,
    origin_of_lost_job,
)
from bot.prompts import Names, build_prompt
from bot.reply_view import view_of, view_of_forgotten
from tests.bot.support import EARLY_LABEL, LABEL
from wire.jobs import MAX_ORIGIN_BYTES, Done, ErrorCode, Failed, FinishReason, Job, Usage
from wire.queue import JobRecord, JobState

NAMES = Names(users={2: "Ada"}, roles={3: "crew"}, channels={4: "general"})
SNOWFLAKE = 2**64 - 1
snowflakes = st.integers(0, SNOWFLAKE)


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        ("<@1> Once upon", "Once upon"),
        ("<@!1>Once upon", "Once upon"),
        ("Once <@1> upon", "Once upon"),
        ("Once upon <@1>", "Once upon"),
        ("<@1>", ""),
        ("<@1> <@1>\n", ""),
        ("<@1>\n\nTwo\n\nparagraphs  with  blanks\n", "Two\n\nparagraphs  with  blanks"),
        ("<@1> <@2> and <@!2> and <@9>", "@Ada and @Ada and @someone"),
        ("<@1> <@&3> in <#4> not <#5>", "@crew in #general not #channel"),
        ("<@1> <:ovid:77> <a:dance:78>", ":ovid: :dance:"),
        ("<@12> is not <@1> me", "@someone is not me"),
        ("no mention at all", "no mention at all"),
    ],
)
def test_a_message_becomes_a_prompt(content: str, prompt: str):
    assert build_prompt(content, 1, NAMES) == prompt


@given(st.text())
def test_a_prompt_keeps_every_letter_that_is_no_reference(text: str):
    plain = text.replace("<", "(")
    assert build_prompt(f"<@1> {plain}", 1) == plain.strip()


@given(snowflakes, snowflakes)
def test_job_ids_and_nonces_are_what_queue_and_discord_take(channel_id: int, message_id: int):
    origin = MessageOrigin(channel_id=channel_id, asker_id=1, message_id=message_id)
    job_id = job_id_of(origin)
    assert Job(job_id=job_id, user_id="1", bot_id="1", deadline_unix_ms=0).job_id == job_id
    assert len(nonce(job_id, 999)) <= 25
    lost = origin_of_lost_job(job_id)
    assert lost is not None
    assert (lost.channel_id, lost.message_id) == (channel_id, message_id)


def test_nonces_tell_messages_and_parts_apart():
    jobs = [f"m{SNOWFLAKE}.{SNOWFLAKE - step}" for step in range(3)]
    nonces = {nonce(job, part) for job in jobs for part in (0, 1, 10, "r")}
    assert len(nonces) == 12
    assert origin_of_lost_job("something-else") is None


def test_the_largest_origin_fits_and_its_token_is_not_printed():
    origin = InteractionOrigin(
        channel_id=SNOWFLAKE,
        asker_id=SNOWFLAKE,
        interaction_id=SNOWFLAKE,
        application_id=SNOWFLAKE,
        token="t" * 400,
        asker_name="🦋" * 64,
        locale="en-US",
        may_post=True,
    )
    text = dump_origin(origin)
    assert len(text.encode()) <= MAX_ORIGIN_BYTES
    assert load_origin(text) == origin
    assert "ttt" not in repr(origin)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_has_a_sentence(code: ErrorCode):
    sentence = replies.error_sentence(Failed(code=code, message="Prompt: 9 tokens, 8 are taken."))
    assert sentence.startswith("⚠️ ")
    assert sentence.endswith(".")


def test_an_engines_words_are_shown_inert_and_cut():
    shown = replies.error_sentence(
        Failed(code=ErrorCode.INVALID_REQUEST, message="# no\n<@1> " + "x" * 5000)
    )
    assert "\n" not in shown
    assert r"\<\@1>" in shown
    assert len(shown) < 600


@pytest.mark.parametrize(
    ("place", "words"),
    [(1, "next"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st"), (112, "112th")],
)
def test_a_place_in_line_reads_well(place: int, words: str):
    said = replies.waiting(place, num_engines=1, deadline_unix_ms=0)
    assert said == f"-# ⏳ You are {words} in line."


def record(state: JobState = JobState.RUNNING, **fields) -> JobRecord:
    job = Job(job_id="m1.2", user_id="3", bot_id="4", prompt="Once", deadline_unix_ms=90_000)
    known = {
        "attempt": 1,
        "text": "",
        "engine": "e",
        "model_name": "124M",
        "cancel_requested": False,
        "outcome": None,
        "message_ids": (),
        "is_adopted": False,
    }
    return JobRecord(job=job, state=state, **{**known, **fields})


def done(reason: FinishReason) -> Done:
    usage = Usage(prompt_tokens=1, completion_tokens=1, queue_ms=1, first_token_ms=1, total_ms=1)
    return Done(finish_reason=reason, usage=usage, model_name="124M", seed=1)


ORIGIN = MessageOrigin(channel_id=1, asker_id=3, message_id=2)


@pytest.mark.parametrize(
    ("state", "fields", "parts", "has_stop_button", "is_final"),
    [
        (
            JobState.WAITING,
            {"attempt": 0, "model_name": None},
            f"{EARLY_LABEL}\n-# ⏳ You are 2nd in line.",
            True,
            False,
        ),
        (JobState.RUNNING, {}, f"{LABEL}\n ▌", True, False),
        (JobState.RUNNING, {"text": "a"}, f"{LABEL}\na ▌", True, False),
        (JobState.RUNNING, {"text": "a", "cancel_requested": True}, f"{LABEL}\na ▌", False, False),
        (JobState.WAITING, {}, f"{LABEL}\n{replies.RETRYING}", True, False),
        (
            JobState.ENDED,
            {"text": "a", "outcome": done(FinishReason.STOP)},
            f"{LABEL}\na",
            False,
            True,
        ),
        (
            JobState.ENDED,
            {"text": "a", "outcome": done(FinishReason.CANCELLED)},
            f"{LABEL}\na\n{replies.STOPPED}",
            False,
            True,
        ),
        (
            JobState.ENDED,
            {"outcome": done(FinishReason.STOP)},
            f"{LABEL}\n{replies.WROTE_NOTHING}",
            False,
            True,
        ),
        (
            JobState.ENDED,
            {"outcome": Failed(code=ErrorCode.INVALID_REQUEST, message="No.")},
            "⚠️ No.",
            False,
            True,
        ),
    ],
)
def test_a_record_looks_like(state, fields, parts, has_stop_button, is_final):
    view = view_of(record(state, **fields), ORIGIN, place=2, num_engines=1)
    assert view.parts == (parts,)
    assert view.button == (stop_button("m1.2", 3) if has_stop_button else None)
    assert view.is_final == is_final


def test_a_forgotten_job_keeps_what_was_written():
    view = view_of_forgotten(record(text="a"), ORIGIN)
    assert view.parts == (f"{LABEL}\na\n{replies.FORGOTTEN}",)
    assert view_of_forgotten(None, ORIGIN).parts == (replies.FORGOTTEN,)
    assert view_of_forgotten(None, ORIGIN).is_final


@given(st.text())
def test_clusters_cover_a_text_and_none_is_endless(text: str):
    ends = [0, *cluster_ends(text)]
    assert ends[-1] == len(text)
    assert all(0 < later - earlier <= MAX_CLUSTER_CHARS for earlier, later in pairwise(ends))

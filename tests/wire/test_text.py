"""Writing a reply: text arrives once, whole and in order, whatever is repeated."""

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.support import (
    beat,
    claim,
    finish,
    kinds,
    make_done,
    record_of,
    submit,
)
from wire.jobs import MAX_TEXT_BYTES, ErrorCode, Failed
from wire.queue import JobState, Progress

TEXT = "{ovid:0}:text:a"


async def begin(queue, *job_ids):
    await submit(queue, *(job_ids or ("a",)))
    await claim(queue)


async def test_text_is_appended_in_order(queue):
    await begin(queue)
    assert await beat(queue, "a", "Once ") == 1
    assert await beat(queue, "a", "upon", offset=5) == 1
    assert (await record_of(queue, "a")).text == "Once upon"
    assert await kinds(queue, "a") == ["started", "delta", "delta"]


async def test_a_repeated_or_overlapping_beat_adds_nothing_twice(queue):
    await begin(queue)
    await beat(queue, "a", "Once ")
    assert await beat(queue, "a", "Once ") == 1
    assert await beat(queue, "a", "ce upon", offset=2) == 1
    assert await beat(queue, "a", "On") == 1
    assert (await record_of(queue, "a")).text == "Once upon"
    assert await kinds(queue, "a") == ["started", "delta", "delta"]


async def test_a_gap_is_answered_with_the_byte_to_send_from(queue):
    await begin(queue)
    assert await beat(queue, "a", "upon", offset=5) == -1
    await beat(queue, "a", "Öwl ")
    assert await beat(queue, "a", "late", offset=9) == -(1 + 5)
    assert await finish(queue, "a", "late", offset=9) == -(1 + 5)
    record = await record_of(queue, "a")
    assert (record.text, record.state) == ("Öwl ", JobState.RUNNING)
    assert await finish(queue, "a", "flies", offset=5) == 1
    assert (await record_of(queue, "a")).text == "Öwl flies"


async def test_one_beat_serves_all_jobs_and_answers_each(queue):
    await begin(queue, "a", "b", "c")
    await queue.cancel("b")
    items = [
        Progress("a", 1, 0, "A"),
        Progress("b", 1, 0, "B"),
        Progress("nobody", 1, 0, "N"),
        Progress("c", 1, 7, "C"),
    ]
    assert await queue.beat("e1", items) == [1, 2, 0, -1]
    assert [(await record_of(queue, each)).text for each in "abc"] == ["A", "B", ""]


async def test_a_beat_without_jobs_is_a_sign_of_life(queue):
    assert await queue.beat("e1", []) == []
    assert (await queue.tick()).num_engines == 1


async def test_a_text_cut_inside_a_character_is_shown_without_its_torn_end(queue, redis):
    await begin(queue)
    await beat(queue, "a", "owl ")
    await redis.append(TEXT, "🦉".encode()[:3])
    assert (await record_of(queue, "a")).text == "owl "
    assert await redis.get(TEXT) == b"owl " + "🦉".encode()[:3]
    assert await beat(queue, "a", "🦉!", offset=4) == 1
    assert (await record_of(queue, "a")).text == "owl 🦉!"


async def test_a_text_stops_at_its_bound_and_the_job_goes_on(queue, redis):
    await begin(queue)
    almost = "x" * (MAX_TEXT_BYTES - 3)
    assert await beat(queue, "a", almost) == 1
    assert await beat(queue, "a", "🦉🦉", offset=MAX_TEXT_BYTES - 3) == 1
    assert await redis.strlen(TEXT) == MAX_TEXT_BYTES
    assert (await record_of(queue, "a")).text == almost
    assert await beat(queue, "a", "more", offset=MAX_TEXT_BYTES + 5) == 1
    assert await finish(queue, "a", "last", offset=MAX_TEXT_BYTES + 9) == 1
    assert (await record_of(queue, "a")).text == almost


async def test_one_piece_larger_than_the_bound_is_cut(queue, redis):
    await begin(queue)
    assert await beat(queue, "a", "x" * (MAX_TEXT_BYTES + 100)) == 1
    assert await redis.strlen(TEXT) == MAX_TEXT_BYTES


async def test_finishing_appends_the_rest_and_keeps_the_last_word(queue):
    await begin(queue)
    await beat(queue, "a", "Once ")
    assert await finish(queue, "a", "ce upon", offset=2) == 1
    record = await record_of(queue, "a")
    assert (record.state, record.text, record.outcome) == (
        JobState.ENDED,
        "Once upon",
        make_done(),
    )
    assert (await kinds(queue, "a"))[-1] == "ended"


async def test_finishing_again_says_so_and_changes_nothing(queue):
    await begin(queue)
    assert await finish(queue, "a", "Once") == 1
    assert await finish(queue, "a", "Once") == 1
    other = Failed(code=ErrorCode.INTERNAL, message="The engine stumbled.")
    assert await finish(queue, "a", "Once more", outcome=other) == 0
    record = await record_of(queue, "a")
    assert (record.text, record.outcome) == ("Once", make_done())
    assert (await kinds(queue, "a")).count("ended") == 1
    assert await beat(queue, "a", "Once more") == 0


async def test_a_job_can_end_with_a_failure(queue):
    await begin(queue)
    failed = Failed(code=ErrorCode.PROMPT_TOO_LONG, message="Zu lang: 2000 „Tokens“.")
    assert await finish(queue, "a", outcome=failed) == 1
    assert (await record_of(queue, "a")).outcome == failed


@st.composite
def deliveries(draw):
    """A text cut into pieces at characters, each with how far back its sending begins."""
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=5)) | {len(text)})
    return text, [(draw(st.integers(0, cut)), cut) for cut in cuts]


@given(deliveries())
def test_any_overlapping_deliveries_make_the_text_exactly(redis_server, runner, delivery):
    text, pieces = delivery

    async def deliver():
        async with runner.queue(redis_server) as queue:
            await begin(queue)
            for start, end in pieces:
                offset = len(text[:start].encode())
                verdict = await beat(queue, "a", text[start:end], offset=offset)
                if verdict < 0:
                    rest = text[:end].encode()[-1 - verdict :].decode()
                    assert await beat(queue, "a", rest, offset=-1 - verdict) == 1
            return (await record_of(queue, "a")).text

    assert runner.run(deliver()) == text

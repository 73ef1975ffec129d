"""The messages: they round-trip, old ones keep loading, bad ones are refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wire.jobs import (
    MAX_BODY_BYTES,
    MAX_VERIFY_BYTES,
    Delta,
    Done,
    ErrorCode,
    Failed,
    FinishReason,
    Job,
    Retried,
    SamplingParams,
    Started,
    Usage,
    event_adapter,
    explain,
    outcome_adapter,
)

EXAMPLES = Path(__file__).parent / "data"
VALID = {"job_id": "j", "user_id": "u", "bot_id": "b", "deadline_unix_ms": 1}
USAGE = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "queue_ms": 0,
    "first_token_ms": None,
    "total_ms": 0,
}

ids = st.from_regex(r"\A[A-Za-z0-9_.\-]{1,64}\Z")
# Lone surrogates are no text: nothing can carry them as UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]))
counts = st.integers(0, 2**53)
seeds = st.integers(0, 2**63 - 1)
params = st.builds(
    SamplingParams,
    max_tokens=st.integers(1, 1023),
    temperature=st.floats(0, 2),
    top_k=st.integers(0, 50257),
    top_p=st.floats(0, 1, exclude_min=True),
    repetition_penalty=st.floats(1, 2),
    seed=st.none() | seeds,
    stop=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64), max_size=4
    ).map(tuple),
    watermark=st.booleans(),
)
jobs = st.builds(
    Job,
    job_id=ids,
    user_id=ids,
    bot_id=ids,
    model=st.none() | ids,
    prompt=texts,
    params=params,
    deadline_unix_ms=counts,
    origin=texts,
)
usages = st.builds(
    Usage,
    prompt_tokens=counts,
    completion_tokens=counts,
    queue_ms=counts,
    first_token_ms=st.none() | counts,
    total_ms=counts,
)
dones = st.builds(
    Done,
    finish_reason=st.sampled_from(FinishReason),
    usage=usages,
    model_name=texts,
    seed=seeds,
)
faileds = st.builds(Failed, code=st.sampled_from(ErrorCode), message=texts)
attempts = st.integers(1, 9)
events = st.one_of(
    st.builds(Started, attempt=attempts, model_name=texts),
    st.builds(Delta, offset_bytes=counts, text=texts),
    st.builds(Retried, attempt=attempts),
    dones,
    faileds,
)


@given(jobs)
def test_any_job_comes_back_from_json_as_it_was(job):
    assert Job.model_validate_json(job.model_dump_json()) == job


@given(events)
def test_any_event_comes_back_from_json_as_it_was_and_of_its_kind(event):
    back = event_adapter.validate_json(event_adapter.dump_json(event))
    assert back == event
    assert type(back) is type(event)


@given(dones | faileds)
def test_any_last_word_comes_back_from_json_as_it_was(outcome):
    assert outcome_adapter.validate_json(outcome.model_dump_json()) == outcome


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_a_frozen_example_still_loads_with_each_value_it_names(path):
    written = json.loads(path.read_text("utf-8"))
    job = Job.model_validate_json(path.read_text("utf-8"))
    read = json.loads(job.model_dump_json())
    assert {name: read[name] for name in written} == written


def test_there_are_frozen_examples():
    assert len(list(EXAMPLES.glob("*.json"))) >= 3


def test_the_example_that_names_no_default_still_gets_those_of_the_first_version():
    job = Job.model_validate_json((EXAMPLES / "job-defaults.json").read_text("utf-8"))
    assert (job.version, job.kind, job.model, job.prompt, job.origin) == (
        *(1, "generate", None),
        *("", ""),
    )
    assert job.params == SamplingParams(
        max_tokens=128,
        temperature=1.0,
        top_k=40,
        top_p=1.0,
        repetition_penalty=1.0,
        seed=None,
        stop=(),
        watermark=True,
    )


def sentence(model: type[Job | SamplingParams | Done | Usage], fields: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    return explain(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("max_tokens", 0, "1"),
        ("max_tokens", 1024, "1023"),
        ("temperature", -0.1, "0"),
        ("temperature", 2.5, "2"),
        ("temperature", float("nan"), "finite"),
        ("top_k", -1, "0"),
        ("top_k", 50258, "50257"),
        ("top_p", 0, "0"),
        ("top_p", 1.5, "1"),
        ("repetition_penalty", 0.5, "1"),
        ("repetition_penalty", 3, "2"),
        ("seed", -1, "0"),
        ("seed", 2**63, str(2**63 - 1)),
        ("stop", ("a", "b", "c", "d", "e"), "4"),
    ],
)
def test_a_parameter_out_of_range_is_named_with_its_bound_and_value(field, value, bound):
    said = sentence(SamplingParams, {field: value})
    assert said.startswith(f"{field}: ")
    assert bound in said.removesuffix(f"not {value!r}.")
    assert said.endswith(f", not {value!r}.")


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("job_id", "", "1"),
        ("job_id", "x" * 65, "64"),
        ("user_id", "no spaces", "pattern"),
        ("bot_id", "{tag}", "pattern"),
        ("model", "a/b", "pattern"),
        ("deadline_unix_ms", -1, "0"),
        ("prompt", "x" * (MAX_VERIFY_BYTES + 1), str(MAX_VERIFY_BYTES)),
        ("origin", "x" * 2049, "2048"),
    ],
)
def test_a_job_field_out_of_bounds_is_named_with_its_bound(field, value, bound):
    said = sentence(Job, VALID | {field: value})
    assert said.startswith(f"{field}: ")
    assert bound in said
    assert repr(value)[:50] in said


@pytest.mark.parametrize("length", [0, 65])
def test_a_stop_string_of_a_wrong_length_is_named_with_its_place(length):
    said = sentence(SamplingParams, {"stop": ("ok", "x" * length)})
    assert said.startswith("stop.1: ")


def test_a_job_too_big_in_bytes_is_refused_with_its_size_and_the_bound():
    owls = "🦉" * (MAX_BODY_BYTES // 4)
    said = sentence(Job, VALID | {"prompt": owls})
    assert said.startswith("job is ")
    assert str(MAX_BODY_BYTES) in said


@pytest.mark.parametrize(("field", "value"), [("version", 2), ("kind", "sing")])
def test_an_unknown_version_or_kind_of_job_is_refused_by_name(field, value):
    said = sentence(Job, VALID | {field: value})
    assert said.startswith(f"{field}: ")
    assert said.endswith(f"not {value!r}.")


def test_an_unknown_kind_of_event_is_refused_by_name():
    with pytest.raises(ValidationError) as caught:
        event_adapter.validate_python({"kind": "sung"})
    assert "sung" in explain(caught.value)


def test_an_unknown_field_is_refused_by_name():
    assert sentence(Job, VALID | {"colour": "red"}).startswith("colour: ")


@pytest.mark.parametrize("field", [name for name in USAGE if name != "first_token_ms"])
def test_a_negative_count_is_named(field):
    assert sentence(Usage, USAGE | {field: -1}).startswith(f"{field}: ")


def test_messages_are_frozen():
    job = Job.model_validate(VALID)
    with pytest.raises(ValidationError, match="frozen"):
        job.prompt = "other"


def test_an_error_that_is_logged_quotes_nothing_that_a_person_wrote():
    job = Job(job_id="1", user_id="2", bot_id="3", prompt="my private words", deadline_unix_ms=4)
    body = job.model_dump_json()
    with pytest.raises(ValidationError) as refused:
        Job.model_validate_json(body.replace('"prompt"', '"promt"'))
    assert "private" not in str(refused.value)
    assert "promt" in explain(refused.value)


@pytest.mark.parametrize(
    "outcome",
    [
        '{"kind": "failed", "code": "internal", "message": ["private"]}',
        '{"kind": "private"}',
        '["private"]',
        "private",
    ],
)
def test_an_outcome_that_cannot_be_read_is_not_quoted_where_the_error_is_logged(outcome: str):
    with pytest.raises(ValidationError) as refused:
        outcome_adapter.validate_json(outcome)
    assert "input_value" not in str(refused.value)


def test_a_text_to_verify_may_be_longer_than_a_prompt():
    text = "x" * (2 * MAX_BODY_BYTES)
    assert Job.model_validate(VALID | {"kind": "verify", "prompt": text}).prompt == text
    assert str(MAX_BODY_BYTES) in sentence(Job, VALID | {"prompt": text})
    too_long = VALID | {"kind": "verify", "prompt": "x" * MAX_VERIFY_BYTES}
    assert str(MAX_VERIFY_BYTES) in sentence(Job, too_long)

"""Details: what it takes to write a text again, and what they refuse to be."""

from typing import Any

import pytest
from pydantic import ValidationError

from wire.details import Details
from wire.jobs import Done, FinishReason, SamplingParams, Usage, explain
from wire.provenance import Mark, Provenance

MADE: dict[str, Any] = {
    "weights": "0123456789abcdef",
    "version": "0.1.0",
    "device": "cpu",
    "precision": "float32",
    "mark": Mark.MARKED,
    "key": "89abcdef",
}


def make_done(reason: FinishReason = FinishReason.LENGTH, **fields: Any) -> Done:
    usage = Usage(prompt_tokens=3, completion_tokens=5, queue_ms=7, first_token_ms=11, total_ms=13)
    made = Provenance(**MADE)
    known = {"usage": usage, "model_name": "124M", "seed": 17, "provenance": made}
    return Done(finish_reason=reason, **{**known, **fields})


def test_the_drawn_seed_takes_the_place_of_none():
    details = Details.of(make_done(), SamplingParams(top_p=0.9))
    assert details
    assert details.params == SamplingParams(top_p=0.9, seed=17)
    assert details.seed == 17
    assert Details.model_validate_json(details.model_dump_json()) == details


def test_a_reply_that_nothing_wrote_has_no_details():
    assert Details.of(make_done(provenance=None), SamplingParams()) is None


def test_a_stopped_reply_is_as_long_as_it_came_to_be():
    for reason, length in ((FinishReason.CANCELLED, 5), (FinishReason.STOP, 40)):
        details = Details.of(make_done(reason), SamplingParams(max_tokens=40))
        assert details
        assert details.max_tokens == length


def test_details_without_a_seed_are_refused():
    details = Details.of(make_done(), SamplingParams())
    assert details
    fields = details.model_dump()
    fields["params"]["seed"] = None
    with pytest.raises(ValidationError) as caught:
        Details.model_validate(fields)
    assert "without a seed" in explain(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weights": "0123"}, "weights:"),
        ({"device": "tpu"}, "device: input should be 'cpu' or 'cuda', not 'tpu'."),
        ({"precision": "int8"}, "precision:"),
        ({"key": None}, "a text that is marked has a key."),
        ({"mark": "greedy"}, "a text that is greedy has no key."),
        ({"key": "ABCDEF01"}, "key:"),
    ],
)
def test_what_cannot_have_written_a_text_is_refused(fields: dict[str, Any], said: str):
    with pytest.raises(ValidationError) as caught:
        Provenance.model_validate(MADE | fields)
    assert explain(caught.value).startswith(said)

"""What is said of a text: always the same form, with n and p."""

import pytest

from wire.jobs import Outcome, outcome_adapter
from wire.verdicts import ENOUGH_TOKENS, Verdict, Verified


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize(("num_scored", "p_value"), [(0, 1.0), (12, 0.043), (400, 3e-9)])
def test_every_answer_names_n_and_p_at_its_end(verdict, num_scored, p_value):
    said = Verified(verdict=verdict, num_scored=num_scored, p_value=p_value).sentence()
    assert said.endswith(f"(n = {num_scored} tokens, p = {p_value:.2g}).")


def test_too_short_says_how_many_more_words_it_takes():
    few = Verified(verdict=Verdict.TOO_SHORT, num_scored=ENOUGH_TOKENS - 40, p_value=0.5)
    assert few.sentence().startswith("Too short to tell: about 30 more words are needed.")


@pytest.mark.parametrize(("num_scored", "said"), [(99, "about 5 more"), (0, "about 75 more")])
def test_the_words_that_are_missing_are_a_rough_number_and_never_none(num_scored, said):
    short = Verified(verdict=Verdict.TOO_SHORT, num_scored=num_scored, p_value=1.0)
    assert said in short.sentence()


@pytest.mark.parametrize(
    ("p_value", "said"),
    [
        (1.0, "100%"),
        (0.012, "1%"),
        (0.004, "1 in 250"),
        (1e-6, "1 in 1,000,000"),
        (9e-7, "fewer than 1 in a million"),
        (1e-300, "fewer than 1 in a million"),
    ],
)
def test_the_share_of_texts_that_look_alike_is_said_in_words_that_are_true(p_value, said):
    found = Verified(verdict=Verdict.NO_SIGN, num_scored=200, p_value=p_value)
    assert f"did not write, {said} look as much like its own" in found.sentence()


def test_an_answer_comes_back_from_the_wire_as_it_was():
    found: Outcome = Verified(verdict=Verdict.OURS, num_scored=7, p_value=1e-9, key="1f2e3d4c")
    assert outcome_adapter.validate_json(found.model_dump_json()) == found

"""Whether a text is ours: pasted as people paste, damaged as texts are, and said in plain words."""

import html
import math
import re
import textwrap
from collections.abc import Callable

import pytest

from codec.bpe import Tokenizer
from engine.label import label
from engine.readings import readings
from engine.verify import verify
from engine.watermark import find_mark
from tests.engine.demo_texts import DEMO, HUMAN, engine_with, write
from tests.engine.marked import KEY, OLD
from tests.engine.support import byte_tokenizer, make_params
from wire.verdicts import ENOUGH_TOKENS, Verdict


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


def test_what_the_model_wrote_is_ours_and_what_a_person_wrote_is_not(
    ours: list[str], tokenizer: Tokenizer
):
    found = [verify(text, [tokenizer], [KEY]) for text in ours]
    assert [each.verdict for each in found] == [Verdict.OURS] * 3
    assert all(each.key == KEY.fingerprint for each in found)
    assert verify(HUMAN, [tokenizer], [KEY]).verdict is Verdict.NO_SIGN
    assert verify(ours[0], [tokenizer], [OLD]).verdict is not Verdict.OURS


def test_a_text_marked_with_an_old_key_is_still_ours(ours: list[str], tokenizer: Tokenizer):
    found = verify(ours[0], [tokenizer], [OLD, KEY])
    assert (found.verdict, found.key) == (Verdict.OURS, KEY.fingerprint)


def test_every_reading_key_and_vocabulary_that_is_tried_is_paid_for(
    ours: list[str], tokenizer: Tokenizer
):
    text = ours[0][: len(ours[0]) // 2]
    tried = readings(f"> {text}")
    assert len(tried) > 1
    best = min(find_mark(tokenizer.encode(each), KEY).p_value for each in tried)
    alone = verify(f"> {text}", [tokenizer], [KEY]).p_value
    assert alone == pytest.approx(best * len(tried), abs=0.0)
    by_two = verify(f"> {text}", [tokenizer], [OLD, KEY]).p_value
    assert by_two == pytest.approx(2 * alone, abs=0.0)
    by_four = verify(f"> {text}", [tokenizer, byte_tokenizer()], [OLD, KEY]).p_value
    assert by_four == pytest.approx(4 * alone, abs=0.0)


def test_another_models_vocabulary_among_them_does_no_harm(ours: list[str], tokenizer: Tokenizer):
    assert verify(ours[0], [byte_tokenizer(), tokenizer], [KEY]).verdict is Verdict.OURS


def with_typographic_marks(text: str) -> str:
    """As a word processor sets what is typed."""
    text = re.sub(r'(^|[\s(])"', "\\1\u201c", text).replace('"', "\u201d")
    text = re.sub(r"(^|[\s(])'", "\\1\u2018", text).replace("'", "\u2019")
    return text.replace("--", "\u2014").replace("...", "\u2026")


def wrapped(text: str, columns: int) -> str:
    return "\n".join(textwrap.fill(line, columns) for line in text.split("\n"))


def as_messages(text: str, head: str) -> str:
    """Cut into messages as a bot posts them, each below a head, and copied in one go."""
    parts = [text[start : start + 250].strip() for start in range(0, len(text), 250)]
    return "\n".join(f"{head}{label('demo')}\n{part}" for part in parts)


PASTED: dict[str, tuple[Callable[[str], str], float]] = {
    "with its label": (lambda text: f"{label('demo')} \u00b7 seed 1\n{text}", 0.98),
    "labelled in another language": (lambda text: f"-# \U0001f916 Maschinentext\n{text}", 0.98),
    "quoted": (lambda text: re.sub("^", "> ", text, flags=re.M), 0.98),
    "quoted twice": (lambda text: re.sub("^", "> > ", text, flags=re.M), 0.98),
    "quoted as a block": (lambda text: f">>> {text}", 0.98),
    "escaped": (lambda text: re.sub(r"([*_#.\"'!?-])", r"\\\1", text), 0.98),
    "as an HTML source": (html.escape, 0.98),
    "in a code fence": (lambda text: f"```text\n{text}\n```", 0.98),
    "typographic": (with_typographic_marks, 0.98),
    "fixed spaces": (lambda text: text.replace(" ", "\u00a0"), 0.98),
    "tabs": (lambda text: text.replace(" ", "\t"), 0.98),
    "wide gaps": (lambda text: text.replace(" ", "  "), 0.98),
    "trailing blanks": (lambda text: text.replace("\n", "  \n"), 0.98),
    "indented": (lambda text: re.sub("^", "    ", text, flags=re.M), 0.98),
    "other line ends": (lambda text: text.replace("\n", "\r\n"), 0.98),
    "empty lines between": (lambda text: text.replace("\n", "\n\n"), 0.98),
    "without line breaks": (lambda text: " ".join(text.split()), 0.8),
    "wrapped anew": (lambda text: wrapped(text, 60), 0.8),
    "wrapped, typographic and quoted": (
        lambda text: re.sub("^", "> ", wrapped(with_typographic_marks(text), 60), flags=re.M),
        0.8,
    ),
    "invisible characters": ("\u200b".join, 0.98),
    "ligatures": (lambda text: text.replace("fi", "\ufb01").replace("fl", "\ufb02"), 0.98),
    "letters of other scripts": (
        lambda text: text.translate(str.maketrans("aeop", "\u0430\u0435\u043e\u0440")),
        0.6,
    ),
    "several messages": (lambda text: as_messages(text, ""), 0.8),
    "a conversation copied": (
        lambda text: as_messages(text, "Ovid\nAPP\n \u2014 Today at 4:05 PM\n"),
        0.6,
    ),
    "inside of other text": (lambda text: f"{HUMAN}\n\n{text}\n\n{HUMAN}", 0.8),
    "its second half, from within a word": (lambda text: text[len(text) // 2 + 1 :], 0.3),
}
"""What people and programs do to a text, and how much of the evidence is left at least."""


@pytest.mark.parametrize("how", PASTED)
def test_ours_is_known_as_people_paste_it(how: str, ours: list[str], tokenizer: Tokenizer):
    paste, share = PASTED[how]
    for text in ours:
        whole, pasted = (verify(each, [tokenizer], [KEY]) for each in (text, paste(text)))
        assert pasted.verdict is Verdict.OURS
        assert math.log(pasted.p_value) <= share * math.log(whole.p_value)


def test_ours_is_known_without_each_tenth_word(ours: list[str], tokenizer: Tokenizer):
    for text in ours:
        left = " ".join(word for n, word in enumerate(text.split(" ")) if n % 10)
        assert verify(left, [tokenizer], [KEY]).verdict is Verdict.OURS


@pytest.mark.parametrize("how", PASTED)
def test_what_is_done_to_a_persons_text_makes_it_no_more_ours(how: str, tokenizer: Tokenizer):
    paste, _ = PASTED[how]
    assert verify(paste(HUMAN), [tokenizer], [KEY]).p_value > 1e-3


LONG_PROMPT = "behind a long prompt"
SETTINGS: dict[str, dict[str, object]] = {
    "plain": {"top_k": 0},
    "top-k": {"top_k": 20},
    "top-p": {"top_k": 0, "top_p": 0.9},
    "cooler": {"temperature": 0.8},
    "hotter": {"temperature": 1.3},
    "repetition penalty": {"repetition_penalty": 1.2},
    "stop strings": {"stop": ("\u2603", "zzz")},
    "greedy": {"temperature": 0.0},
    LONG_PROMPT: {},
}


@pytest.fixture(scope="module")
def by_setting() -> dict[str, str]:
    """What the demo model wrote with each of the settings, all in one batch."""
    engine = engine_with(KEY, num_slots=len(SETTINGS))
    sequences = {}
    for seed, (name, params) in enumerate(SETTINGS.items()):
        prompt = " ".join([HUMAN] * 6) if name == LONG_PROMPT else "The old lighthouse"
        sequences[engine.add(prompt, make_params(seed=seed, max_tokens=100, **params))] = name
    texts = dict.fromkeys(SETTINGS, "")
    while engine.has_work:
        for output in engine.step():
            texts[sequences[output.sequence]] += output.text
    return texts


@pytest.mark.parametrize("setting", sorted(SETTINGS.keys() - {"greedy"}))
def test_the_mark_is_there_however_a_text_is_sampled(
    setting: str, by_setting: dict[str, str], tokenizer: Tokenizer
):
    assert verify(by_setting[setting], [tokenizer], [KEY]).verdict is Verdict.OURS


def test_greedy_text_is_not_marked_and_the_answer_claims_nothing_of_a_person(
    by_setting: dict[str, str], tokenizer: Tokenizer
):
    found = verify(by_setting["greedy"], [tokenizer], [KEY])
    assert found.verdict is not Verdict.OURS
    assert found.p_value > 1e-3
    assert "person" not in found.sentence()


def test_what_could_carry_no_sign_is_too_short_and_says_how_much_more(tokenizer: Tokenizer):
    found = verify("Once upon a time", [tokenizer], [KEY])
    assert found.verdict is Verdict.TOO_SHORT
    assert found.num_scored < ENOUGH_TOKENS
    assert re.search(r"about \d\d more words", found.sentence())
    nothing = verify("", [tokenizer], [KEY])
    assert (nothing.verdict, nothing.num_scored, nothing.key) == (Verdict.TOO_SHORT, 0, None)


def test_a_reading_that_leaves_nothing_makes_no_long_text_too_short(tokenizer: Tokenizer):
    # In one line with a robot, it may all be a label; of two readings that say nothing, the longer.
    found = verify(f"{HUMAN} \U0001f916", [tokenizer], [KEY])
    assert found.p_value == 1
    assert (found.verdict, found.num_scored >= ENOUGH_TOKENS) == (Verdict.NO_SIGN, True)


def test_every_answer_says_n_and_p_in_the_same_form(ours: list[str], tokenizer: Tokenizer):
    for text in (ours[0], HUMAN, "short"):
        found = verify(text, [tokenizer], [KEY])
        assert found.sentence().endswith(
            f"(n = {found.num_scored} tokens, p = {found.p_value:.2g})."
        )


def test_the_same_seed_and_key_write_the_same_text_again(ours: list[str]):
    [again] = write(engine_with(KEY), "The old lighthouse", 2, max_tokens=60)
    assert len(again) > 100
    assert ours[1].startswith(again)

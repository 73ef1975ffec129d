"""Whether a text is ours: pasted as people paste, damaged as texts are, and said in plain words."""

import html
import io
import json
import math
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from codec.bpe import Tokenizer
from engine.__main__ import main
from engine.commands.verify import MAX_FILE_BYTES
from engine.label import label
from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.readings import readings
from engine.verify import verify
from engine.watermark import WatermarkKey, find_mark
from tests.end_to_end.stack import REPOSITORY
from tests.engine.marked import KEY, OLD
from tests.engine.models import CPU
from tests.engine.support import byte_tokenizer, make_params
from tests.engine.test_command_line import here, only_line
from wire.verdicts import ENOUGH_TOKENS, Verdict

__all__ = ["here"]

DEMO = REPOSITORY / "models" / "demo"
HUMAN = (
    "The ferry leaves at seven, and whoever wants to be on it should not wait for the rain to "
    "stop. My aunt used to say that weather is for people with umbrellas. She carried two, lent "
    "one to every stranger she met, and never asked for it back; by the end of each winter half "
    "the town walked under her name. When she died, they came with forty umbrellas, all of them "
    "black but one, and stood at the grave while the sun was shining as it had not for weeks."
)


def engine_with(key: WatermarkKey | None, num_slots: int = 3) -> LLMEngine:
    sizes = {"num_slots": num_slots, "prefill_tokens": 512, "max_waiting": num_slots}
    return load_engine(DEMO, CPU, **sizes, watermark=key)[0]


def write(engine: LLMEngine, prompt: str, *seeds: int, **params: object) -> list[str]:
    sequences = [engine.add(prompt, make_params(seed=seed, **params)) for seed in seeds]
    texts = dict.fromkeys(sequences, "")
    while engine.has_work:
        for output in engine.step():
            texts[output.sequence] += output.text
    return list(texts.values())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


@pytest.fixture(scope="module")
def ours() -> list[str]:
    """What the demo model wrote for three seeds, with the default settings."""
    return write(engine_with(KEY), "The old lighthouse", 1, 2, 3, max_tokens=200)


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


def test_the_command_says_it_for_each_file(
    here: Path,
    ours: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    (here / "ours.txt").write_text(ours[0], encoding="utf-8")
    (here / "human.txt").write_text(HUMAN, encoding="utf-8")
    monkeypatch.setenv("OVID_WATERMARK_KEY", KEY.secret.hex())
    options = ["--models", str(DEMO.parent)]
    assert main(["verify", "ours.txt", "human.txt", *options]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("ours.txt: This bot wrote it")
    assert second.startswith("human.txt: No sign that this bot wrote it")
    assert main(["verify", "ours.txt", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["key"]) == ("ours", KEY.fingerprint)
    assert told["p_value"] < 1e-6
    assert first == f"ours.txt: {told['sentence']}"


def test_a_file_that_is_no_text_or_too_large_is_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    (here / "bytes").write_bytes(b"abc\xff")
    (here / "large").write_bytes(bytes(MAX_FILE_BYTES + 1))
    monkeypatch.setenv("OVID_WATERMARK_KEY", KEY.secret.hex())
    options = ["--models", str(DEMO.parent)]
    assert main(["verify", "bytes", *options]) == 1
    assert only_line(capsys.readouterr().err).startswith("verify: bytes is no UTF-8 text: byte 3")
    assert main(["verify", "large", *options]) == 1
    said = only_line(capsys.readouterr().err)
    assert (
        said == f"verify: large is longer than the {MAX_FILE_BYTES} bytes that are taken: cut it."
    )


class Endless(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size >= 0, "it would be read for ever"
        return bytes(size)


def test_a_text_without_end_is_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVID_WATERMARK_KEY", KEY.secret.hex())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Endless()))
    assert main(["verify", "-", "--models", str(DEMO.parent)]) == 1
    assert only_line(capsys.readouterr().err).startswith("verify: - is longer than the ")


def test_a_model_that_is_named_by_its_folder_may_have_written_the_text(
    here: Path,
    ours: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    (here / "ours.txt").write_text(ours[0], encoding="utf-8")
    monkeypatch.setenv("OVID_WATERMARK_KEY", KEY.secret.hex())
    assert main(["verify", "ours.txt"]) == 1
    assert only_line(capsys.readouterr().err).startswith("verify: There is no model here")
    assert main(["verify", "ours.txt", "--model", str(DEMO)]) == 0
    assert capsys.readouterr().out.startswith("ours.txt: This bot wrote it")
    assert main(["verify", "ours.txt", "--model", "gone"]) == 1
    assert only_line(capsys.readouterr().err).startswith("verify: There is no model 'gone'")


def test_to_verify_makes_no_key_and_says_that_there_is_none(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "text").write_text(HUMAN, encoding="utf-8")
    (here / "models").mkdir()
    assert main(["verify", "text"]) == 1
    said = only_line(capsys.readouterr().err)
    assert said.startswith("verify: There is no watermark key in models/.watermark-key")
    assert [each.name for each in (here / "models").iterdir()] == []


def test_sample_marks_what_it_writes_with_the_key_that_it_keeps(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "key").write_text(KEY.secret.hex(), encoding="ascii")
    options = ["--models", str(DEMO.parent), "--watermark-key-file", "key", "--device", "cpu"]
    for more, is_ours in (((), True), (("--no-watermark",), False)):
        asked = ["--seed", "2", "--length", "120", "--threads", "1", *more]
        assert main(["sample", "--prompt", "The old lighthouse", *asked, *options]) == 0
        (here / "sample.txt").write_text(capsys.readouterr().out, encoding="utf-8")
        assert main(["verify", "sample.txt", "--json", *options]) == 0
        assert (json.loads(capsys.readouterr().out)["verdict"] == "ours") is is_ours

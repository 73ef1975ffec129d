"""Whether a text is ours: pasted as people paste, damaged as texts are, and said in plain words."""

import json
import re
from pathlib import Path

import pytest

from codec.bpe import Tokenizer
from engine.__main__ import main
from engine.label import label
from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.verify import readings, verify
from engine.watermark import WatermarkKey
from tests.end_to_end.stack import REPOSITORY
from tests.engine.models import CPU
from tests.engine.support import byte_tokenizer, make_params
from tests.engine.test_command_line import here, only_line
from wire.verdicts import ENOUGH_TOKENS, Verdict

__all__ = ["here"]

DEMO = REPOSITORY / "models" / "demo"
KEY, OLD = WatermarkKey(bytes(range(32))), WatermarkKey(bytes(range(1, 33)))
HUMAN = (
    "The ferry leaves at seven, and whoever wants to be on it should not wait for the rain to "
    "stop. My aunt used to say that weather is for people with umbrellas. She carried two, lent "
    "one to every stranger she met, and never asked for it back; by the end of each winter half "
    "the town walked under her name. When she died, they came with forty umbrellas, all of them "
    "black but one, and stood at the grave while the sun was shining as it had not for weeks."
)


def engine_with(key: WatermarkKey | None) -> LLMEngine:
    engine, _ = load_engine(DEMO, CPU, num_slots=3, prefill_tokens=64, max_waiting=3, watermark=key)
    return engine


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


def test_another_models_vocabulary_among_them_does_no_harm(ours: list[str], tokenizer: Tokenizer):
    assert verify(ours[0], [byte_tokenizer(), tokenizer], [KEY]).verdict is Verdict.OURS


@pytest.mark.parametrize(
    "pasted",
    [
        pytest.param(lambda text: f"{label('demo')} · seed 1\n{text}", id="with its label"),
        pytest.param(lambda text: re.sub("^", "> ", text, flags=re.M), id="quoted"),
        pytest.param(lambda text: re.sub(r"([*_#.\"'-])", r"\\\1", text), id="escaped"),
        pytest.param(lambda text: re.sub(r'"([^"]*)"', "“\\1”", text), id="typographic"),
        pytest.param(lambda text: text.replace("'", "’"), id="apostrophes"),
        pytest.param(lambda text: text.strip(), id="stripped"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="line ends"),
        pytest.param(lambda text: f"{HUMAN}\n\n{text}\n\n{HUMAN}", id="inside of other text"),
        pytest.param(lambda text: text[len(text) // 2 :], id="half of it"),
        pytest.param(
            lambda text: " ".join(w for n, w in enumerate(text.split(" ")) if n % 10),
            id="without each tenth word",
        ),
    ],
)
def test_ours_is_known_as_people_paste_it(pasted, ours: list[str], tokenizer: Tokenizer):
    found = [verify(pasted(text), [tokenizer], [KEY]).verdict for text in ours]
    assert found == [Verdict.OURS] * len(ours)


def test_what_could_carry_no_sign_is_too_short_and_says_how_much_more(tokenizer: Tokenizer):
    found = verify("Once upon a time", [tokenizer], [KEY])
    assert found.verdict is Verdict.TOO_SHORT
    assert found.num_scored < ENOUGH_TOKENS
    assert re.search(r"about \d\d more words", found.sentence())
    nothing = verify("", [tokenizer], [KEY])
    assert (nothing.verdict, nothing.num_scored, nothing.key) == (Verdict.TOO_SHORT, 0, None)


def test_every_answer_says_n_and_p_in_the_same_form(ours: list[str], tokenizer: Tokenizer):
    for text in (ours[0], HUMAN, "short"):
        found = verify(text, [tokenizer], [KEY])
        assert found.sentence().endswith(
            f"(n = {found.num_scored} tokens, p = {found.p_value:.2g})."
        )


def test_readings_never_fail_whatever_is_pasted():
    for text in ("⟨U+110000⟩", "⟨U+D800⟩", "\\", "> > >", "🤖", "\\\\\\#"):
        found = readings(text)
        assert found[0] == text
        assert len(set(found)) == len(found)
        for reading in found:
            assert reading.encode().decode() == reading


def test_the_same_seed_and_key_write_the_same_text_again(ours: list[str]):
    assert write(engine_with(KEY), "The old lighthouse", 2, max_tokens=200) == [ours[1]]


def test_the_command_says_it_for_each_file(
    here: Path, ours: list[str], capsys: pytest.CaptureFixture[str]
):
    (here / "ours.txt").write_text(ours[0], encoding="utf-8")
    (here / "human.txt").write_text(HUMAN, encoding="utf-8")
    options = ["--models", str(DEMO.parent), "--watermark-key", KEY.secret.hex()]
    assert main(["verify", "ours.txt", "human.txt", *options]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("ours.txt: This bot wrote it")
    assert second.startswith("human.txt: No sign that this bot wrote it")
    assert main(["verify", "ours.txt", "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["key"]) == ("ours", KEY.fingerprint)
    assert told["p_value"] < 1e-6


def test_a_key_that_is_none_and_a_file_that_is_no_text_are_sentences(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "bytes").write_bytes(b"abc\xff")
    options = ["--models", str(DEMO.parent), "--watermark-key"]
    assert main(["verify", "bytes", *options, KEY.secret.hex()]) == 1
    assert only_line(capsys.readouterr().err).startswith("verify: bytes is no UTF-8 text: byte 3")
    assert main(["verify", "bytes", *options, "secret-but-damaged"]) == 1
    said = only_line(capsys.readouterr().err)
    assert said.startswith("verify: OVID_WATERMARK_KEY holds no watermark key")
    assert "damaged" not in said


def test_sample_marks_what_it_writes_with_the_key_that_it_keeps(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "key").write_text(KEY.secret.hex(), encoding="ascii")
    options = ["--models", str(DEMO.parent), "--watermark-key-file", "key", "--device", "cpu"]
    for more, is_ours in (((), True), (("--no-watermark",), False)):
        asked = ["--seed", "2", "--length", "200", "--threads", "1", *more]
        assert main(["sample", "--prompt", "The old lighthouse", *asked, *options]) == 0
        (here / "sample.txt").write_text(capsys.readouterr().out, encoding="utf-8")
        assert main(["verify", "sample.txt", "--json", *options]) == 0
        assert (json.loads(capsys.readouterr().out)["verdict"] == "ours") is is_ours

"""`python -m engine verify`: what it says of files, and what it takes for none."""

import io
import json
import sys
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.commands.verify import MAX_FILE_BYTES
from tests.engine.demo_texts import DEMO, HUMAN
from tests.engine.marked import KEY
from tests.engine.test_command_line import here, only_line

__all__ = ["here"]


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

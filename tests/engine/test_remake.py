"""`sample --details`: the same text again, or a word on what stands in its way."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.__main__ import main
from engine.weights import save_model
from tests.engine.models import make_model
from tests.engine.test_command_line import here, only_line, options

__all__ = ["here", "options"]

OLD_KEY, NEW_KEY = "11" * 32, "22" * 32
OPTIONS = "--length 30 --temperature 0.9 --top-k 30 --top-p 0.95 --repetition-penalty 1.1"
Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def ask(here: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run `sample`, and return its status's output and errors."""

    def ask(*args: str, status: int = 0) -> tuple[str, str]:
        given = main(["sample", *options[2:], *args])
        said = capsys.readouterr()
        assert given == status, said.err
        return said.out, said.err

    return ask


@pytest.fixture
def line(ask: Ask, options: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A marked sample as JSON, in the file line.json as well."""
    monkeypatch.setenv("OVID_WATERMARK_KEY", OLD_KEY)
    args = [*options[:2], "--prompt", "née", "--seed", "5", "--stop", "\x00"]
    out, _ = ask(*args, *OPTIONS.split(), "--json")
    Path("line.json").write_text(out, encoding="utf-8")
    found: dict[str, Any] = json.loads(out)
    return found


def again(ask: Ask, *args: str) -> tuple[str, str]:
    out, err = ask("--details", "line.json", "--json", *args)
    return json.loads(out)["text"], err


def save_details(line: dict[str, Any], **provenance: Any) -> None:
    line["details"]["provenance"] |= provenance
    Path("line.json").write_text(json.dumps(line), encoding="utf-8")


def test_a_line_of_json_writes_the_same_text_again(ask: Ask, line: dict[str, Any]):
    assert line["details"]["provenance"]["mark"] == "marked"
    assert again(ask) == (line["text"], "")


def test_details_alone_need_the_prompt_from_elsewhere(
    ask: Ask, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    details = json.dumps(line["details"]).encode()
    for args, status in (([], 1), (["--prompt", "née"], 0)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(details)))
        out, err = ask("--details", "-", "--quiet", *args, status=status)
        if status:
            assert only_line(err).startswith("sample: the details come without a prompt")
        else:
            assert out.endswith(f"née{line['text']}\n")


def test_a_cut_name_of_the_model_has_to_be_given_whole(
    ask: Ask, options: list[str], line: dict[str, Any]
):
    line["details"]["model"] = "my-m…"
    save_details(line)
    _, err = ask("--details", "line.json", status=1)
    assert only_line(err) == (
        "sample: the details had no room for the model's name, my-m…: give --model"
    )
    assert again(ask, *options[:2]) == (line["text"], "")


def test_what_the_details_say_is_taken_and_told(ask: Ask, line: dict[str, Any]):
    text, err = again(ask, "--seed", "6")
    assert text == line["text"]
    assert only_line(err) == "sample: seed is taken from the details."
    assert again(ask, "--seed", "5") == (line["text"], "")


def test_an_old_key_still_writes_its_texts(
    ask: Ask, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVID_WATERMARK_KEY", f"{NEW_KEY},{OLD_KEY}")
    assert again(ask) == (line["text"], "")


@pytest.mark.parametrize("switch", ["another key", "no mark"])
def test_without_its_key_the_text_is_another_and_that_is_said(
    ask: Ask, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch, switch: str
):
    own = line["details"]["provenance"]["key"]
    if switch == "another key":
        monkeypatch.setenv("OVID_WATERMARK_KEY", NEW_KEY)
    else:
        monkeypatch.setenv("OVID_WATERMARK", "off")
    text, err = again(ask)
    assert text != line["text"]
    assert "watermark key " in only_line(err)
    assert f"and not {own}." in err


def test_an_unmarked_text_is_written_unmarked(
    ask: Ask, line: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVID_WATERMARK", "off")
    args = ["--model", line["model"], "--prompt", "née", "--seed", "5", *OPTIONS.split()]
    unmarked, _ = ask(*args, "--json")
    monkeypatch.delenv("OVID_WATERMARK")
    Path("line.json").write_text(unmarked, encoding="utf-8")
    text, err = again(ask)
    assert (text, err) == (json.loads(unmarked)["text"], "")
    assert text != line["text"]


@pytest.mark.parametrize(
    ("name", "there", "words"),
    [
        ("version", "9.9.9", "and not 9.9.9"),
        ("device", "cuda", "device cpu and not cuda"),
        ("precision", "bfloat16", "precision float32 and not bfloat16"),
    ],
)
def test_what_runs_here_otherwise_is_named(
    ask: Ask, line: dict[str, Any], name: str, there: str, words: str
):
    save_details(line, **{name: there})
    text, err = again(ask)
    assert text == line["text"]
    assert words in only_line(err)


def test_another_model_is_refused_unless_it_is_wanted(
    ask: Ask, line: dict[str, Any], options: list[str], vocabulary: Path
):
    save_model(make_model(seed=1), vocabulary, Path("other"), dtype=torch.float32)
    _, err = ask("--details", "line.json", "--model", "other", status=1)
    assert only_line(err).startswith("sample: The model other has the weights ")
    assert "--force" in err
    text, err = again(ask, "--model", "other", "--force")
    assert text != line["text"]
    assert "weights " in only_line(err)


def test_a_stopped_text_ends_where_it_ended(ask: Ask, line: dict[str, Any]):
    line["details"]["finish_reason"] = "cancelled"
    line["details"]["usage"]["completion_tokens"] = 4
    save_details(line)
    out, _ = ask("--details", "line.json", "--json")
    found = json.loads(out)
    assert found["tokens"]["completion"] == 4
    # A character that was cut in the middle shows as a question mark.
    assert line["text"].startswith(found["text"].rstrip("\ufffd"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "Expecting value"),
        ("[]", "details: input should be a valid dictionary"),
        ('{"prompt": 1, "details": 2}', "details: "),
        ("", "Expecting value"),
        ("[" * 100_000, "maximum recursion depth"),
    ],
)
def test_what_is_no_details_is_one_sentence(ask: Ask, text: str, said: str):
    Path("line.json").write_text(text, encoding="utf-8")
    _, err = ask("--details", "line.json", status=1)
    assert only_line(err).startswith(f"sample: line.json holds no details of one text: {said}")


@pytest.mark.parametrize(
    "args", [["--task", "qa", "--prompt", "Who?"], ["--prompt-file", "line.json"]]
)
def test_what_contradicts_details_is_refused(ask: Ask, args: list[str]):
    source = "-" if args[0] == "--prompt-file" else "line.json"
    given = [*args[:-1], "-"] if source == "-" else args
    _, err = ask("--details", source, *given, status=2)
    assert "details and " in only_line(err)

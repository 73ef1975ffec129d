"""What is asked of `python -m engine sample`: prompts, tasks, and options under all their names."""

import io
import math
import os
import sys
from pathlib import Path

import pytest
import torch

from engine.__main__ import main
from engine.commands.sample import Sample
from engine.weights import save_model
from tests.engine.models import make_model
from tests.engine.sample_command import LABEL, Ask, ask, objects
from tests.engine.test_command_line import here, only_line, options, run

__all__ = ["ask", "here", "options"]


def test_a_sample_begins_with_the_label_and_the_same_seed_writes_it_again(
    ask: Ask, tmp_path: Path, options: list[str]
):
    args = ["--prompt", "hello", "--length", "20", "--seed", "7"]
    first = run(["sample", *options, *args], tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    label, rest = first.stdout.split("\n", 1)
    assert label == f"{LABEL} · seed 7"
    assert rest.startswith("hello")
    assert len(rest) > len("hello\n")
    assert ask(*args) == first.stdout


def test_an_argument_that_is_no_text_is_one_sentence(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    argument = os.fsdecode(b"caf\xe9")
    assert main(["sample", *options, "--prompt", argument]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert only_line(said.err).startswith(
        "sample: The prompt cannot be read: character 3 of the text"
    )


def test_a_prompt_that_is_too_long_is_one_sentence(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(["sample", *options, "--prompt", "x" * 60, "--length", "20"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert only_line(said.err).startswith("sample: The prompt is 60 tokens long and 20 are asked")


def test_no_place_is_made_that_no_sample_takes():
    asked = [(100, 3), (2, 3), (100, 0), (None, 3), (None, 0)]
    made = [Sample(batch_size=size, nsamples=number).num_at_once for size, number in asked]
    assert made == [3, 2, 100, 3, 8]


def test_a_model_of_damaged_weights_is_one_sentence(
    here: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]
):
    model = make_model()
    model.ln_f.weight.fill_(math.nan)
    save_model(model, vocabulary, here / "damaged", dtype=torch.float32)
    assert main(["sample", "--model", str(here / "damaged"), "--device", "cpu"]) == 1
    assert only_line(capsys.readouterr().err).startswith("sample: the model computed what")


def test_how_many_are_written_at_once_changes_no_sample(ask: Ask):
    args = ["--nsamples", "5", "--length", "40", "--seed", "3", "--top-k", "0"]
    assert ask(*args, "--batch_size", "1") == ask(*args, "--batch_size", "5") == ask(*args)


def test_the_options_of_openais_scripts_are_understood(ask: Ask, options: list[str]):
    args = "--seed 1 --nsamples 2 --batch_size 1 --length 8 --temperature 1 --top_k 3 --top_p 0.9"
    _, model, _, models, *_ = options
    [first, second] = objects(
        ask("--model_name", model, "--models_dir", models, *args.split(), "--json")
    )
    assert (first["seed"], second["seed"]) == (1, 2)
    assert first["params"] == {
        "max_tokens": 8,
        "temperature": 1.0,
        "top_k": 3,
        "top_p": 0.9,
        "repetition_penalty": 1.0,
        "stop": [],
    }


def test_the_options_of_the_pytorch_port_are_understood(ask: Ask):
    args = "--nsamples 1 --batch_size -1 --length -1 --temperature 0.7 --top_k 40 --quiet --json"
    [given] = objects(ask("--text", "hello", *args.split()))
    assert (given["prompt"], given["params"]["max_tokens"]) == ("hello", 32)
    [nothing] = objects(ask("--text", "hello", "--unconditional", "--param", "tiny", *args.split()))
    assert (nothing["prompt"], nothing["params"]["max_tokens"]) == ("", 63)


@pytest.mark.parametrize(("prompt", "max_tokens"), [("", 63), ("x", 32), ("x" * 60, 4)])
def test_a_length_that_is_left_out_is_the_context_or_half_of_it_or_what_is_left(
    ask: Ask, prompt: str, max_tokens: int
):
    [said] = objects(ask("--prompt", prompt, "--json"))
    assert said["params"]["max_tokens"] == max_tokens


def test_a_stop_string_may_be_given_several_times(ask: Ask):
    args = ["--prompt", "x", "--length", "30", "--temperature", "0"]
    whole = ask(*args).split("\n", 1)[1].removesuffix("\n")
    stops = [whole[4], whole[6]]
    cut = ask(*args, "--stop", stops[0], "--stop", stops[1]).split("\n", 1)[1].removesuffix("\n")
    assert cut == "x" + whole[1 : 1 + min(whole[1:].index(stop) for stop in stops)]


@pytest.mark.parametrize("source", ["file", "standard input"])
def test_a_prompt_is_read_whole_but_for_the_last_line_break(
    ask: Ask, here: Path, monkeypatch: pytest.MonkeyPatch, source: str
):
    data = "\ufeffune\nnuit\n".encode()
    (here / "prompt.txt").write_bytes(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    name = "prompt.txt" if source == "file" else "-"
    [said] = objects(ask("--prompt_file", name, "--json", "--length", "2"))
    assert said["prompt"] == "une\nnuit"


def test_a_prompt_file_that_is_no_text_is_one_sentence(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    (here / "prompt.txt").write_bytes(b"caf\xe9")
    assert main(["sample", *options, "--prompt-file", "prompt.txt"]) == 1
    said = only_line(capsys.readouterr().err)
    assert said == "sample: prompt.txt is not UTF-8 text: byte 3 cannot be read"


def test_a_task_brings_its_prompt_and_settings_and_given_options_win(ask: Ask):
    asked = ["--task", "summarize", "--prompt", "It rained.", "--length", "30", "--json"]
    [said] = objects(ask(*asked))
    assert said["prompt"] == "It rained.\nTL;DR:"
    assert (said["params"]["top_k"], said["params"]["max_tokens"]) == (2, 30)
    [said] = objects(ask(*asked, "--top-k", "40", "--temperature", "0.5"))
    assert (said["params"]["top_k"], said["params"]["temperature"]) == (40, 0.5)


def test_a_task_shows_the_answer_alone_and_says_what_did_not_fit(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    args = ["sample", *options, "--task", "qa", "--prompt", "Who?", "--length", "20", "--seed", "1"]
    assert main(args) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{LABEL} · seed 1\n")
    assert "Q:" not in said.out
    assert "left out 8 of 8 examples" in only_line(said.err)
    assert main([*args, "--quiet"]) == 0
    assert capsys.readouterr() == (said.out, "")


def test_examples_of_ones_own_take_the_place_of_ours(ask: Ask, here: Path):
    (here / "pairs.tsv").write_text("un\tone\ndeux\ttwo\n", encoding="utf-8")
    asked = ["--task", "translate-fr-en", "--prompt", "trois", "--examples", "pairs.tsv"]
    [said] = objects(ask(*asked, "--length", "5", "--json"))
    assert said["prompt"] == "un = one\ndeux = two\ntrois ="
    assert said["params"]["temperature"] == 0

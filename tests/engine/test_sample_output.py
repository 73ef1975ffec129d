"""What comes out of `python -m engine sample`: under its label, as it is written, anywhere."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.commands.output import Output, PlainText
from engine.commands.sampling import Decoding, Writer, Written
from engine.llm_engine import LLMEngine
from tests.engine.sample_command import LABEL, Ask, ask, objects
from tests.engine.support import (
    FakeModelRunner,
    forever_a,
    make_engine,
    make_params,
    make_sequence,
    replies,
)
from tests.engine.test_command_line import DEADLINE_S, environment, here, only_line, options
from wire.jobs import FinishReason

__all__ = ["ask", "here", "options"]


def test_a_reader_that_has_seen_enough_gets_no_traceback(tmp_path: Path, options: list[str]):
    args = ["sample", *options, "--length", "40", "--nsamples", "3"]
    with subprocess.Popen(
        [sys.executable, "-m", "engine", *args],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read().decode()
        child.wait(DEADLINE_S)
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_samples_without_end_go_on_until_they_are_stopped(tmp_path: Path, options: list[str]):
    args = ["sample", *options, "--length", "5", "--nsamples", "0", "--seed", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "engine", *args],
        cwd=tmp_path,
        env=environment(PYTHONIOENCODING="utf-8:replace"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        while (
            line := child.stdout.readline().decode("utf-8", "replace")
        ) != f"{LABEL} · seed 30\n":
            assert line, child.stderr.read().decode()
        child.send_signal(signal.SIGINT)
        # Read on, so that the child is not stuck in a full pipe.
        _, said = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 130
    assert said == b""


def test_several_samples_come_each_under_its_label_and_each_can_be_had_alone(ask: Ask):
    args = ["--prompt", "hello", "--length", "12", "--top-k", "5"]
    together = ask(*args, "--nsamples", "3", "--batch-size", "2", "--seed", "40")
    alone = [ask(*args, "--seed", str(seed)) for seed in (40, 41, 42)]
    assert all(text.startswith(f"{LABEL} · seed ") for text in alone)
    assert together == "\n".join(alone)


def test_json_says_all_that_is_known_of_a_sample(ask: Ask):
    args = ["--prompt", "née", "--length", "9", "--seed", "5", "--top-k", "4"]
    plain = ask(*args)
    [said] = objects(ask(*args, "--json"))
    assert list(said)[:2] == ["machine_generated", "label"]
    assert said["machine_generated"] is True
    assert said["label"] == f"{LABEL} · seed 5"
    assert (said["model"], said["seed"], said["finish_reason"]) == ("tiny", 5, "length")
    assert said["prompt"] + said["text"] + "\n" == plain.split("\n", 1)[1]
    assert said["tokens"] == {"prompt": len("née".encode()), "completion": 9}
    assert 0 <= said["times"]["first_token_ms"] <= said["times"]["total_ms"]


def test_a_file_holds_what_would_have_been_shown(ask: Ask, here: Path):
    args = ["--nsamples", "2", "--seed", "8", "--length", "10"]
    shown = ask(*args)
    assert shown.startswith(LABEL)
    assert ask(*args, "--output", "out.txt") == ""
    assert (here / "out.txt").read_bytes().decode() == shown


@pytest.mark.parametrize("form", ["txt", "json"])
def test_every_file_in_a_folder_begins_with_the_label(ask: Ask, here: Path, form: str):
    args = ["--nsamples", "3", "--seed", "8", "--length", "10", "--output", "new/out/"]
    assert ask(*args, *(["--json"] if form == "json" else [])) == ""
    files = sorted((here / "new" / "out").iterdir())
    assert [file.name for file in files] == [
        f"sample-000{number}-seed-{seed}.{form}" for number, seed in ((1, 8), (2, 9), (3, 10))
    ]
    for file, seed in zip(files, (8, 9, 10), strict=True):
        text = file.read_bytes().decode()
        label = json.loads(text)["label"] if form == "json" else text.split("\n")[0]
        assert label == f"{LABEL} · seed {seed}"


def test_an_output_that_cannot_be_written_is_one_sentence(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(["sample", *options, "--output", "none/out.txt"]) == 1
    said = capsys.readouterr()
    assert (said.out, "none/out.txt" in only_line(said.err)) == ("", True)


def writer_of(engine: LLMEngine, num_at_once: int = 2) -> Writer:
    return Writer(engine, "fake", n_ctx=64, num_at_once=num_at_once)


def test_a_task_ends_where_its_answer_ends_and_frees_the_slot():
    engine = make_engine(FakeModelRunner(replies({"Q": " Yes.\nQ: and so on and on"})))

    def first_line(text: str) -> tuple[str, bool]:
        line, end, _ = text.partition("\n")
        return line.strip(), bool(end)

    pieces = writer_of(engine).write("Q", Decoding(length=40), nsamples=3, keep=first_line)
    texts: dict[int, str] = {}
    for sample, text in pieces:
        texts[sample.number] = texts.get(sample.number, "") + text
        if sample.finish_reason:
            assert (sample.text, sample.finish_reason) == ("Yes.", FinishReason.STOP)
            assert sample.sequence.num_completion_tokens == len(" Yes.\n")
    assert texts == {1: "Yes.", 2: "Yes.", 3: "Yes."}
    assert not engine.has_work


def test_the_first_sample_is_shown_as_it_is_written():
    engine = make_engine(FakeModelRunner(forever_a))
    pieces = writer_of(engine).write("x", Decoding(length=3), nsamples=2)
    shown = [(sample.number, text, sample.finish_reason) for sample, text in pieces]
    length = FinishReason.LENGTH
    assert shown == [
        (1, "", None),
        (1, "a", None),
        (1, "a", None),
        (1, "a", length),
        (2, "aaa", length),
    ]


def test_samples_that_nobody_reads_on_leave_the_engine():
    engine = make_engine(FakeModelRunner(forever_a))
    pieces = writer_of(engine).write("x", Decoding(length=60), nsamples=0)
    for _, text in pieces:
        if text:
            break
    assert engine.has_work
    pieces.close()
    assert not engine.has_work


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "shown"), [(Terminal(), "␛[2J␍a"), (io.StringIO(), "\x1b[2J\ra")]
)
def test_no_text_can_wipe_the_label_off_a_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: str
):
    monkeypatch.setattr(sys, "stdout", stream)
    sample = Written(1, "", make_params(seed=4), make_sequence([1]))
    with Output(None, PlainText("LABEL", with_prompt=True)) as output:
        output.add(sample, "\x1b[2J\ra")
    assert stream.getvalue() == f"LABEL · seed 4\n{shown}"

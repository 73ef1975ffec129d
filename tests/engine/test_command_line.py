"""`python -m engine …` as a person meets it: in a process of its own, or by its `main`."""

import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.__main__ import COMMANDS, main
from engine.command_line import read_command
from engine.commands.sample import Sample
from engine.settings import OFF_THE_COMMAND_LINE, Command

DEADLINE_S = 120
"""A program that loads PyTorch takes most of a minute where the machine has other work."""
ROOT = Path(__file__).resolve().parents[2]


def environment(**extra: str) -> dict[str, str]:
    """What the child inherits: none of the settings of whoever runs the tests, and this code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OVID_")}
    ours = {"OVID_THREADS": "1", "PYTHONWARNINGS": "default", "PYTHONPATH": str(ROOT)}
    return kept | ours | extra


@pytest.fixture
def options(saved: Path) -> list[str]:
    return ["--model", "tiny", "--models", str(saved.parent), "--device", "cpu"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, with no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("OVID_")]:
        monkeypatch.delenv(name)
    return tmp_path


def run(args: Sequence[str | bytes], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", *args],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def only_line(text: str) -> str:
    """The one line that was said; a traceback would be several."""
    [line] = text.strip().split("\n")
    return line


def test_a_model_that_is_not_there_is_one_sentence_and_status_1(tmp_path: Path):
    done = run(["sample", "--model", "gone"], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert only_line(done.stderr).startswith("sample: There is no model 'gone': neither")


@pytest.mark.parametrize("module", ["engine.__main__", "codec.bpe"])
def test_the_engine_knows_nothing_of_discord(module: str):
    code = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert module.partition(".")[0] in loaded
    assert not loaded & {"discord", "bot", "sandbox", "aiohttp"}
    assert not (module == "codec.bpe" and loaded & {"torch", "numpy", "pydantic", "engine"})


def test_scheduling_is_done_without_torch():
    code = "import engine.scheduler, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert not {"torch", "numpy"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["sample", "--temperature", "3"],
            "temperature: input should be less than or equal to 2, not '3'.",
        ),
        (["sample", "--top-p", "0"], "top_p: input should be greater than 0, not '0'."),
        (["sample", "--top-p", "1.5"], "top_p: input should be less than or equal to 1, not '1.5'"),
        (["sample", "--top-k", "-1"], "top_k: input should be greater than or equal to 0, not"),
        (["sample", "--top-k", "many"], "top_k: input should be a valid integer"),
        (["sample", "--length", "1024"], "length: input should be less than or equal to 1023, not"),
        (
            ["sample", "--nsamples", "-2"],
            "nsamples: input should be greater than or equal to 0, not",
        ),
        (["chat", "--nsamples", "0"], "nsamples: input should be greater than or equal to 1, not"),
        (["chat", "--person-name", "A:"], "person_name: string should match pattern"),
        (["sample", "--seed", "-1"], "seed: input should be greater than or equal to 0, not '-1'."),
        (
            ["sample", "--device", "tpu"],
            "device: input should be 'auto', 'cpu' or 'cuda', not 'tpu'",
        ),
        (["sample", "--threads", "0"], "threads: input should be greater than or equal to 1, not"),
        (["sample", "--stop", ""], "stop.0: string should have at least 1 character, not ''."),
        (["serve", "--slots", "0"], "slots: input should be greater than or equal to 1, not '0'."),
        (["serve", "--grace-s", "-1"], "grace_s: input should be greater than or equal to 0, not"),
        (["finetune", "text.txt"], "name: field required"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_option_is_told_by_its_field_bound_and_value(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str
):
    assert main(args) == 2
    assert only_line(capsys.readouterr().err).startswith(f"{args[0]}: {said}")


def test_an_option_of_the_environment_is_told_by_its_field(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVID_SLOTS", "none")
    assert main(["serve"]) == 2
    assert only_line(capsys.readouterr().err).startswith("serve: slots: input should be a valid")


@pytest.mark.parametrize("args", [[], ["dance"], ["--help"], ["help"]], ids=" ".join)
def test_without_a_command_the_commands_are_listed(
    capsys: pytest.CaptureFixture[str], args: list[str]
):
    assert main(args) == (2 if args in ([], ["dance"]) else 0)
    said = capsys.readouterr()
    assert all(name in said.out + said.err for name in COMMANDS)
    assert bool(said.out) == ("help" in "".join(args))


@pytest.mark.parametrize(("word", "command"), [("smaple", "sample"), ("finetuen", "finetune")])
def test_a_misspelt_command_is_answered_with_the_nearest_one(
    capsys: pytest.CaptureFixture[str], word: str, command: str
):
    assert main([word]) == 2
    said = only_line(capsys.readouterr().err)
    assert said == f"there is no command '{word}'; did you mean {command}?"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    said = only_line(capsys.readouterr().out)
    assert re.fullmatch(r"ovid [\d.]+, torch \S+, Python [\d.]+", said)


@pytest.mark.parametrize("args", [["--version"], ["help", "download"]], ids=" ".join)
def test_an_output_that_takes_nothing_gets_a_sentence_or_none_and_no_traceback(
    tmp_path: Path, args: list[str]
):
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    said = []
    for stdout in (writing, full):
        done = subprocess.run(
            [sys.executable, "-m", "engine", *args],
            cwd=tmp_path,
            env=environment(PYTHONUNBUFFERED=""),
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        os.close(stdout)
        assert done.returncode == 1
        said.append(done.stderr)
    assert said[0] == ""
    assert only_line(said[1]).endswith("No space left on device")


def test_a_stream_that_the_caller_has_closed_is_as_good_as_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, None)
    assert main(["sample", "--model", "gone", "--models", str(tmp_path)]) == 1
    for stream in (sys.stdin, sys.stdout):
        stream.close()
    assert only_line(capsys.readouterr().err).startswith("sample: There is no model 'gone'")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_every_option_does(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
):
    assert main(["help", name]) == 0
    said = capsys.readouterr().out
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out == said
    assert said.startswith(f"usage: python -m engine {name} ")
    words = " ".join(said.split())
    kind: type[Command] = pkgutil.resolve_name(COMMANDS[name])
    for field, info in kind.model_fields.items():
        assert info.description, f"{name}: nothing is said of {field}"
        is_option = info.json_schema_extra != OFF_THE_COMMAND_LINE
        assert (" ".join(info.description.split()[:3]) in words) is is_option


def test_help_tells_bounds_defaults_and_the_names_of_the_originals(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["sample", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "(default: 1.0, 0 to 2)" in words
    assert "(default: 1.0, above 0, at most 1)" in words
    assert "--model TEXT, --model-name TEXT, --param TEXT" in words
    assert "--prompt TEXT, --text TEXT" in words
    assert "None" not in words


@pytest.mark.parametrize("args", [["--help"], ["help", "download"], ["download", "7B"]])
def test_what_needs_no_model_does_not_wait_for_pytorch(tmp_path: Path, args: list[str]):
    code = f"import sys; from engine.__main__ import main; main({args}); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    loaded = done.stdout.split()
    assert "pydantic" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--colour", "red"], "there is no option --colour."),
        (["--tok-p=1"], "there is no option --tok-p; did you mean --top-p?"),
        (["In", "a"], "'In' belongs to no option; a text of several words needs quotes."),
        (["--top-k"], "argument --top-k: expected one argument."),
        (["--prompt", "a", "--prompt-file", "b"], "prompt and prompt-file cannot both be given."),
        (["--task", "qa"], "task qa needs an input: give prompt or prompt-file."),
        (["--task", "sing", "--prompt", "a"], "task: input should be 'summarize', 'translate-fr-"),
        (["--examples", "a"], "examples are for the tasks translate-en-fr, translate-fr-en and qa"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_sample_that_is_asked_for_wrongly_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str], said: str
):
    assert main(["sample", *args]) == 2
    assert only_line(capsys.readouterr().err).startswith(f"sample: {said}")


def test_an_environment_that_cannot_be_read_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVID_STOP", "not JSON")
    assert main(["sample"]) == 2
    assert only_line(capsys.readouterr().err).startswith("sample: error parsing value for field")


def test_options_are_read_as_the_originals_spelt_them_and_values_as_they_are():
    args = ["--model_name=a_b", "--models_dir", "c_d", "--top_k", "7", "--text", "None"]
    stops = ["--stop", "\n", "--stop", " a,b ", "--stop", '"']
    command = read_command(Sample, "sample", [*args, *stops])
    assert (command.model, command.models, command.top_k) == ("a_b", Path("c_d"), 7)
    assert (command.prompt, command.stop) == ("None", ("\n", " a,b ", '"'))


def test_a_models_folder_that_is_none_is_one_sentence(
    here: Path, saved: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "text.txt").write_text("one<|endoftext|>two", encoding="utf-8")
    args = ["finetune", "text.txt", "--name", "new", "--model", str(saved), "--models", "text.txt"]
    assert main(args) == 1
    assert only_line(capsys.readouterr().err).startswith("finetune: ")

"""`finetune`: text in, a model folder out that can be run; stopped runs go on, others are told."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from engine.__main__ import main
from engine.errors import ModelError
from engine.loading import load_engine
from engine.locks import alone_in
from engine.model import GPT2
from engine.train import run as finetune_run
from engine.train.checkpoint import CHECKPOINT_NAME, Checkpoints
from engine.train.finetune import StepReport
from engine.train.losses import LossLog
from engine.weights import load_model, save_model
from tests.engine.models import CPU, make_model
from tests.engine.support import N_VOCAB, make_params
from tests.engine.test_training_documents import export_of, said
from tests.engine.training import DOCUMENTS, SMALL, KilledError, fresh_model

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def models(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models' folder with a `base` to start from, a text beside it, and nothing set outside."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    save_model(make_model(SMALL), vocabulary, folder / "base", dtype=torch.float32)
    (tmp_path / "text.txt").write_text("<|endoftext|>".join(DOCUMENTS), encoding="utf-8")
    return folder


def arguments(*options: str, name: str = "new", data: str = "text.txt") -> list[str]:
    return [
        *("finetune", data, "--name", name, "--model", "base", "--device", "cpu"),
        *("--block-tokens", "16", "--epochs", "1", *options),
    ]


def finetune(*options: str, name: str = "new", data: str = "text.txt") -> int:
    return main(arguments(*options, name=name, data=data))


def rows_of(folder: Path) -> list[list[str]]:
    with (folder / "losses.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def measured(folder: Path) -> list[list[str]]:
    """What the same run would write again: all but its speed."""
    return [row[:4] for row in rows_of(folder)]


def texts_of(folder: Path) -> str:
    engine, name = load_engine(folder, CPU, num_slots=1, prefill_tokens=16, max_waiting=1)
    assert name == folder.name
    engine.add("1 green", make_params(max_tokens=12, temperature=0))
    text = ""
    while engine.has_work:
        text += "".join(output.text for output in engine.step())
    return text


def test_finetune_makes_a_folder_that_serve_and_transformers_load(
    models: Path, transformers: ModuleType, capsys: pytest.CaptureFixture[str]
):
    assert finetune("--fresh", "--epochs", "8", "--learning-rate", "0.01") == 0
    new = models / "new"
    summary = json.loads((new / "training.json").read_text(encoding="utf-8"))
    assert summary["held_out_nats_per_token"] < 0.7 * math.log(N_VOCAB)
    told = capsys.readouterr().out
    assert str(new) in told.replace("models/new", str(new))
    assert "Training needs about " in told
    header, *rows = rows_of(new)
    assert header == ["step", "loss", "held_out_loss", "learning_rate", "tokens_per_s"]
    assert [int(row[0]) for row in rows] == list(range(1, summary["steps"] + 1))
    assert float(rows[-1][1]) < float(rows[0][1])
    looks = [float(row[2]) for row in rows if row[2]]
    assert len(looks) == 8
    assert looks[-1] == pytest.approx(summary["held_out_nats_per_token"], abs=1e-4)
    assert all(float(row[4]) > 0 for row in rows)
    assert (new / "losses.png").read_bytes().startswith(PNG)
    assert sorted(path.name for path in new.iterdir()) == [
        "config.json",
        "losses.csv",
        "losses.png",
        "merges.txt",
        "model.safetensors",
        "training.json",
        "vocab.json",
    ]
    theirs = transformers.GPT2LMHeadModel.from_pretrained(new).eval().float()
    ids = torch.tensor([list(b"1 green")])
    with torch.no_grad():
        out = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
        )
    assert bytes(out[0, 7:].tolist()).decode() == texts_of(new)


def test_finetune_starts_from_the_model_unless_told_otherwise(models: Path):
    # At so low a rate nothing is learnt: what comes out is what went in.
    assert finetune("--learning-rate", "1e-12", "--weight-decay", "0") == 0
    base = load_model(models / "base", device=CPU, dtype=torch.float32)
    new = load_model(models / "new", device=CPU, dtype=torch.float32)
    for name, weight in new.named_parameters():
        torch.testing.assert_close(weight, dict(base.named_parameters())[name].half().float())


def test_adapters_are_merged_into_the_model_that_is_saved(models: Path):
    assert finetune("--lora-rank", "2", "--learning-rate", "0.01", "--gradient-checkpointing") == 0
    base = load_model(models / "base", device=CPU, dtype=torch.float32)
    new = dict(load_model(models / "new", device=CPU, dtype=torch.float32).named_parameters())
    for name, weight in base.named_parameters():
        is_adapted = name.endswith("weight") and ".c_" in name
        assert torch.equal(new[name], weight.half().float()) != is_adapted, name


def test_samples_stand_under_their_label(models: Path, capsys: pytest.CaptureFixture[str]):
    options = ("--sample-every", "5", "--sample-prompt", "1 gr\x1b", "--sample-length", "8")
    assert finetune(*options) == 0
    lines = capsys.readouterr().out.split("\n")
    label = "🤖 Machine-generated by GPT-2 new · not written by a person · step {}"
    for step in (5, 10):
        below = lines[lines.index(label.format(step)) + 1]
        assert below.startswith("1 gr␛")
    assert label.format(6) not in lines
    assert finetune("--sample-every", "5", "--sample-prompt", "long" * 9, name="other") == 1
    assert "Shorten one of them" in capsys.readouterr().err


def test_prompts_and_completions_and_chats_are_trained_on_with_a_notice(
    models: Path, capsys: pytest.CaptureFixture[str]
):
    notes = Path("notes")
    notes.mkdir()
    for n in range(2):
        chat = export_of(said(0, "ada", f"Hello {n}"), said(90, "bob", "Bye"))
        (notes / f"{n}.json").write_text(chat, encoding="utf-8")
    lines = [json.dumps({"prompt": "Why?", "completion": " Because."})] * 9
    (notes / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (notes / "package.json").write_text("{}", encoding="utf-8")
    assert finetune(data="notes") == 0
    told = capsys.readouterr().out
    assert told.count("everybody who wrote there must have agreed") == 1
    assert "Discord forbids training on data from its API without its permission" in told
    assert "(2 people wrote in it.)" in told
    assert "notes/package.json is left out" in told
    (notes / "pairs.jsonl").write_text('{"prompt": "Why?"}', encoding="utf-8")
    assert finetune(data="notes", name="other") == 1
    assert "from notes/pairs.jsonl: line 1: it must be" in capsys.readouterr().err


@contextmanager
def killed_at(*steps: int) -> Iterator[None]:
    """Let a run end as if it were killed, its checkpoint one step behind its table."""
    write = LossLog.write

    def write_then_die(self: LossLog, said: StepReport) -> None:
        write(self, said)
        if said.step in steps:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LossLog, "write", write_then_die)
        yield


def test_finetune_killed_by_sigkill_goes_on_as_if_it_never_was(models: Path):
    options = ("--epochs", "8", "--evaluate-every", "20", "--threads", "1")
    assert finetune(*options, name="whole") == 0
    # Samples leave the losses alone, and take so long that it is still at it when it is killed.
    slow = ("--save-every-s", "0", "--sample-every", "1", "--sample-length", "30")
    command = [sys.executable, "-m", "engine", *arguments(*options, *slow)]
    table = models / "new" / ".train" / "losses.csv"
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": root}, stdout=subprocess.DEVNULL
    ) as killed:
        deadline_s = time.monotonic() + 60
        while not table.exists() or table.read_bytes().count(b"\n") < 8:
            assert killed.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
        killed.kill()
    assert killed.returncode == -9
    assert not (models / "new" / "config.json").exists()
    with table.open("a", encoding="utf-8") as file:
        file.write("999,1.0,")  # as if it had died while it wrote
    assert finetune(*options) == 0
    assert len(measured(models / "new")) > 100
    assert measured(models / "new") == measured(models / "whole")
    weights = [(models / name / "model.safetensors").read_bytes() for name in ("new", "whole")]
    assert weights[0] == weights[1]


def test_ctrl_c_is_told_with_how_to_go_on(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    write = LossLog.write

    def write_then_interrupt(self: LossLog, said: StepReport) -> None:
        write(self, said)
        if said.step == 4:
            os.kill(os.getpid(), 2)

    with monkeypatch.context() as patch:
        patch.setattr(LossLog, "write", write_then_interrupt)
        assert finetune() == 130
    told = capsys.readouterr().err
    assert "finetune: stopped after step 4 of 14; the same command goes on from there." in told
    assert finetune() == 0
    assert [row[0] for row in rows_of(models / "new")[1:]] == [str(n) for n in range(1, 15)]


@pytest.mark.parametrize("change", ["text", "seed", "base"])
def test_finetune_does_not_mix_two_runs_in_one_model(
    models: Path, capsys: pytest.CaptureFixture[str], change: str
):
    # Adapters mean nothing without the very weights that they were trained on.
    options = ["--lora-rank", "2"] if change == "base" else []
    with killed_at(5), pytest.raises(KilledError):
        finetune("--save-every-s", "0", *options)
    if change == "text":
        Path("text.txt").write_text("one<|endoftext|>two" * 300, encoding="utf-8")
    if change == "base":
        save_model(fresh_model(3), models / "base", models / "base", dtype=torch.float32)
    assert finetune(*options, *(["--seed", "9"] if change == "seed" else [])) == 1
    assert "checkpoint" in capsys.readouterr().err


def test_two_processes_do_not_train_one_model(models: Path, capsys: pytest.CaptureFixture[str]):
    with alone_in(models / "new" / ".train", "not asked for twice"):
        assert finetune() == 1
    said = capsys.readouterr().err
    assert said == "finetune: another process trains new in models: wait for it\n"
    assert finetune() == 0


def test_a_model_that_is_there_is_overwritten_only_when_asked(
    models: Path, capsys: pytest.CaptureFixture[str]
):
    assert finetune() == 0
    before = (models / "new" / "model.safetensors").read_bytes()
    assert finetune("--seed", "1") == 1
    assert "there is a model new in models: --overwrite replaces it" in capsys.readouterr().err
    assert (models / "new" / "model.safetensors").read_bytes() == before
    with killed_at(5), pytest.raises(KilledError):
        finetune("--seed", "1", "--overwrite", "--save-every-s", "0")
    # What was agreed to once goes on; and until it is done the older model stands.
    assert (models / "new" / "model.safetensors").read_bytes() == before
    assert finetune("--seed", "1") == 0
    assert (models / "new" / "model.safetensors").read_bytes() != before


def test_finetune_ends_well_although_a_checkpoint_was_once_cut_off(models: Path):
    scratch = models / "new" / ".train"
    scratch.mkdir(parents=True)
    (scratch / f"{CHECKPOINT_NAME}.partial").write_bytes(b"half")
    assert finetune() == 0
    assert not scratch.exists()


def test_a_model_that_cannot_be_saved_is_not_trained_in_vain(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full_disk(*args: object, **kwargs: object) -> None:
        raise ModelError("cannot save the model: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(finetune_run, "save_model", full_disk)
        assert finetune() == 1
    assert "no space left" in capsys.readouterr().err
    table = models / "new" / ".train" / "losses.csv"
    before = table.read_text(encoding="utf-8")
    # The run is over but for the saving: no step is taken a second time.
    with killed_at(*range(1, 15)):
        assert finetune() == 0
    assert (models / "new" / "losses.csv").read_text(encoding="utf-8") == before


ENDING = {
    "draw_losses": finetune_run,
    "save_model": finetune_run,
    "remove": Checkpoints,
    "rmtree": shutil,
}
"""What a run does last, in this order."""


@pytest.mark.parametrize("last", ENDING)
def test_a_run_killed_while_it_ends_loses_neither_model_nor_table(
    models: Path, monkeypatch: pytest.MonkeyPatch, last: str
):
    do = getattr(ENDING[last], last)

    def do_then_die(*args: Any, **kwargs: Any) -> None:
        do(*args, **kwargs)
        # Saving a model clears away folders of its own.
        if last != "rmtree" or Path(args[0]).name == ".train":
            raise KilledError

    assert finetune(name="whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr(ENDING[last], last, do_then_die)
        with pytest.raises(KilledError):
            finetune()
    # Where nothing is left to do, the model is there, and that is what is told.
    assert finetune() == (1 if last in ("remove", "rmtree") else 0)
    assert measured(models / "new") == measured(models / "whole")
    assert len(measured(models / "new")) == 1 + 14
    for name in ("model.safetensors", "config.json"):
        assert (models / "new" / name).read_bytes() == (models / "whole" / name).read_bytes()
    assert (models / "new" / "training.json").exists()


def test_the_model_appears_when_all_that_belongs_to_it_is_there(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    beside: list[str] = []

    def note_then_save(model: GPT2, source: Path, out: Path, *, dtype: torch.dtype) -> None:
        beside.extend(path.name for path in out.iterdir())
        save_model(model, source, out, dtype=dtype)

    monkeypatch.setattr(finetune_run, "save_model", note_then_save)
    assert finetune() == 0
    assert {"losses.csv", "losses.png", "training.json"} <= set(beside)
    assert "config.json" not in beside


def test_a_run_that_does_not_fit_is_refused_with_the_numbers(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(finetune_run, "available_bytes", lambda device: 2 * 2**20)
    assert finetune("--batch-size", "64") == 1
    told = capsys.readouterr().err
    assert "(weights 0, gradients 0, optimizer 0, activations " in told
    assert "2 MiB are free on cpu: it does not fit." in told
    for remedy in ("--batch-size", "--accumulate", "--gradient-checkpointing", "--lora-rank"):
        assert remedy in told
    assert not (models / "new").exists()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (
            ("--block-tokens", "64"),
            1,
            "block_tokens must be at most 32, the model's context, not 64",
        ),
        (("--batch-size", "0"), 2, "batch_size: input should be greater than or equal to 1, not"),
        (("--model", "gone"), 1, "There is no model 'gone'"),
        (("--lora-rank", "2", "--fresh"), 2, "--lora-rank adapts the weights of a model"),
        *[
            (("--name", name), 2, "is the name of a model that comes from elsewhere")
            for name in ("demo", "Demo", "124M", "124m", "gpt2", "gpt2-XL", "1558M")
        ],
        *[
            (("--name", name), 2, "name: ")
            for name in ("..", ".hidden", "a/b", "", "new.partial", "x" * 65, "ä")
        ],
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_finetune_says_in_a_sentence_what_it_cannot_do(
    models: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    status: int,
    said: str,
):
    assert finetune(*options) == status
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert [path.name for path in models.iterdir()] == ["base"]


def test_finetune_says_which_text_it_cannot_read(models: Path, capsys: pytest.CaptureFixture[str]):
    shutil.move("text.txt", "elsewhere.txt")
    assert finetune() == 1
    assert "cannot read training text from text.txt" in capsys.readouterr().err
    assert not (models / "new").exists()

"""`finetune`: text in, a model folder out that can be run; stopped runs go on, others are told."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from engine.__main__ import main
from engine.errors import ModelError
from engine.loading import load_engine
from engine.model import GPT2
from engine.train import command as finetune_command
from engine.train.data import Corpus
from engine.train.finetune import HeldOutLoss, TrainingParams, train
from engine.weights import load_model, save_model
from tests.engine.models import CPU, make_model
from tests.engine.support import N_VOCAB, make_params
from tests.engine.test_training import DOCUMENTS, SMALL, StoppedError


@pytest.fixture
def models(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models' folder with a `base` to start from, a text beside it, and nothing set outside."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models"
    save_model(make_model(SMALL), vocabulary, folder / "base", dtype=torch.float32)
    (tmp_path / "text.txt").write_text("<|endoftext|>".join(DOCUMENTS), encoding="utf-8")
    return folder


def finetune(*options: str, name: str = "new") -> int:
    return main(
        [
            *("finetune", "text.txt", "--name", name, "--model", "base", "--device", "cpu"),
            *("--block-tokens", "16", "--epochs", "1", *options),
        ]
    )


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
    assert str(new) in capsys.readouterr().out.replace("models/new", str(new))
    with (new / "losses.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [int(step) for step, _ in rows] == list(range(1, summary["steps"] + 1))
    assert float(rows[-1][1]) < float(rows[0][1])
    assert sorted(path.name for path in new.iterdir()) == [
        "config.json",
        "losses.csv",
        "merges.txt",
        "model.safetensors",
        "training.json",
        "vocab.json",
    ]
    assert sorted(path.name for path in models.iterdir()) == ["base", "new"]
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


def stop_finetune_at(last_step: int) -> None:
    """Run it until it is killed, as far as a test can kill it, with a checkpoint at every step."""

    def stopping_train(
        model: GPT2,
        corpus: Corpus,
        params: TrainingParams,
        *,
        checkpoints: Path,
        run: str,
        report: Callable[[int, float], None],
    ) -> HeldOutLoss:
        def report_then_stop(step: int, loss: float) -> None:
            if step > last_step:
                raise StoppedError
            report(step, loss)

        often = replace(params, save_every_s=0.0)
        return train(
            model, corpus, often, checkpoints=checkpoints, run=run, report=report_then_stop
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune_command, "train", stopping_train)
        with pytest.raises(StoppedError):
            finetune()


def test_finetune_goes_on_where_it_was_stopped(models: Path):
    assert finetune(name="whole") == 0
    stop_finetune_at(5)
    assert finetune() == 0
    new, whole = (
        (models / name / "losses.csv").read_text(encoding="utf-8") for name in ("new", "whole")
    )
    assert new == whole


@pytest.mark.parametrize("change", ["text", "seed"])
def test_finetune_does_not_mix_two_runs_in_one_model(
    models: Path, capsys: pytest.CaptureFixture[str], change: str
):
    stop_finetune_at(5)
    if change == "text":
        Path("text.txt").write_text("one<|endoftext|>two" * 300, encoding="utf-8")
    assert finetune(*(["--seed", "9"] if change == "seed" else [])) == 1
    assert "checkpoint" in capsys.readouterr().err


def test_finetune_ends_well_although_a_checkpoint_was_once_cut_off(models: Path):
    scratch = models / "new" / ".train"
    scratch.mkdir(parents=True)
    (scratch / "checkpoint.pt.partial").write_bytes(b"half")
    assert finetune() == 0
    assert not scratch.exists()


def test_a_model_that_cannot_be_saved_is_not_trained_in_vain(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full_disk(*args: object, **kwargs: object) -> None:
        raise ModelError("cannot save the model: no space left")

    with monkeypatch.context() as patch:
        patch.setattr(finetune_command, "save_model", full_disk)
        assert finetune() == 1
    assert "no space left" in capsys.readouterr().err
    # The run is over but for the saving: no step is taken a second time.
    steps: list[int] = []

    def watched_train(
        *args: object, report: Callable[[int, float], None], **kwargs: object
    ) -> object:
        return train(*args, report=lambda step, loss: steps.append(step), **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(finetune_command, "train", watched_train)
    assert finetune() == 0
    assert steps == []


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
    ],
    ids=["block", "batch", "model"],
)
def test_finetune_says_in_a_sentence_what_it_cannot_do(
    models: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    status: int,
    said: str,
):
    assert finetune(*options) == status
    assert said in capsys.readouterr().err


def test_finetune_says_which_text_it_cannot_read(models: Path, capsys: pytest.CaptureFixture[str]):
    shutil.move("text.txt", "elsewhere.txt")
    assert finetune() == 1
    assert "cannot read training text from text.txt" in capsys.readouterr().err
    assert not (models / "new").exists()

"""`finetune` that is stopped or killed, wherever it stands: the same command goes on from there."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import ModelError
from engine.train import run as finetune_run
from engine.train.checkpoint import CHECKPOINT_NAME, Checkpoints
from engine.train.finetune import StepReport
from engine.train.losses import LossLog
from engine.weights import save_model
from tests.engine.finetuning import arguments, finetune, killed_at, measured, models, rows_of
from tests.engine.test_command_line import DEADLINE_S, environment
from tests.engine.training import KilledError, fresh_model

__all__ = ["models"]

KILLED_AT_STEP_8 = """
import os, signal, sys
from engine.__main__ import main
from engine.train.losses import LossLog
write = LossLog.write
def write_then_die(log, said):
    write(log, said)
    if said.step == 8:
        os.kill(os.getpid(), signal.SIGKILL)
LossLog.write = write_then_die
sys.exit(main(sys.argv[1:]))
"""


def test_finetune_killed_by_sigkill_goes_on_as_if_it_never_was(models: Path):
    options = ("--epochs", "8", "--evaluate-every", "20", "--threads", "1")
    assert finetune(*options, name="whole") == 0
    # Samples leave the losses alone.
    sampling = ("--save-every-s", "0", "--sample-every", "1", "--sample-length", "4")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_STEP_8, *arguments(*options, *sampling)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE_S,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (models / "new" / "config.json").exists()
    with (models / "new" / ".train" / "losses.csv").open("a", encoding="utf-8") as file:
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

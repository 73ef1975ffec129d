"""`torchrun`: two processes on one machine learn what one learns, and fail as one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.__main__ import main
from engine.weights import load_model, save_model
from tests.engine.models import CPU, make_model
from tests.engine.training import DOCUMENTS, SMALL

# Each starts Python three times, which takes long where the machine has other work.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
"""Relative. Two sums of half the rows each are rounded otherwise than one sum of all of them, about
1e-7 a step, and every step carries that on."""


@pytest.fixture
def models(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_model(make_model(SMALL), vocabulary, tmp_path / "models" / "base", dtype=torch.float32)
    (tmp_path / "text.txt").write_text("<|endoftext|>".join(DOCUMENTS), encoding="utf-8")
    return tmp_path / "models"


def arguments(name: str, *options: str) -> list[str]:
    # A step has 5 rows, so the processes' shares differ; and rows are padded, and accumulated.
    return [
        *("finetune", "text.txt", "--name", name, "--model", "base", "--device", "cpu"),
        *("--block-tokens", "16", "--epochs", "2", "--batch-size", "1", "--accumulate", "5"),
        *("--threads", "1", "--evaluate-every", "5", "--patience", "3", *options),
    ]


STAYS = """
import os
from pathlib import Path

import torch

from engine.train.distributed import join_world

with join_world(torch.device("cpu")) as world:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    world.sum_gradients([weight])
    torch.optim.AdamW([weight]).step()
threads = Path("/proc/self/task")
print(*sorted((threads / each / "comm").read_text().strip() for each in os.listdir(threads)))
"""


def torchrun(*args: str) -> "subprocess.CompletedProcess[str]":
    return torchrun_module("engine", *args)


def torchrun_module(*args: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    # A free port is torchrun's own choice when it stands alone.
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *command, "-m", *args],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def losses_of(folder: Path) -> list[list[float]]:
    with (folder / "losses.csv").open(encoding="utf-8", newline="") as file:
        return [[float(cell) for cell in row[:4] if cell] for row in list(csv.reader(file))[1:]]


def test_two_processes_learn_what_one_learns(models: Path):
    assert main(arguments("one")) == 0
    ran = torchrun(*arguments("two"))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("The model is in") == 1
    one, two = losses_of(models / "one"), losses_of(models / "two")
    assert len(one) == len(two) > 20
    for single, double in zip(one, two, strict=True):
        assert double == pytest.approx(single, rel=TOLERANCE)
    theirs = dict(load_model(models / "two", device=CPU, dtype=torch.float32).named_parameters())
    for name, weight in load_model(
        models / "one", device=CPU, dtype=torch.float32
    ).named_parameters():
        torch.testing.assert_close(theirs[name], weight, atol=1e-3, rtol=1e-3)
    assert not (models / "two" / ".train").exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads are read in /proc")
def test_no_thread_of_the_group_outlives_it(tmp_path: Path):
    (tmp_path / "stays.py").write_text(STAYS, encoding="utf-8")
    ran = torchrun_module("stays", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "python" in ran.stdout
    assert "gloo" not in ran.stdout


def test_what_is_wrong_is_said_once(models: Path):
    ran = torchrun(*arguments("two", "--accumulate", "1"))
    assert ran.returncode == 1
    said = [line for line in ran.stderr.splitlines() if line.startswith("finetune: ")]
    assert said == [
        "finetune: batch_size · accumulate must be at least 2, the number of processes that share "
        "it, not 1"
    ]
    assert not (models / "two").exists()

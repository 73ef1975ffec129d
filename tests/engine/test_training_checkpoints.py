"""Checkpoints: a run goes on where it stopped, or says why it cannot."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.config import ModelConfig
from engine.errors import EngineError, ModelError
from engine.model import GPT2
from engine.train import checkpoint
from engine.train.checkpoint import Checkpoints, Progress
from engine.train.data import Corpus
from engine.train.finetune import StepReport, StoppedError, Training
from engine.train.params import LOWEST_RATE_SHARE
from engine.weights import load_model, save_model
from tests.engine.models import CPU
from tests.engine.support import N_VOCAB
from tests.engine.training import (
    DOCUMENTS,
    PARAMS,
    KilledError,
    corpus_of,
    fresh_model,
    losses_of,
    train,
    weights_of,
)

OFTEN = replace(PARAMS, epochs=2.0, save_every_s=0.0)


@pytest.fixture
def corpus() -> Corpus:
    return corpus_of(DOCUMENTS)


@pytest.mark.parametrize("loaded", [False, True], ids=["fresh", "from-a-folder"])
def test_a_run_that_was_killed_goes_on_as_if_it_never_was(
    corpus: Corpus, vocabulary: Path, tmp_path: Path, loaded: bool
):
    save_model(fresh_model(), vocabulary, tmp_path / "start", dtype=torch.float32)

    def start() -> GPT2:
        if loaded:
            model = load_model(tmp_path / "start", device=CPU, dtype=torch.float32)
            return model.requires_grad_()
        return fresh_model()

    expected_model, model = start(), start()
    expected = losses_of(expected_model, corpus, OFTEN, tmp_path / "a")
    assert len(expected) > 20
    first = losses_of(start(), corpus, OFTEN, tmp_path / "b", kill_at=8)
    second = losses_of(start(), corpus, OFTEN, tmp_path / "b", kill_at=15)
    third = losses_of(model, corpus, OFTEN, tmp_path / "b")
    assert list(first) == list(range(1, 8))
    assert list(second) == list(range(8, 15))
    assert first | second | third == expected
    for one, other in zip(weights_of(model), weights_of(expected_model), strict=True):
        assert torch.equal(one, other)


def test_a_run_that_goes_on_with_less_time_than_it_had_ends_with_one_gentle_step(
    corpus: Corpus, tmp_path: Path
):
    losses_of(fresh_model(), corpus, OFTEN, tmp_path, kill_at=8)
    state, progress = Checkpoints(tmp_path, "run").load() or ({}, Progress())
    progress.elapsed_s = 120.0
    Checkpoints(tmp_path, "run").save(state, progress)
    reports: list[StepReport] = []
    result = train(
        fresh_model(), corpus, replace(OFTEN, max_minutes=1.0), tmp_path, reports=reports
    )
    [last] = reports
    assert last.step == progress.step + 1
    assert last.learning_rate == pytest.approx(LOWEST_RATE_SHARE * OFTEN.learning_rate)
    assert last.held_out_loss == result.held_out.nats_per_token


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_the_run_behind_a_step_and_nothing_is_lost(
    corpus: Corpus, tmp_path: Path, number: signal.Signals
):
    before = signal.getsignal(number)
    expected = losses_of(fresh_model(), corpus, PARAMS, tmp_path / "a")
    losses: dict[int, float] = {}

    def report(said: StepReport) -> None:
        losses[said.step] = said.loss
        if said.step == 5:
            signal.raise_signal(number)

    for is_second in (False, True):
        checkpoints = Checkpoints(tmp_path / "b", "run")
        training = Training(fresh_model(), corpus, PARAMS, checkpoints=checkpoints)
        if is_second:
            assert training.progress.step == 5
            training.run(report)
        else:
            with pytest.raises(StoppedError, match="stopped after step 5 of 13") as stopped:
                training.run(report)
            assert stopped.value.signal_number == number
        assert signal.getsignal(number) == before
    assert losses == expected


def test_wall_time_is_summed_over_the_parts_of_a_run(corpus: Corpus, tmp_path: Path):
    losses_of(fresh_model(), corpus, OFTEN, tmp_path, kill_at=8)
    state, progress = Checkpoints(tmp_path, "run").load() or ({}, Progress())
    assert 0 < progress.elapsed_s < 60
    progress.elapsed_s += 1000.0
    Checkpoints(tmp_path, "run").save(state, progress)
    result = train(fresh_model(), corpus, OFTEN, tmp_path)
    assert 1000 < result.progress.elapsed_s < 1120


def test_the_random_numbers_of_a_run_go_on_where_they_were(corpus: Corpus, tmp_path: Path):
    losses_of(fresh_model(), corpus, OFTEN, tmp_path, kill_at=3)
    expected = torch.rand(3)
    torch.rand(7)
    Training(fresh_model(), corpus, OFTEN, checkpoints=Checkpoints(tmp_path, "run"))
    assert torch.equal(torch.rand(3), expected)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "other": lambda path: path.write_bytes(b"not a checkpoint at all"),
    "list": lambda path: torch.save([1, 2], path),
    "keys": lambda path: torch.save({"model": {}}, path),
    "state": lambda path: torch.save({"run": "run", "state": {}, "progress": {}}, path),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_named_with_the_remedy(
    corpus: Corpus, tmp_path: Path, damage: Callable[[Path], object]
):
    losses_of(fresh_model(), corpus, OFTEN, tmp_path, kill_at=3)
    damage(tmp_path / checkpoint.CHECKPOINT_NAME)
    with pytest.raises(ModelError, match=r"cannot resume from .*checkpoint\.pt.* Remove it"):
        train(fresh_model(), corpus, OFTEN, tmp_path)


def test_a_checkpoint_of_another_model_is_refused(corpus: Corpus, tmp_path: Path):
    losses_of(fresh_model(), corpus, OFTEN, tmp_path, kill_at=3)
    other = ModelConfig(n_layer=1, n_head=2, n_embd=32, n_vocab=N_VOCAB, n_ctx=32)
    with pytest.raises(ModelError, match="cannot resume from"):
        train(fresh_model(config=other), corpus, OFTEN, tmp_path)


def test_a_checkpoint_that_was_being_written_does_not_replace_the_last_whole_one(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    losses_of(fresh_model(), corpus, OFTEN, tmp_path, kill_at=3)

    def killed(state: object, file: Any) -> None:
        file.write(b"half")
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed)
        with pytest.raises(KilledError):
            train(fresh_model(), corpus, OFTEN, tmp_path)
    assert min(losses_of(fresh_model(), corpus, OFTEN, tmp_path)) == 3


def test_a_run_that_goes_astray_ends_with_its_last_checkpoint_whole(corpus: Corpus, tmp_path: Path):
    with pytest.raises(EngineError, match=r"near step \d+: .*a lower --learning-rate"):
        train(fresh_model(), corpus, replace(OFTEN, learning_rate=1e36), tmp_path)
    state, progress = Checkpoints(tmp_path, "run").load() or ({}, Progress())
    assert progress.step > 0
    assert state["weights"]


def test_a_disk_that_refuses_a_checkpoint_is_told_in_a_sentence(corpus: Corpus, tmp_path: Path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ModelError, match=r"cannot write .*checkpoint\.pt"):
        train(fresh_model(), corpus, OFTEN, tmp_path / "file")

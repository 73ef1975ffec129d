"""Patience: a run that finds nothing better ends, and goes back to its best weights."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch

from engine.train.data import Corpus
from engine.train.finetune import StepReport
from tests.engine.training import (
    DOCUMENTS,
    PARAMS,
    KilledError,
    corpus_of,
    fresh_model,
    nats_of,
    train,
    weights_of,
)


def losing_corpus() -> Corpus:
    """What is learnt makes what is held out less likely."""
    train, held_out = corpus_of(["aaaa"] * 24).train, corpus_of(["bbbb"] * 24).held_out
    return Corpus(train, held_out, held_out_bytes=8)


LOSING = replace(PARAMS, epochs=20.0, learning_rate=1e-2, evaluate_every=2, patience=3)


def test_a_run_that_finds_nothing_better_ends_and_keeps_its_best_weights(tmp_path: Path):
    reports: list[StepReport] = []
    model = fresh_model()
    result = train(model, losing_corpus(), LOSING, tmp_path, reports=reports)
    looks = {said.step: said.held_out_loss for said in reports if said.held_out_loss is not None}
    best = min(looks, key=looks.__getitem__)
    assert result.stopped_early
    assert max(looks) == result.progress.step == best + 3 * 2 < 20 * 9
    assert result.progress.best_step == best
    assert result.held_out.nats_per_token == looks[best] == nats_of(model, losing_corpus())


@pytest.mark.parametrize("kill_at", [3, 5, 6, 7], ids=lambda step: f"at-{step}")
def test_patience_and_best_weights_survive_a_kill(tmp_path: Path, kill_at: int):
    whole, resumed = fresh_model(), fresh_model()
    expected = train(whole, losing_corpus(), LOSING, tmp_path / "a")
    with pytest.raises(KilledError):
        train(fresh_model(), losing_corpus(), LOSING, tmp_path / "b", kill_at=kill_at)
    result = train(resumed, losing_corpus(), LOSING, tmp_path / "b")
    assert replace(result.progress, elapsed_s=0.0) == replace(expected.progress, elapsed_s=0.0)
    assert result.held_out == expected.held_out
    for one, other in zip(weights_of(resumed), weights_of(whole), strict=True):
        assert torch.equal(one, other)
    kept = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert kept == [f"best-{result.progress.best_step}.pt", "checkpoint.pt"]


def test_of_weights_that_were_the_best_for_a_while_nothing_is_kept(tmp_path: Path):
    params = replace(PARAMS, epochs=4.0, learning_rate=5e-3, evaluate_every=5, patience=9)
    reports: list[StepReport] = []
    result = train(fresh_model(), corpus_of(DOCUMENTS), params, tmp_path, reports=reports)
    looks = [said.held_out_loss for said in reports if said.held_out_loss is not None]
    assert looks[0] > looks[1] > looks[2]
    kept = [path.name for path in tmp_path.glob("best-*")]
    assert kept == [f"best-{result.progress.best_step}.pt"]


def test_patience_that_comes_later_counts_from_where_it_comes(tmp_path: Path):
    # Without patience nothing keeps the best weights, so none can be gone back to.
    patient, impatient = LOSING, replace(LOSING, patience=None, save_every_s=0.0)
    with pytest.raises(KilledError):
        train(fresh_model(), losing_corpus(), impatient, tmp_path, kill_at=20)
    model, reports = fresh_model(), list[StepReport]()
    result = train(model, losing_corpus(), patient, tmp_path, reports=reports)
    looks = {said.step: said.held_out_loss for said in reports if said.held_out_loss is not None}
    assert min(looks) == result.progress.best_step == 20
    assert result.progress.step == 20 + 3 * 2
    assert result.held_out.nats_per_token == looks[20] == nats_of(model, losing_corpus())


def test_a_run_that_has_ended_keeps_its_weights_whatever_patience_comes_later(tmp_path: Path):
    impatient = replace(LOSING, epochs=2.0, patience=None)
    whole, again = fresh_model(), fresh_model()
    expected = train(whole, losing_corpus(), impatient, tmp_path)
    assert train(again, losing_corpus(), replace(impatient, patience=1), tmp_path) == replace(
        expected, progress=ANY
    )
    for one, other in zip(weights_of(again), weights_of(whole), strict=True):
        assert torch.equal(one, other)

"""The training loop: it learns, it looks, it knows when to end."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.model import GPT2
from engine.train.data import Corpus, Stream
from engine.train.finetune import StepReport
from engine.train.loss import held_out_loss
from engine.weights import load_model, save_model
from tests.engine.models import CPU
from tests.engine.support import N_VOCAB
from tests.engine.training import (
    DOCUMENTS,
    PARAMS,
    SMALL,
    corpus_of,
    fresh_model,
    losses_of,
    nats_of,
    train,
    weights_of,
)


@pytest.fixture
def corpus() -> Corpus:
    return corpus_of(DOCUMENTS)


def test_one_batch_is_learnt_to_near_nothing(tmp_path: Path):
    corpus = corpus_of(DOCUMENTS[:2])
    params = replace(PARAMS, epochs=80.0, batch_size=3, learning_rate=1e-2, weight_decay=0.0)
    params = replace(params, evaluate_every=1000)
    losses = losses_of(fresh_model(), corpus, params, tmp_path)
    assert losses[1] == pytest.approx(math.log(N_VOCAB), rel=0.05)
    assert min(losses.values()) < 0.02


def test_training_makes_the_held_out_documents_likelier(corpus: Corpus, tmp_path: Path):
    model = fresh_model()
    before = nats_of(model, corpus)
    result = train(model, corpus, replace(PARAMS, epochs=4.0, learning_rate=5e-3), tmp_path)
    assert before == pytest.approx(math.log(N_VOCAB), rel=0.05)
    assert result.held_out.nats_per_token < 0.7 * before
    assert result.held_out.nats_per_token == nats_of(model, corpus)


def test_the_held_out_loss_of_a_model_that_knows_nothing_is_that_of_a_uniform_one(corpus: Corpus):
    model = GPT2(SMALL)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    loss = held_out_loss(corpus, nats_of(model, corpus))
    assert loss.nats_per_token == pytest.approx(math.log(N_VOCAB), rel=1e-5)
    bits = math.log2(N_VOCAB) * corpus.held_out.num_targets / corpus.held_out_bytes
    assert loss.bits_per_byte == pytest.approx(bits, rel=1e-5)


def test_what_is_held_out_never_changes_what_is_learnt(corpus: Corpus, tmp_path: Path):
    zeros = Stream(torch.zeros(500, dtype=torch.int32), torch.ones(500, dtype=torch.bool))
    other = replace(corpus, held_out=zeros, held_out_bytes=500)
    losses = [
        losses_of(fresh_model(), each, PARAMS, tmp_path / str(n))
        for n, each in enumerate((corpus, other))
    ]
    assert losses[0] == losses[1]


def test_a_model_from_a_folder_learns_as_the_same_numbers_in_memory_do(
    corpus: Corpus, vocabulary: Path, tmp_path: Path
):
    # A folder stores linear weights the other way round, so they come with other strides.
    save_model(fresh_model(), vocabulary, tmp_path / "start", dtype=torch.float32)
    loaded = load_model(tmp_path / "start", device=CPU, dtype=torch.float32).requires_grad_()
    losses = [
        losses_of(model, corpus, PARAMS, tmp_path / str(n))
        for n, model in enumerate((fresh_model(), loaded))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_small_batches_accumulated_learn_as_one_large_batch_does(corpus: Corpus, tmp_path: Path):
    shapes = {"large": (4, 1), "small": (2, 2), "single": (1, 4)}
    losses = [
        losses_of(
            fresh_model(),
            corpus,
            replace(PARAMS, batch_size=batch_size, accumulate=accumulate),
            tmp_path / name,
        )
        for name, (batch_size, accumulate) in shapes.items()
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] == pytest.approx(losses[2], rel=1e-4)


def test_padding_moves_no_weight(tmp_path: Path):
    ids = torch.arange(1, 13, dtype=torch.int32)  # blocks of 8 and of 3 tokens
    stream = Stream(ids, torch.ones(12, dtype=torch.bool))
    corpus = Corpus(train=stream, held_out=stream, held_out_bytes=5)
    padded, bare = fresh_model(), fresh_model()
    params = replace(PARAMS, block_tokens=8, epochs=3.0)
    losses = [
        losses_of(padded, corpus, replace(params, batch_size=2), tmp_path / "a"),
        losses_of(bare, corpus, replace(params, batch_size=1, accumulate=2), tmp_path / "b"),
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(weights_of(padded), weights_of(bare), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_prompt_is_read_and_never_learnt(tmp_path: Path):
    # Every answer is "b"; a prompt that were learnt would make "a" as likely.
    corpus = corpus_of(["bbbb"] * 12, prompt="aaaaaaaa")
    model = fresh_model()
    params = replace(PARAMS, epochs=12.0, learning_rate=1e-2, weight_decay=0.0)
    losses = losses_of(model, corpus, params, tmp_path)
    # A mean over what is learnt: that of prompts too would begin at less than half of this.
    assert losses[1] == pytest.approx(math.log(N_VOCAB), rel=0.05)
    assert min(losses.values()) < 0.6
    with torch.no_grad():
        behind_a = model.logits(model(torch.tensor([[256, ord("a")]])))[0, -1].softmax(-1)
    assert behind_a[ord("a")] < 0.1


def test_a_time_limit_ends_the_run_and_the_last_step_is_looked_at(corpus: Corpus, tmp_path: Path):
    params = replace(PARAMS, epochs=1e6, max_minutes=0.3 / 60)
    reports: list[StepReport] = []
    result = train(fresh_model(), corpus, params, tmp_path, reports=reports)
    assert 1 <= result.progress.step < 1e4
    assert reports[-1].held_out_loss == result.held_out.nats_per_token


def test_the_learning_rate_rises_and_falls_as_described(corpus: Corpus, tmp_path: Path):
    reports: list[StepReport] = []
    train(fresh_model(), corpus, replace(PARAMS, warmup_steps=4), tmp_path, reports=reports)
    rates = [said.learning_rate for said in reports]
    peak = rates.index(max(rates))
    assert rates[:3] == sorted(rates[:3])
    assert peak in (3, 4)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) <= PARAMS.learning_rate
    assert min(rates) > 0


@pytest.mark.parametrize(("every", "looks"), [(None, [13, 26]), (10, [10, 20, 26])], ids=str)
def test_the_held_out_text_is_looked_at_when_asked_or_once_an_epoch(
    corpus: Corpus, tmp_path: Path, every: int | None, looks: list[int]
):
    reports: list[StepReport] = []
    params = replace(PARAMS, epochs=2.0, evaluate_every=every)
    train(fresh_model(), corpus, params, tmp_path, reports=reports)
    assert [said.step for said in reports if said.held_out_loss is not None] == looks

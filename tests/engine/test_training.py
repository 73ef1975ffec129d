"""The training loop: it learns, it looks, it knows when to end, and it goes on where it stopped."""

import math
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
from engine.train.data import Corpus, Stream
from engine.train.finetune import StepReport, StoppedError, Training
from engine.train.loss import held_out_loss
from engine.train.params import LOWEST_RATE_SHARE
from engine.weights import load_model, save_model
from tests.engine.models import CPU
from tests.engine.support import N_VOCAB
from tests.engine.training import (
    DOCUMENTS,
    PARAMS,
    SMALL,
    KilledError,
    corpus_of,
    fresh_model,
    losses_of,
    nats_of,
    train,
    weights_of,
)

OFTEN = replace(PARAMS, epochs=2.0, save_every_s=0.0)


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

"""The training loop: it learns, and it goes on where it was stopped."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.config import ModelConfig
from engine.errors import ModelError
from engine.model import GPT2
from engine.train import checkpoint
from engine.train.data import Corpus, build_corpus
from engine.train.finetune import TrainingParams, evaluate, train
from engine.weights import load_model, save_model
from tests.engine.models import CPU
from tests.engine.support import N_VOCAB, byte_tokenizer

SMALL = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_vocab=N_VOCAB, n_ctx=32)
DOCUMENTS = [f"{n} green bottles hanging on the wall" for n in range(24)]
PARAMS = TrainingParams(
    epochs=1.0, batch_size=4, block_tokens=16, learning_rate=1e-3, warmup_steps=2, save_every_s=1e9
)


class StoppedError(Exception):
    """A run that was killed, as far as a test can be killed."""


def fresh_model(seed: int = 0) -> GPT2:
    model = GPT2(SMALL)
    model.initialise(torch.Generator().manual_seed(seed))
    return model


@pytest.fixture
def corpus() -> Corpus:
    return build_corpus(DOCUMENTS, byte_tokenizer(), held_out_share=0.1, seed=0)


def losses_of(
    model: GPT2,
    corpus: Corpus,
    params: TrainingParams,
    folder: Path,
    *,
    stop_at: int | None = None,
) -> dict[int, float]:
    losses: dict[int, float] = {}

    def report(step: int, loss: float) -> None:
        if step == stop_at:
            raise StoppedError
        assert step not in losses
        losses[step] = loss

    if stop_at is None:
        train(model, corpus, params, checkpoints=folder, run="run", report=report)
    else:
        with pytest.raises(StoppedError):
            train(model, corpus, params, checkpoints=folder, run="run", report=report)
    return losses


def test_one_batch_is_learnt_to_near_nothing(tmp_path: Path):
    corpus = build_corpus(DOCUMENTS[:2], byte_tokenizer(), held_out_share=0.1, seed=0)
    params = replace(PARAMS, epochs=120.0, batch_size=3, learning_rate=1e-2, weight_decay=0.0)
    losses = losses_of(fresh_model(), corpus, params, tmp_path)
    assert losses[1] == pytest.approx(math.log(N_VOCAB), rel=0.05)
    assert min(losses.values()) < 0.02


def test_training_makes_the_held_out_documents_likelier(corpus: Corpus, tmp_path: Path):
    model = fresh_model()
    before = evaluate(model, corpus, 16)
    params = replace(PARAMS, epochs=4.0, learning_rate=5e-3)
    ignore = lambda step, loss: None  # noqa: E731
    after = train(model, corpus, params, checkpoints=tmp_path, run="run", report=ignore)
    assert before.nats_per_token == pytest.approx(math.log(N_VOCAB), rel=0.05)
    assert after.nats_per_token < 0.7 * before.nats_per_token
    assert after == evaluate(model, corpus, 16)


def test_the_held_out_loss_of_a_model_that_knows_nothing_is_that_of_a_uniform_one(corpus: Corpus):
    model = GPT2(SMALL)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    loss = evaluate(model, corpus, 16)
    num_targets = len(corpus.held_out) - 1
    assert loss.nats_per_token == pytest.approx(math.log(N_VOCAB), rel=1e-5)
    bits = math.log2(N_VOCAB) * num_targets / corpus.held_out_bytes
    assert loss.bits_per_byte == pytest.approx(bits, rel=1e-5)


def test_what_is_held_out_never_changes_what_is_learnt(corpus: Corpus, tmp_path: Path):
    other = replace(corpus, held_out=torch.zeros(500, dtype=torch.int32), held_out_bytes=500)
    losses = [
        losses_of(fresh_model(), each, PARAMS, tmp_path / str(n))
        for n, each in enumerate((corpus, other))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("loaded", [False, True], ids=["fresh", "from-a-folder"])
def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(
    corpus: Corpus, vocabulary: Path, tmp_path: Path, loaded: bool
):
    save_model(fresh_model(), vocabulary, tmp_path / "start", dtype=torch.float32)

    def start() -> GPT2:
        if loaded:
            model = load_model(tmp_path / "start", device=CPU, dtype=torch.float32)
            return model.requires_grad_()
        return fresh_model()

    params = replace(PARAMS, epochs=2.0, save_every_s=0.0)
    expected_model, model = start(), start()
    expected = losses_of(expected_model, corpus, params, tmp_path / "a")
    assert len(expected) > 20
    first = losses_of(start(), corpus, params, tmp_path / "b", stop_at=8)
    second = losses_of(start(), corpus, params, tmp_path / "b", stop_at=15)
    third = losses_of(model, corpus, params, tmp_path / "b")
    assert list(first) == list(range(1, 8))
    assert list(second) == list(range(8, 15))
    assert first | second | third == pytest.approx(expected, rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, dict(expected_model.named_parameters())[name])


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
    corpus = Corpus(
        train=torch.arange(1, 13, dtype=torch.int32),  # blocks of 8 and of 3 tokens
        held_out=torch.arange(5, dtype=torch.int32),
        held_out_bytes=5,
    )
    padded, bare = fresh_model(), fresh_model()
    params = replace(PARAMS, block_tokens=8, epochs=3.0)
    losses = [
        losses_of(padded, corpus, replace(params, batch_size=2), tmp_path / "a"),
        losses_of(bare, corpus, replace(params, batch_size=1, accumulate=2), tmp_path / "b"),
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for one, other in zip(padded.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_time_limit_ends_the_run(corpus: Corpus, tmp_path: Path):
    params = replace(PARAMS, epochs=1e6, max_minutes=0.5 / 60)
    losses = losses_of(fresh_model(), corpus, params, tmp_path)
    assert 1 <= len(losses) < 1e4


def test_the_learning_rate_rises_and_falls_as_described(corpus: Corpus, tmp_path: Path):
    rates: list[float] = []
    model = fresh_model()
    step = torch.optim.AdamW.step

    class Watching(torch.optim.AdamW):
        def step(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])
            return step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Watching)
        losses_of(model, corpus, replace(PARAMS, warmup_steps=4), tmp_path)
    peak = rates.index(max(rates))
    assert rates[:3] == sorted(rates[:3])
    assert peak in (3, 4)
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) <= PARAMS.learning_rate
    assert min(rates) > 0


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "empty": lambda path: path.write_bytes(b""),
    "other": lambda path: path.write_bytes(b"not a checkpoint at all"),
    "list": lambda path: torch.save([1, 2], path),
    "keys": lambda path: torch.save({"model": {}}, path),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_named_with_the_remedy(
    corpus: Corpus, tmp_path: Path, damage: Callable[[Path], object]
):
    params = replace(PARAMS, save_every_s=0.0)
    losses_of(fresh_model(), corpus, params, tmp_path, stop_at=3)
    damage(tmp_path / checkpoint.CHECKPOINT_NAME)
    with pytest.raises(ModelError, match=r"cannot resume from .*checkpoint\.pt.* Remove it"):
        losses_of(fresh_model(), corpus, params, tmp_path)


def test_a_checkpoint_of_another_model_is_refused(corpus: Corpus, tmp_path: Path):
    params = replace(PARAMS, save_every_s=0.0)
    losses_of(fresh_model(), corpus, params, tmp_path, stop_at=3)
    other = GPT2(ModelConfig(n_layer=1, n_head=2, n_embd=32, n_vocab=N_VOCAB, n_ctx=32))
    with pytest.raises(ModelError, match="cannot resume from"):
        losses_of(other, corpus, params, tmp_path)


def test_a_checkpoint_that_was_being_written_does_not_replace_the_last_whole_one(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    params = replace(PARAMS, save_every_s=0.0)
    losses_of(fresh_model(), corpus, params, tmp_path, stop_at=3)

    def killed(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed)
        with pytest.raises(StoppedError):
            losses_of(fresh_model(), corpus, params, tmp_path)
    rest = losses_of(fresh_model(), corpus, params, tmp_path)
    assert min(rest) == 3

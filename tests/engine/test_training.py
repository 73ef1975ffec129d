"""The training loop: it learns, it goes on where it was stopped, and its folder can be run."""

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
from engine.config import ModelConfig
from engine.errors import ModelError
from engine.loading import load_engine
from engine.model import GPT2
from engine.train import checkpoint
from engine.train import command as finetune_command
from engine.train.data import Corpus, build_corpus
from engine.train.finetune import HeldOutLoss, TrainingParams, evaluate, train
from engine.weights import load_model, save_model
from tests.engine.models import CPU, make_model
from tests.engine.support import N_VOCAB, byte_tokenizer, make_params

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
    assert [int(step) for step, _ in rows] == list(range(1, len(rows) + 1))
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

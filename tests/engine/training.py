"""What the tests of training share: a model that learns fast, a text, and runs of it."""

from pathlib import Path

import torch

from engine.config import ModelConfig
from engine.model import GPT2
from engine.train.checkpoint import Checkpoints
from engine.train.data import Corpus, build_corpus
from engine.train.distributed import World
from engine.train.documents import Document
from engine.train.finetune import Result, StepReport, Training
from engine.train.loss import held_out_nats
from engine.train.params import TrainingParams
from tests.engine.models import CPU
from tests.engine.support import N_VOCAB, byte_tokenizer

SMALL = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_vocab=N_VOCAB, n_ctx=32)
DOCUMENTS = [f"{n} green bottles hanging on the wall" for n in range(24)]
PARAMS = TrainingParams(
    epochs=1.0, batch_size=4, block_tokens=16, learning_rate=1e-3, warmup_steps=2, save_every_s=1e9
)


class KilledError(Exception):
    """A run that was killed, as far as a test within the process can kill it."""


def fresh_model(seed: int = 0, config: ModelConfig = SMALL) -> GPT2:
    model = GPT2(config)
    model.initialise(torch.Generator().manual_seed(seed))
    return model


def corpus_of(
    texts: list[str], *, held_out_share: float = 0.1, seed: int = 0, prompt: str = ""
) -> Corpus:
    documents = [Document(text, prompt) for text in texts]
    return build_corpus(documents, byte_tokenizer(), held_out_share=held_out_share, seed=seed)


def train(
    model: GPT2,
    corpus: Corpus,
    params: TrainingParams,
    folder: Path,
    *,
    reports: list[StepReport] | None = None,
    kill_at: int | None = None,
) -> Result:
    """Run, or go on with, the run that is kept in a folder; `reports` gets what it reports.

    Raises:
        KilledError: the step `kill_at` was taken; nobody has heard of it.
    """

    def report(said: StepReport) -> None:
        if said.step == kill_at:
            raise KilledError
        if reports is not None:
            reports.append(said)

    return Training(model, corpus, params, checkpoints=Checkpoints(folder, "run")).run(report)


def losses_of(
    model: GPT2, corpus: Corpus, params: TrainingParams, folder: Path, *, kill_at: int | None = None
) -> dict[int, float]:
    """Return the loss of every step that was reported, by its number."""
    reports: list[StepReport] = []
    try:
        train(model, corpus, params, folder, reports=reports, kill_at=kill_at)
    except KilledError:
        assert kill_at is not None
    losses = {said.step: said.loss for said in reports}
    assert len(losses) == len(reports)
    return losses


def nats_of(model: GPT2, corpus: Corpus) -> float:
    return held_out_nats(model, corpus, 16, World(CPU))


def weights_of(model: GPT2) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]

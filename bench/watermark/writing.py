"""Owns the texts that a model writes to be measured, and where they are kept between runs.

No text ends before its length: end-of-text is not among the tokens that can be drawn, here and in
the peers alike. Texts are written in batches, each with a key of its own.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch

from bench.watermark import human
from codec.bpe import Tokenizer
from engine.config import RELEASED_SHAPES
from engine.model import GPT2
from engine.model_runner import TorchModelRunner
from engine.scheduler import Scheduler
from engine.sequence import Sequence as EngineSequence
from engine.watermark import CONTEXT_TOKENS, WatermarkKey
from engine.weights import load_model
from wire.jobs import SamplingParams

ROWS = 32
DEMO = Path(__file__).resolve().parents[2] / "models" / "demo"
NO_TOKEN = -1
UNMARKED_SEEDS = 1_000_000
"""From where on the seeds of unmarked texts are, so that they share none with the marked."""

Ids = list[int]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured.

    Attributes:
        name: for tables and folders.
        model: for inference, on the CPU.
        tokenizer: of the model.
    """

    name: str
    model: GPT2
    tokenizer: Tokenizer


@dataclass(frozen=True, slots=True)
class Manner:
    """How texts are written.

    Attributes:
        name: of the folder that they are kept in, with h and the length.
        tokens: of every text.
        marked: whether with a key.
        temperature: of the sampling; all else is as a job has it that names nothing.
        context_tokens: h, how many tokens key a draw.
    """

    name: str
    tokens: int
    marked: bool = True
    temperature: float = 1.0
    context_tokens: int = CONTEXT_TOKENS

    @property
    def folder(self) -> str:
        """Return the name of the folder that the texts are kept in."""
        mark = f"h{self.context_tokens}" if self.marked else "plain"
        return f"{self.name}-{mark}-{self.tokens}"


def demo() -> Subject:
    """Return the model that comes with Ovid."""
    model = load_model(DEMO, device=torch.device("cpu"), dtype=torch.float32)
    return Subject("demo", model, Tokenizer.from_folder(DEMO))


def random_124m() -> Subject:
    """Return GPT-2 124M's shape with fresh weights, and the vocabulary of the released ones."""
    model = GPT2(RELEASED_SHAPES["124M"])
    model.initialise(torch.Generator().manual_seed(0))
    model.requires_grad_(requires_grad=False).eval()
    return Subject("124M-random", model, Tokenizer.from_folder(human.VOCABULARY))


def key_of(place: int) -> WatermarkKey:
    """Return the key that marks the text at a place: one for each batch."""
    return make_key(f"batch {place // ROWS}")


def make_key(name: str) -> WatermarkKey:
    """Return a key that is always the same for a name."""
    return WatermarkKey(hashlib.blake2b(name.encode(), digest_size=32).digest())


class Shelf:
    """Keep written texts, a file for each batch.

    Args:
        folder: made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def texts(self, name: str, count: int, write: Callable[[int], list[Ids]]) -> list[Ids]:
        """Return so many texts, written now where they are not there.

        Args:
            name: of the texts' folder.
            count: a multiple of `ROWS`.
            write: returns the `ROWS` texts of a batch.
        """
        return [ids for batch in range(count // ROWS) for ids in self._batch(name, batch, write)]

    def _batch(self, name: str, batch: int, write: Callable[[int], list[Ids]]) -> list[Ids]:
        path = self._folder / name / f"{batch}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(write(batch)), encoding="ascii")
            partial.rename(path)
        texts: list[Ids] = json.loads(path.read_text(encoding="ascii"))
        return texts


def written(shelf: Shelf, subject: Subject, manner: Manner, count: int) -> list[Ids]:
    """Return the ids of so many texts, each behind a prompt of its own, without the prompt."""
    prompts = human.prompts(subject.tokenizer, count)

    def write(batch: int) -> list[Ids]:
        return _write(subject, manner, prompts[batch * ROWS : (batch + 1) * ROWS], batch * ROWS)

    return shelf.texts(f"{subject.name}/{manner.folder}", count, write)


@contextmanager
def context_tokens(count: int) -> Iterator[None]:
    """Have the engine mark and look for contexts of another length, for the while."""
    with (
        patch("engine.watermark.CONTEXT_TOKENS", count),
        patch("engine.model_runner.CONTEXT_TOKENS", count),
    ):
        yield


def _write(subject: Subject, manner: Manner, prompts: Sequence[Ids], place: int) -> list[Ids]:
    runner = TorchModelRunner(
        subject.model,
        num_slots=len(prompts),
        n_vocab=subject.tokenizer.eot,
        watermark=key_of(place) if manner.marked else None,
    )
    scheduler = Scheduler(
        num_slots=len(prompts), prefill_tokens=1024, max_waiting=len(prompts), eot=NO_TOKEN
    )
    first_seed = place if manner.marked else UNMARKED_SEEDS + place
    sequences = [
        EngineSequence(
            list(prompt),
            SamplingParams(max_tokens=manner.tokens, temperature=manner.temperature, seed=seed),
        )
        for seed, prompt in enumerate(prompts, first_seed)
    ]
    for sequence in sequences:
        scheduler.add(sequence)
    with context_tokens(manner.context_tokens):
        while scheduler.has_work:
            plan = scheduler.schedule()
            scheduler.postprocess(plan, runner.run(plan).drawn)
    return [sequence.token_ids[human.PROMPT_TOKENS :] for sequence in sequences]

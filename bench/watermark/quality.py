"""Measures what a mark does to texts: how likely the model itself holds them, how they repeat.

Lossless is ours over keys: with one key, texts of one context draw alike. So the marked texts have
as many keys as there are batches, and 64 subkeys of each.

Legend: B rows, T tokens, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench.watermark import human
from bench.watermark.figures import Mean, distinct, repetition
from bench.watermark.plan import TARGET_LENGTH
from bench.watermark.writing import ROWS, Ids, Subject
from wire.jobs import SamplingParams

TEXT_MEASURES: dict[str, Callable[[Sequence[int]], float]] = {
    "distinct-1": lambda ids: distinct(ids, 1),
    "distinct-2": lambda ids: distinct(ids, 2),
    "distinct-3": lambda ids: distinct(ids, 3),
    "repeated 4-grams": repetition,
}
LIKELIHOOD = "log-likelihood, nats a token"


@dataclass(frozen=True, slots=True)
class Quality:
    """Texts beside unmarked ones.

    Attributes:
        means: of the texts, by measure.
        differences: of each text from the unmarked one with the same prompt.
    """

    means: dict[str, Mean]
    differences: dict[str, Mean]


@dataclass(frozen=True, slots=True)
class Read:
    """What the model says of a text.

    Attributes:
        nats: mean log-likelihood of a token, by the whole distribution.
        entropy: mean entropy of what was sampled from, in nats: the model's top 40.
    """

    nats: float
    entropy: float


def read(subject: Subject, texts: Sequence[Ids], temperature: float = 1.0) -> list[Read]:
    """Return what the model says of texts, each behind its prompt.

    Args:
        subject: the model that wrote them.
        texts: of which the first 200 tokens are read.
        temperature: at which they were sampled; it counts for the entropy only.
    """
    prompts = human.prompts(subject.tokenizer, len(texts))
    results: list[Read] = []
    for start in range(0, len(texts), ROWS):
        batch = slice(start, start + ROWS)
        rows = [
            prompt + ids[:TARGET_LENGTH]
            for prompt, ids in zip(prompts[batch], texts[batch], strict=True)
        ]
        results += _read(subject, torch.tensor(rows), temperature)
    return results


def measures(reads: Sequence[Read], texts: Sequence[Ids]) -> dict[str, list[float]]:
    """Return every measure of every text, of its first 200 tokens."""
    cut = [ids[:TARGET_LENGTH] for ids in texts]
    return {LIKELIHOOD: [each.nats for each in reads]} | {
        name: [measure(ids) for ids in cut] for name, measure in TEXT_MEASURES.items()
    }


def compare(
    marked: dict[str, list[float]], unmarked: dict[str, list[float]], resamples: int
) -> Quality:
    """Return means, and the differences of texts with the same prompt."""
    differences = {
        name: [a - b for a, b in zip(values, unmarked[name], strict=False)]
        for name, values in marked.items()
    }
    return Quality(
        means={name: Mean.of(values, resamples=resamples) for name, values in marked.items()},
        differences={
            name: Mean.of(values, resamples=resamples) for name, values in differences.items()
        },
    )


@torch.inference_mode()
def _read(subject: Subject, rows: torch.Tensor, temperature: float) -> list[Read]:
    results = []
    # A row at a time: logits of a whole batch would be hundreds of megabytes.
    for row in rows:
        hidden = subject.model(row[None, :-1])[0, human.PROMPT_TOKENS - 1 :]  # (T, C)
        logits = subject.model.logits(hidden)[:, : subject.tokenizer.eot]  # (T, V)
        expected = row[human.PROMPT_TOKENS :, None]
        nats = logits.log_softmax(-1).gather(1, expected).mean()
        kept = (logits.topk(SamplingParams().top_k).values / temperature).log_softmax(-1)  # (T, k)
        results.append(Read(float(nats), float(-(kept.exp() * kept).sum(-1).mean())))
    return results

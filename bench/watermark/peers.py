"""Owns the two marks of `transformers` that ours stands beside: how they write, what they find.

Both write with `GPT2LMHeadModel.generate` on the demo model, with the settings of a job that names
nothing. Both are judged by their own scores, and by what these are worth where nothing is marked.
"""

import random
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, cast

import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor
from transformers import (
    GPT2LMHeadModel,
    SynthIDTextWatermarkingConfig,
    SynthIDTextWatermarkLogitsProcessor,
    WatermarkingConfig,
    WatermarkLogitsProcessor,
)

from bench.watermark import human
from bench.watermark.figures import ngrams
from bench.watermark.plan import LENGTHS
from bench.watermark.writing import DEMO, ROWS, Ids, Shelf, Subject
from wire.jobs import SamplingParams

CPU = torch.device("cpu")
GREEN_SHARE = 0.25
BIAS = 2.0
NGRAM_TOKENS = 5
DEPTH = 30


class Peer(Protocol):
    """A mark that another library puts into texts."""

    name: str

    def config(self, batch: int) -> WatermarkingConfig | SynthIDTextWatermarkingConfig:
        """Return what `generate` is given for a batch; each batch has a key of its own."""
        ...

    def p_value(self, ids: Ids, batch: int) -> float:
        """Return how likely an unmarked text scores as high with a batch's key."""
        ...


class Kirchenbauer:
    """Green tokens are preferred: the last token says which a quarter of the vocabulary is.

    Source: Kirchenbauer et al. 2023, "A Watermark for Large Language Models", algorithm 2; z-test
    of section 2, here with the exact law of its count. Every pair of tokens counts once.
    """

    name = "Kirchenbauer"

    def __init__(self, n_vocab: int) -> None:
        self._n_vocab = n_vocab

    def config(self, batch: int) -> WatermarkingConfig:
        """Return the defaults of the library, but for the key."""
        key = random.Random(batch).randrange(10**7, 10**8)
        return WatermarkingConfig(greenlist_ratio=GREEN_SHARE, bias=BIAS, hashing_key=key)

    def p_value(self, ids: Ids, batch: int) -> float:
        """Return the tail of the binomial law from the count of green tokens on."""
        scored, green = self.counts(ids, batch)
        return float(stats.binom.sf(green - 1, scored, GREEN_SHARE)) if scored else 1.0

    def counts(self, ids: Ids, batch: int) -> tuple[int, int]:
        """Return what `WatermarkDetector` counts: different pairs of tokens, and the green ones."""
        pairs = set(pairwise(ids))
        return len(pairs), sum(bool(self._green(batch, a)[b]) for a, b in pairs)

    @cache  # noqa: B019 - there is one of these for as long as the program runs
    def _processor(self, batch: int) -> WatermarkLogitsProcessor:
        processor: WatermarkLogitsProcessor = self.config(batch).construct_processor(
            self._n_vocab, CPU
        )
        return processor

    @cache  # noqa: B019
    def _green(self, batch: int, token: int) -> Tensor:
        scores = torch.zeros(1, self._n_vocab)
        preferred: Tensor = self._processor(batch)(torch.tensor([[token]]), scores)[0] > 0
        return preferred


class SynthID:
    """Tournaments between candidates, decided by bits that the last four tokens key.

    Source: Dathathri et al. 2024, "Scalable watermarking for identifying large language model
    outputs", Nature 634: two candidates a round, 30 rounds, and the weighted mean score, which
    needs no training; its law without the mark is taken as normal.
    """

    name = "SynthID"

    def config(self, batch: int) -> SynthIDTextWatermarkingConfig:
        """Return as many keys as the paper has, and the defaults of the library."""
        keys = random.Random(batch).sample(range(1, 1000), DEPTH)
        return KeptConfig(ngram_len=NGRAM_TOKENS, keys=keys)

    def p_value(self, ids: Ids, batch: int) -> float:
        """Return the normal tail from the weighted mean of the bits on."""
        if len(ids) < NGRAM_TOKENS:
            return 1.0
        row = cast("torch.LongTensor", torch.tensor([ids]))
        processor = self._processor(batch)
        bits = processor.compute_g_values(row)[0].double()  # (n, depth)
        bits = bits[new_contexts(ids)]
        weights = torch.linspace(10, 1, DEPTH, dtype=torch.float64)
        deviation = (len(bits) * weights.square().sum() / 4).sqrt()
        return float(stats.norm.sf(float((bits - 0.5).matmul(weights).sum() / deviation)))

    @cache  # noqa: B019
    def _processor(self, batch: int) -> SynthIDTextWatermarkLogitsProcessor:
        # The library says that it returns the other peer's.
        return cast("KeptProcessor", self.config(batch).construct_processor(0, CPU))


def new_contexts(ids: Ids) -> list[bool]:
    """Return for each n-gram whether its context is new, as the library's mask has it, but fast."""
    contexts = [gram[:-1] for gram in ngrams(ids, NGRAM_TOKENS)]
    first = {context: place for place, context in reversed(list(enumerate(contexts)))}
    return [first[context] == place for place, context in enumerate(contexts)]


class KeptProcessor(SynthIDTextWatermarkLogitsProcessor):
    """The library's processor, which asks about no token that top-k has left out.

    Over the whole vocabulary it takes twenty times as long as the model, for the same draws.
    """

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Change a step's scores `(B, V)`."""
        # Twice as many, since tokens as likely as the last one are kept as well.
        kept = scores.topk(2 * SamplingParams().top_k).indices  # (B, k)
        self._kept = cast("torch.LongTensor", kept)
        changed: Tensor = super().__call__(input_ids, scores)
        return changed

    def _compute_keys(
        self, n_minus_1_grams: torch.LongTensor, indices: torch.LongTensor
    ) -> tuple[torch.LongTensor, torch.LongTensor]:
        assert len(indices) == len(self._kept)
        return super()._compute_keys(n_minus_1_grams, self._kept)

    def update_scores(self, scores: Tensor, g_values: Tensor) -> Tensor:
        """Return the scores `(B, V)` after the tournaments of the tokens that were kept."""
        changed = super().update_scores(scores.gather(1, self._kept), g_values)
        lowest = torch.full_like(scores, torch.finfo(scores.dtype).min)
        return lowest.scatter(1, self._kept, changed)


class KeptConfig(SynthIDTextWatermarkingConfig):
    """The library's settings, with the processor above."""

    def construct_processor(self, vocab_size: Any, device: Any = CPU) -> Any:
        """Return what `generate` asks for, a `KeptProcessor`; the library names another type."""
        del vocab_size
        return KeptProcessor(
            ngram_len=self.ngram_len,
            keys=self.keys,
            sampling_table_size=self.sampling_table_size,
            sampling_table_seed=self.sampling_table_seed,
            context_history_size=self.context_history_size,
            device=device,
        )


def written_by(peer: Peer, shelf: Shelf, subject: Subject, count: int) -> list[Ids]:
    """Return the ids of so many marked texts of the demo model, without their prompts."""
    prompts = human.prompts(subject.tokenizer, count)
    tokens, eot = max(LENGTHS), subject.tokenizer.eot

    @cache
    def model() -> Any:
        return GPT2LMHeadModel.from_pretrained(DEMO, dtype=torch.float32)

    def write(batch: int) -> list[Ids]:
        ids = torch.tensor(prompts[batch * ROWS : (batch + 1) * ROWS])
        torch.manual_seed(batch)
        with torch.inference_mode():
            both = model().generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=SamplingParams().top_k,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                suppress_tokens=[eot],
                pad_token_id=eot,
                watermarking_config=peer.config(batch),
            )
        rows: list[Ids] = both[:, ids.shape[1] :].tolist()
        return rows

    return shelf.texts(f"{subject.name}/{peer.name}-{tokens}", count, write)

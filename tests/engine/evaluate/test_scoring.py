"""Running a model over requests: batching changes nothing, memory that ends changes the batch."""

import math

import pytest
import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.evaluate import scoring
from engine.evaluate.scoring import Scorer, fitting_batch_size
from engine.evaluate.task import Request, Scores
from engine.kv_cache import CacheView
from engine.model import GPT2
from tests.engine.evaluate.reference import SlowModel
from tests.engine.models import CPU, TINY, make_model, random_ids


def ragged(lengths: list[int]) -> list[Request]:
    """Requests of many lengths, each scored from a place of its own."""
    requests = []
    for index, length in enumerate(lengths):
        ids = random_ids(1, length, seed=index)[0]
        requests.append(Request(ids, first=1 + index % (length - 1)))
    return requests


REQUESTS = ragged([9, 65, 2, 30, 31, 17, 2, 50])


class SmallMemory(GPT2):
    """A model on a device that holds no more than so many rows."""

    rows = 3
    seen: list[int]

    def forward(self, ids: Tensor, cache: CacheView | None = None) -> Tensor:
        self.seen.append(len(ids))
        if len(ids) > self.rows:
            raise torch.OutOfMemoryError
        return super().forward(ids, cache)


def small_memory(rows: int) -> SmallMemory:
    model = SmallMemory(TINY).eval()
    model.load_state_dict(make_model().state_dict())
    model.rows, model.seen = rows, []
    return model


def same(left: list[Scores], right: list[Scores]) -> bool:
    return all(
        torch.allclose(a.log_probs, b.log_probs, atol=1e-5)
        and torch.equal(a.is_best, b.is_best)
        and torch.equal(a.is_best_allowed, b.is_best_allowed)
        for a, b in zip(left, right, strict=True)
    )


def test_scores_are_those_of_one_token_at_a_time(model: GPT2, slow: SlowModel):
    scores = Scorer(model, batch_size=4).score(REQUESTS)
    for request, score in zip(REQUESTS, scores, strict=True):
        ids = request.ids.tolist()
        expected = [slow.log_prob(ids[:at], ids[at]) for at in range(request.first, len(ids))]
        assert score.log_probs.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_batch_size_changes_no_score(model: GPT2, batch_size: int):
    alone = [Scorer(model, batch_size=1).score([request])[0] for request in REQUESTS]
    assert same(Scorer(model, batch_size=batch_size).score(REQUESTS), alone)


def test_the_size_of_a_chunk_of_logits_changes_no_score(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
):
    whole = Scorer(model, batch_size=4).score(REQUESTS, disallowed=[1, 2])
    monkeypatch.setattr(scoring, "LOGITS_BYTES", 4 * TINY.n_vocab * 3)
    assert same(Scorer(model, batch_size=4).score(REQUESTS, disallowed=[1, 2]), whole)


def test_the_batch_is_halved_until_it_fits_and_stays_so(model: GPT2):
    narrow = small_memory(rows=3)
    scorer = Scorer(narrow, batch_size=8)
    assert same(scorer.score(REQUESTS), Scorer(model, batch_size=8).score(REQUESTS))
    assert narrow.seen == [8, 4, 2, 2, 2, 2]
    assert scorer.batch_size == 2


def test_a_row_that_does_not_fit_by_itself_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        Scorer(small_memory(rows=0), batch_size=4).score(REQUESTS)


def test_every_scored_token_is_reported(model: GPT2):
    reported: list[int] = []
    Scorer(model, batch_size=3).score(REQUESTS, report=reported.append)
    assert len(reported) == 3
    assert sum(reported) == sum(request.num_scored for request in REQUESTS)


def test_a_uniform_model_gives_every_token_one_in_the_vocabulary(model: GPT2):
    with torch.no_grad():
        model.wte.weight.zero_()
    for score in Scorer(model, batch_size=4).score(REQUESTS):
        expected = torch.full_like(score.log_probs, -math.log(TINY.n_vocab))
        assert torch.allclose(score.log_probs, expected, atol=1e-6)


def test_the_best_allowed_token_is_the_next_best_where_the_best_is_not_allowed(model: GPT2):
    context = random_ids(1, 8)[0]
    ranked = model.logits(model(context[None])[0, -1]).argsort(descending=True).tolist()
    first, second, third = (
        Request(torch.tensor([*context, ranked[place]]), first=8) for place in range(3)
    )
    scores = Scorer(model, batch_size=3).score([first, second, third], disallowed=[ranked[0]])
    assert [bool(score.is_best) for score in scores] == [True, False, False]
    assert [bool(score.is_best_allowed) for score in scores] == [False, True, False]


def test_the_first_batch_is_what_half_the_free_memory_holds(monkeypatch: pytest.MonkeyPatch):
    config = ModelConfig(n_layer=12, n_head=12, n_embd=768, n_vocab=50257)
    row_bytes = 1024 * scoring.ACTIVATIONS * 768 * 4
    for free_bytes, rows in ((0, 1), (4 * row_bytes, 2), (10**12, 4)):
        monkeypatch.setattr(scoring, "available_bytes", lambda device, free=free_bytes: free)
        assert fitting_batch_size(config, 1024, device=CPU, dtype=torch.float32) == rows


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_scores_as_the_cpu_does(model: GPT2):
    expected = Scorer(model, batch_size=4).score(REQUESTS, disallowed=[1, 2])
    device = torch.device("cuda")
    batch_size = fitting_batch_size(TINY, 64, device=device, dtype=torch.float32)
    found = Scorer(model.to(device), batch_size=batch_size).score(REQUESTS, disallowed=[1, 2])
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a.log_probs, b.log_probs, atol=1e-4)

"""Scores of tokens: for those who ask, by the model's own distribution, whoever else runs."""

from pathlib import Path

import pytest
import torch

import engine.model_runner
from engine.llm_engine import LLMEngine
from engine.sampler import score
from engine.sequence import Scoring, Sequence, TokenScore
from tests.engine.models import make_model
from tests.engine.support import EOT, make_params
from tests.engine.test_loading import load

PROMPTS = {"a": 1, "some longer prompt than one chunk": 2, "other": 3}


def scores_of(engine: LLMEngine) -> dict[Sequence, list[TokenScore]]:
    """Step to the end; give each sequence's scores in the order in which they came."""
    found: dict[Sequence, list[TokenScore]] = {}
    while engine.has_work:
        for output in engine.step():
            found.setdefault(output.sequence, []).extend(output.scores)
    return found


@torch.inference_mode()
def model_logprobs(ids: list[int]) -> torch.Tensor:
    model = make_model()
    return model.logits(model(torch.tensor([ids])))[0].log_softmax(-1)


def test_every_token_behind_the_prompts_first_is_scored_as_a_full_pass_would(saved: Path):
    # The prompts are read in chunks of eight, in company with one that asks for nothing.
    engine = load(saved, num_slots=4, prefill_tokens=8)
    plain = engine.add("no scores here, please", make_params(seed=9))
    asked = [
        engine.add(prompt, make_params(seed=seed), Scoring(num_top=3, prompt=True))
        for prompt, seed in PROMPTS.items()
    ]
    found = scores_of(engine)
    assert found[plain] == []
    for sequence in asked:
        ids = sequence.token_ids
        scores = found[sequence]
        assert [each.token_id for each in scores] == ids[1:]
        expected = model_logprobs(ids)[:-1]
        own = torch.tensor([each.logprob for each in scores])
        torch.testing.assert_close(own, expected[range(len(ids) - 1), ids[1:]], atol=1e-4, rtol=0)
        likeliest = torch.tensor([[value for _, value in each.top] for each in scores])
        torch.testing.assert_close(likeliest, expected.topk(3).values, atol=1e-4, rtol=0)


def test_without_the_prompt_only_what_was_written_is_scored(saved: Path):
    engine = load(saved)
    sequence = engine.add("hello", make_params(seed=2), Scoring(num_top=1))
    [scores] = scores_of(engine).values()
    assert [each.token_id for each in scores] == sequence.token_ids[5:]
    assert len(scores) > 5


def test_an_end_of_text_that_was_drawn_is_no_token_and_has_no_score(saved: Path):
    engine = load(saved)
    for seed in range(200):
        sequence = engine.add("x", make_params(seed=seed, max_tokens=60, top_k=0), Scoring())
        [scores] = scores_of(engine).values()
        assert [each.token_id for each in scores] == sequence.token_ids[1:]
        if sequence.num_completion_tokens < 60:
            assert EOT not in sequence.token_ids
            return
    pytest.fail("no reply ended by itself")


def test_a_long_prompt_is_scored_in_parts_that_bound_the_memory(
    saved: Path, monkeypatch: pytest.MonkeyPatch
):
    num_rows = []

    def counted(logits: torch.Tensor, token_ids: list[int], num_top: int) -> tuple[TokenScore, ...]:
        num_rows.append(len(logits))
        return score(logits, token_ids, num_top)

    monkeypatch.setattr(engine.model_runner, "score", counted)
    asks = load(saved)
    sequence = asks.add("x" * 63, make_params(max_tokens=0), Scoring(prompt=True))
    [scores] = scores_of(asks).values()
    assert [each.token_id for each in scores] == sequence.token_ids[1:]
    assert sum(num_rows) == 62
    assert max(num_rows) <= engine.model_runner.SCORED_AT_ONCE < 62


def test_scores_cost_nothing_where_nobody_asks(saved: Path, monkeypatch: pytest.MonkeyPatch):
    num_rows = []

    def counted(logits: torch.Tensor, token_ids: list[int], num_top: int) -> tuple[TokenScore, ...]:
        num_rows.append(len(token_ids))
        return score(logits, token_ids, num_top)

    monkeypatch.setattr(engine.model_runner, "score", counted)
    plain = load(saved)
    for prompt, seed in PROMPTS.items():
        plain.add(prompt, make_params(seed=seed))
    scores_of(plain)
    assert num_rows == []
    plain.add("asks", make_params(seed=4), Scoring())
    for prompt, seed in PROMPTS.items():
        plain.add(prompt, make_params(seed=seed))
    found = scores_of(plain)
    assert sum(num_rows) == sum(map(len, found.values()))

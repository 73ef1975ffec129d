"""How likely each token of an answer was, and of an echoed prompt: what the model itself says."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from engine.http_api.logprobs import LogprobLedger
from engine.sequence import TokenScore
from tests.engine.http_api.completions import complete, ids_of, stream
from tests.engine.http_api.serving import Served, serving
from tests.engine.models import make_model
from tests.engine.support import byte_tokenizer


def model_logprobs(ids: list[int]) -> torch.Tensor:
    """Row i: the model's own distribution of the token behind the first i + 1."""
    model = make_model()
    return model.logits(model(torch.tensor([ids])))[0].log_softmax(-1)


async def test_logprobs_are_those_of_the_model_whatever_the_sampling(served: Served):
    prompt = list(b"Hello")
    fields = {"temperature": 0.3, "top_p": 0.8, "logprobs": 5, "max_tokens": 20, "seed": 1}
    [choice] = (await complete(served, prompt=prompt, **fields)).choices
    ids = ids_of(choice)
    expected = model_logprobs(prompt + ids)[len(prompt) - 1 :]
    logprobs = choice.logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.top_logprobs is not None
    own = torch.tensor(logprobs.token_logprobs)
    torch.testing.assert_close(own, expected[range(len(ids)), ids], atol=1e-4, rtol=0)
    for row, top in zip(expected, logprobs.top_logprobs, strict=False):
        likeliest = row.topk(5).values.tolist()
        told = sorted(top.values(), reverse=True)
        assert len(told) in (5, 6)
        assert told[:5] == pytest.approx(likeliest, abs=1e-4)
    assert logprobs.text_offset is not None
    assert logprobs.text_offset[0] == 5


async def test_an_echo_brings_the_prompt_and_how_likely_it_was(saved: Path, models: Path):
    prompt = list(b"The quick brown fox jumps over the lazy dog")
    # The prompt is read in pieces, so scores of one prompt come from several steps.
    async with serving(models, prefill_tokens=16) as served:
        fields = {"echo": True, "logprobs": 2, "max_tokens": 4, "seed": 1}
        [choice] = (await complete(served, prompt=prompt, **fields)).choices
        chunks = await stream(served, prompt=prompt, **fields)
    assert choice.text.startswith(bytes(prompt).decode())
    ids = ids_of(choice)
    assert len(ids) == len(prompt) + 4
    expected = model_logprobs(ids)
    logprobs = choice.logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    first, *others = logprobs.token_logprobs
    assert first is None
    torch.testing.assert_close(
        torch.tensor(others), expected[range(len(ids) - 1), ids[1:]], atol=1e-4, rtol=0
    )
    assert logprobs.text_offset is not None
    assert logprobs.text_offset[: len(prompt)] == list(range(len(prompt)))
    # A stream tells the same, in pieces.
    told = [chunk.choices[0].logprobs for chunk in chunks]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        joined = [value for each in told for value in getattr(each, name)]
        assert joined == getattr(logprobs, name)
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text


async def test_an_echos_logprobs_are_those_of_transformers(
    saved: Path, served: Served, transformers: ModuleType
):
    judge = transformers.GPT2LMHeadModel.from_pretrained(saved).eval()
    fields: dict[str, Any] = {"echo": True, "logprobs": 3, "max_tokens": 8, "temperature": 0.5}
    completion = await complete(served, prompt=["To be, or not", "né 🤖"], seed=4, **fields)
    for choice in completion.choices:
        ids = ids_of(choice)
        with torch.inference_mode():
            expected = judge(torch.tensor([ids])).logits[0].log_softmax(-1)
        logprobs = choice.logprobs
        assert logprobs is not None
        assert logprobs.token_logprobs is not None
        assert logprobs.top_logprobs is not None
        own = torch.tensor(logprobs.token_logprobs[1:])
        by_judge = expected[range(len(ids) - 1), ids[1:]]
        torch.testing.assert_close(own, by_judge, atol=1e-4, rtol=0)
        for row, top in zip(expected, logprobs.top_logprobs[1:], strict=False):
            told = sorted(top.values(), reverse=True)[:3]
            assert told == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)


async def test_a_text_that_fills_the_context_can_be_scored_without_writing_more(served: Served):
    text = "a" * 64
    completion = await complete(served, prompt=text, echo=True, logprobs=0, max_tokens=0)
    [choice] = completion.choices
    assert (choice.text, choice.finish_reason) == (text, "length")
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (64, 0)
    ids = list(text.encode())
    expected = model_logprobs(ids)[range(63), ids[1:]].sum().item()
    assert choice.logprobs is not None
    assert choice.logprobs.token_logprobs is not None
    total = math.fsum(choice.logprobs.token_logprobs[1:])
    assert total == pytest.approx(expected, abs=1e-3)


async def test_asking_for_logprobs_or_an_echo_changes_no_draw(served: Served):
    plain = (await complete(served, prompt="Hello", n=4, seed=1)).choices
    scored = (await complete(served, prompt="Hello", n=4, seed=1, logprobs=3)).choices
    echoed = (await complete(served, prompt="Hello", n=4, seed=1, logprobs=3, echo=True)).choices
    assert [each.text for each in scored] == [each.text for each in plain]
    assert [each.text for each in echoed] == [f"Hello{each.text}" for each in plain]


async def test_an_echo_without_logprobs_is_text_alone(served: Served):
    [plain] = (await complete(served, prompt="Hello", seed=1)).choices
    chunks = await stream(served, prompt="Hello", seed=1, echo=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello" + plain.text
    assert {chunk.choices[0].logprobs for chunk in chunks} == {None}


def score(token_id: int) -> TokenScore:
    return TokenScore(token_id, -1.0, ((token_id, -1.0),))


def test_the_tokens_of_a_character_are_told_with_it():
    ledger = LogprobLedger(byte_tokenizer(), list(b"hi"), echo=False)
    for token_id in "é!".encode():
        ledger.add((score(token_id),))
    assert ledger.tell("")["tokens"] == []
    told = ledger.tell("é!")
    assert told["tokens"] == ["bytes:\\xc3", "bytes:\\xa9", "!"]
    assert told["text_offset"] == [2, 2, 3]
    assert told["top_logprobs"][0] == {"bytes:\\xc3": -1.0}


def test_a_prompt_that_ends_inside_a_character_keeps_the_offsets_true():
    prompt = list("aé".encode()[:2])
    ledger = LogprobLedger(byte_tokenizer(), prompt, echo=True)
    ledger.add((score(prompt[1]),))
    assert ledger.knows_prompt
    ledger.add((score(ord("b")),))
    told = ledger.tell("a\ufffd" + "b")
    assert told["text_offset"] == [0, 1, 2]
    assert told["token_logprobs"] == [None, -1.0, -1.0]

"""Completions over HTTP, by OpenAI's client: every text is what the engine writes on its own."""

import json
import math
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from openai.types import Completion, CompletionChoice

from engine.http_api.logprobs import LogprobLedger
from engine.label import label
from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.sequence import TokenScore
from engine.weights import hash_weights
from tests.engine.http_api.serving import CPU, Served, serving
from tests.engine.marked import KEY
from tests.engine.models import make_model
from tests.engine.support import EOT, byte_tokenizer, make_params
from wire.version import VERSION

OPENAI_DEFAULTS: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 16}


@pytest.fixture(scope="module")
def alone(saved: Path) -> LLMEngine:
    """An engine that serves nobody else."""
    engine, _ = load_engine(saved, CPU, num_slots=1, prefill_tokens=512, max_waiting=8)
    return engine


def written(engine: LLMEngine, prompt: str, **fields: Any) -> str:
    engine.add(prompt, make_params(**{**OPENAI_DEFAULTS, **fields}))
    text = ""
    while engine.has_work:
        text += "".join(output.text for output in engine.step())
    return text


def model_logprobs(ids: list[int]) -> torch.Tensor:
    """Row i: the model's own distribution of the token behind the first i + 1."""
    model = make_model()
    return model.logits(model(torch.tensor([ids])))[0].log_softmax(-1)


def ids_of(choice: CompletionChoice) -> list[int]:
    """The ids of a choice's tokens, which are bytes."""
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    return [
        int(token[-2:], 16) if token.startswith("bytes:") else ord(token)
        for token in choice.logprobs.tokens
    ]


async def complete(served: Served, **fields: Any) -> Completion:
    completion = await served.openai.completions.create(**{"model": "tiny", **fields})
    assert isinstance(completion, Completion)
    return completion


async def stream(served: Served, **fields: Any) -> list[Completion]:
    chunks = await served.openai.completions.create(model="tiny", stream=True, **fields)
    return [chunk async for chunk in chunks]


async def test_a_completion_is_what_the_engine_writes_with_openais_defaults(
    served: Served, alone: LLMEngine
):
    completion = await complete(served, prompt="Hello", seed=5)
    [choice] = completion.choices
    assert choice.text == written(alone, "Hello", seed=5)
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "length", None)
    assert completion.object == "text_completion"
    assert completion.model == "tiny"
    assert completion.id.startswith("cmpl-")
    assert completion.system_fingerprint
    assert completion.usage is not None
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (5, 16, 21)


async def test_a_stream_brings_the_same_text_piece_by_piece(served: Served):
    whole = await complete(served, prompt="Hello", seed=5, max_tokens=30)
    chunks = await stream(served, prompt="Hello", seed=5, max_tokens=30)
    assert len(chunks) > 5
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["length"]
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.usage for chunk in chunks} == {None}


async def test_a_stream_says_at_its_end_what_it_took_if_asked(served: Served):
    options = {"include_usage": True}
    *chunks, last = await stream(served, prompt=["ab", "c"], n=2, stream_options=options)
    assert {chunk.usage for chunk in chunks} == {None}
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.prompt_tokens == 3
    assert last.usage.completion_tokens == last.usage.total_tokens - 3
    assert 4 <= last.usage.completion_tokens <= 4 * 16


async def test_a_stream_is_server_sent_events_and_ends_with_done(served: Served):
    body = {"model": "tiny", "prompt": "x", "stream": True, "max_tokens": 3, "temperature": 0}
    async with served.session.post(f"{served.url}/v1/completions", json=body) as response:
        assert response.content_type == "text/event-stream"
        text = await response.text()
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(json.loads(event.removeprefix("data: "))["choices"] for event in events)


async def test_no_text_can_end_a_line_of_a_stream(served: Served):
    # Many clients part lines at all of these, and not only where the format does.
    prompt = "a\n\rb\x0b\x0c\x1c\x85\u2028\u2029c"
    body = {"prompt": prompt, "echo": True, "stream": True, "max_tokens": 1, "temperature": 0}
    async with served.session.post(f"{served.url}/v1/completions", json=body) as response:
        lines = (await response.text()).splitlines()
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert len(lines) == 2 * (len(told) + 1)
    assert "".join(each["choices"][0]["text"] for each in told).startswith(prompt)


@pytest.mark.parametrize("streamed", [False, True])
async def test_every_answer_says_that_a_machine_wrote_it(served: Served, streamed: bool):
    raw = await served.openai.completions.with_raw_response.create(
        model="tiny", prompt="x", stream=streamed
    )
    assert raw.headers["X-Machine-Generated"] == "GPT-2 tiny"
    assert raw.headers["X-Ovid-Label"] == (
        "Machine-generated by GPT-2 tiny; not written by a person"
    )
    assert raw.headers["X-Request-Id"].startswith("req-")
    said: Any = raw.parse()
    chunks = [chunk async for chunk in said] if streamed else [said]
    assert chunks
    assert all(chunk.machine_generated == "GPT-2 tiny" for chunk in chunks)
    assert all(chunk.label == label("tiny") for chunk in chunks)


async def test_an_empty_text_and_a_text_that_was_only_scored_are_labelled_too(served: Served):
    for fields in ({"stop": ["a", "b", "c", "d"]}, {"echo": True, "max_tokens": 0}):
        completion: Any = await complete(served, prompt="x", **fields)
        assert completion.label == label("tiny")


async def test_an_answer_without_a_text_has_no_label(served: Served):
    for body in ({"prompt": "x", "n": 0}, {"prompt": "x" * 99}, {"prompt": "x", "model": "none"}):
        url = f"{served.url}/v1/completions"
        async with served.session.post(url, json=body) as response:
            assert response.status in {400, 404}
            assert set(await response.json()) == {"error"}
            assert not any("label" in name.lower() for name in response.headers)


async def test_samples_take_the_seeds_that_follow_and_say_them(served: Served, alone: LLMEngine):
    completion = await complete(served, prompt=["one", "two"], n=3, seed=7)
    expected = [written(alone, prompt, seed=7 + n) for prompt in ("one", "two") for n in range(3)]
    assert [choice.text for choice in completion.choices] == expected
    assert [choice.index for choice in completion.choices] == list(range(6))
    assert [choice.seed for choice in completion.choices] == [7, 8, 9] * 2  # type: ignore[attr-defined]


async def test_a_seed_left_out_is_drawn_and_said_so_that_the_text_can_be_had_again(served: Served):
    first, second = (await complete(served, prompt="x", n=2)).choices
    assert first.seed != second.seed  # type: ignore[attr-defined]
    again = await complete(served, prompt="x", seed=first.seed)  # type: ignore[attr-defined]
    assert again.choices[0].text == first.text


async def test_a_text_says_what_wrote_it_and_a_greedy_one_that_it_is_not_marked(models: Path):
    marking = partial(load_engine, watermark=KEY)
    async with serving(models, load=marking) as served:
        drawn, greedy = [
            (await stream(served, prompt="x", max_tokens=2, temperature=temperature))[-1].choices[0]
            for temperature in (1, 0)
        ]
    assert drawn.provenance == {  # type: ignore[attr-defined]
        "weights": hash_weights(models / "tiny"),
        "version": VERSION,
        "device": "cpu",
        "precision": "float32",
        "mark": "marked",
        "key": KEY.fingerprint,
    }
    told = greedy.provenance  # type: ignore[attr-defined]
    assert (told["mark"], told["key"]) == ("greedy", None)


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("ab", ["ab"]),
        (["ab", "c"], ["ab", "c"]),
        (list(b"ab"), ["ab"]),
        ([list(b"ab"), list(b"c")], ["ab", "c"]),
        ("", [""]),
        ([], [""]),
        (["", "c"], ["", "c"]),
        ([[EOT]], [""]),
    ],
    ids=repr,
)
async def test_a_prompt_may_be_text_or_ids_one_or_many(
    served: Served, alone: LLMEngine, prompt: Any, texts: list[str]
):
    completion = await complete(served, prompt=prompt, seed=3)
    assert [choice.text for choice in completion.choices] == [
        written(alone, text, seed=3) for text in texts
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 0.7, "top_p": 0.5},
        {"top_k": 3},
        {"repetition_penalty": 1.8, "temperature": 0},
        {"max_tokens": 40},
    ],
    ids=repr,
)
async def test_what_is_asked_for_reaches_the_sampler(
    served: Served, alone: LLMEngine, fields: dict[str, Any]
):
    status, answer = await served.post("/v1/completions", prompt="Hello", seed=2, **fields)
    assert status == 200
    assert answer["choices"][0]["text"] == written(alone, "Hello", seed=2, **fields)


async def test_null_is_as_good_as_left_out(served: Served):
    nulls = dict.fromkeys(("max_tokens", "temperature", "top_p", "n", "stop", "logprobs", "suffix"))
    _, plain = await served.post("/v1/completions", prompt="Hello", seed=2)
    status, answer = await served.post("/v1/completions", prompt="Hello", seed=2, **nulls)
    assert status == 200
    assert answer["choices"] == plain["choices"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_stop_string_ends_the_text_and_neither_it_nor_its_tokens_are_told(
    served: Served, streamed: bool
):
    whole = (await complete(served, prompt="Hello", seed=5, max_tokens=30)).choices[0].text
    stop = whole[10:13]
    fields: dict[str, Any] = {"prompt": "Hello", "seed": 5, "max_tokens": 30, "logprobs": 0}
    if streamed:
        chunks = await stream(served, stop=[stop, "never met"], **fields)
    else:
        chunks = [await complete(served, stop=stop, **fields)]
    choices = [chunk.choices[0] for chunk in chunks]
    assert "".join(choice.text for choice in choices) == whole[: whole.index(stop)]
    assert choices[-1].finish_reason == "stop"
    ids = [token_id for choice in choices for token_id in ids_of(choice)]
    assert bytes(ids).decode(errors="replace") == whole[: whole.index(stop)]


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

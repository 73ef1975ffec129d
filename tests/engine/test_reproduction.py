"""The promise: a job with its seed gives the same text, whoever is in the batch with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.async_engine import AsyncEngine
from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.sequence import Sequence
from engine.watermark import WatermarkKey
from tests.engine.models import CPU
from wire.jobs import Done, SamplingParams
from wire.provenance import Mark, Provenance

DEMO = Path(__file__).parents[2] / "models" / "demo"
KEY = WatermarkKey(b"reproduction".ljust(32))
NUM_SLOTS = 8
NUM_TEXTS = 20
PROMPTS = ("In a shocking finding", "The sea", "", "User 1: Hello!\nUser 2:")


def load(key: WatermarkKey | None = KEY) -> LLMEngine:
    engine, _ = load_engine(
        DEMO, CPU, num_slots=NUM_SLOTS, prefill_tokens=64, max_waiting=100, watermark=key
    )
    return engine


@pytest.fixture(scope="module")
def engine() -> LLMEngine:
    return load()


def add(engine: LLMEngine, number: int) -> Sequence:
    """A job of its own length and options, so that rows join and leave at every step."""
    params = SamplingParams(
        max_tokens=8 + number * 7 % 17,
        temperature=(1.0, 0.7, 0.0, 1.3)[number % 4],
        top_k=(40, 0, 5)[number % 3],
        top_p=(1.0, 0.9)[number % 2],
        repetition_penalty=(1.0, 1.2)[number // 2 % 2],
        seed=number,
    )
    return engine.add(PROMPTS[number % len(PROMPTS)], params)


def written(sequence: Sequence) -> list[int]:
    return sequence.token_ids[sequence.num_prompt_tokens :]


def test_a_text_is_the_same_alone_and_in_a_busy_batch(engine: LLMEngine):
    alone = []
    for number in range(NUM_TEXTS):
        sequence = add(engine, number)
        while engine.has_work:
            engine.step()
        alone.append(written(sequence))
    together = []
    for sequence in joining(engine):
        together.append(sequence)
        engine.step()
    assert most_at_once(together) == NUM_SLOTS
    while engine.has_work:
        engine.step()
    assert [written(sequence) for sequence in together] == alone
    assert len({tuple(ids) for ids in alone}) == NUM_TEXTS


def joining(engine: LLMEngine) -> Iterator[Sequence]:
    for number in range(NUM_TEXTS):
        yield add(engine, number)


def most_at_once(sequences: list[Sequence]) -> int:
    return sum(sequence.slot is not None for sequence in sequences)


async def done(engine: AsyncEngine, **params: object) -> Provenance:
    wanted = SamplingParams.model_validate({"max_tokens": 2, "seed": 1, **params})
    [*_, last] = [event async for event in engine.generate("The sea", wanted)]
    assert isinstance(last, Done)
    assert last.provenance
    return last.provenance


async def test_the_last_word_says_what_wrote_the_text_and_whether_it_is_marked():
    async with AsyncEngine(load(), "demo") as marking:
        marked = await done(marking)
        assert (marked.mark, marked.key) == (Mark.MARKED, KEY.fingerprint)
        assert (marked.device, marked.precision) == ("cpu", "float32")
        assert (await done(marking, temperature=0)).mark is Mark.GREEDY
        assert (await done(marking, watermark=False)).mark is Mark.OFF
    async with AsyncEngine(load(None), "demo") as unmarking:
        off = await done(unmarking)
    assert (off.mark, off.key) == (Mark.OFF, None)
    assert off.weights == marked.weights

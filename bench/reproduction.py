"""Measures how far a text depends on who it shares a batch with: the same jobs, alone and together.

Every job has a length of its own, so that rows join and leave all the time. A text that differs is
counted once, and its tokens up to the first that differs: what follows is another text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.sequence import Scoring, Sequence
from engine.watermark import WatermarkKey
from wire.jobs import SamplingParams

MODEL = Path("models/demo")
NUM_JOBS = 500
SHORTEST, LONGEST = 100, 300
"""Tokens of a reply: 10^5 in all are asked for, and some texts end sooner."""
BATCHES = (1, 8, 16)
KEY = WatermarkKey(b"reproduction".ljust(32))
PROMPTS = ("In a shocking finding", "The sea", "", "User 1: Hello!\nUser 2:", "Once upon a time")
PREFILL_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Text:
    """What came of a job.

    Attributes:
        ids: the tokens.
        logprobs: of each by the model's own distribution.
    """

    ids: list[int]
    logprobs: list[float]


def measure() -> None:
    """Print, for every way to run, how many texts differ from those of one row on one thread."""
    print(f"{NUM_JOBS} texts of {SHORTEST} to {LONGEST} tokens, demo model, default sampling")
    print(f"{'run':24} {'tokens':>7} {'texts differ':>12} {'logprobs equal':>14} {'furthest':>9}")
    first: list[Text] | None = None
    for name, device, num_threads in _ways():
        torch.set_num_threads(num_threads)
        for batch in BATCHES:
            texts = _write_all(device, batch)
            first = first or texts
            print(f"{f'{name}, batch {batch}':24} {_compared(first, texts)}", flush=True)


def _ways() -> Iterator[tuple[str, torch.device, int]]:
    cpu = torch.device("cpu")
    yield "cpu, 1 thread", cpu, 1
    yield "cpu, 2 threads", cpu, 2
    if torch.cuda.is_available():
        yield "cuda", torch.device("cuda"), 1


def _write_all(device: torch.device, batch: int) -> list[Text]:
    engine, _ = load_engine(
        MODEL,
        device,
        num_slots=batch,
        prefill_tokens=PREFILL_TOKENS,
        max_waiting=NUM_JOBS,
        watermark=KEY,
    )
    jobs = [_add(engine, number) for number in range(NUM_JOBS)]
    logprobs: dict[Sequence, list[float]] = {job: [] for job in jobs}
    with tqdm(total=NUM_JOBS, unit=" texts", leave=False, disable=None) as progress:
        while engine.has_work:
            for output in engine.step():
                logprobs[output.sequence] += [score.logprob for score in output.scores]
                progress.update(output.finish_reason is not None)
    return [Text(job.token_ids[job.num_prompt_tokens :], logprobs[job]) for job in jobs]


def _add(engine: LLMEngine, number: int) -> Sequence:
    length = SHORTEST + number * 37 % (LONGEST - SHORTEST + 1)
    params = SamplingParams(max_tokens=length, seed=number)
    return engine.add(PROMPTS[number % len(PROMPTS)], params, Scoring())


def _compared(first: list[Text], texts: list[Text]) -> str:
    num_differing = num_tokens = num_equal = 0
    furthest = 0.0
    for one, other in zip(first, texts, strict=True):
        pairs = list(zip(one.ids, other.ids, strict=False))
        same = next((at for at, (a, b) in enumerate(pairs) if a != b), len(pairs))
        num_differing += one.ids != other.ids
        num_tokens += same
        apart = [
            abs(a - b) for a, b in zip(one.logprobs[:same], other.logprobs[:same], strict=False)
        ]
        num_equal += apart.count(0.0)
        furthest = max([furthest, *apart])
    share = num_equal / num_tokens
    return f"{num_tokens:7} {num_differing:12} {share:14.1%} {furthest:9.1e}"

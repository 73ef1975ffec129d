"""Measures what the mark takes of the engine's time, and what looking for it takes.

Times are seconds of CPU of the one thread, so that other work on the machine shows little. Marked
and unmarked steps take turns; a figure is the median of the rounds.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench.watermark import human
from bench.watermark.plan import LENGTHS
from bench.watermark.writing import NO_TOKEN, Ids, Subject, key_of
from engine.model_runner import TorchModelRunner
from engine.noise import seed_key
from engine.scheduler import Scheduler
from engine.sequence import Sequence as EngineSequence
from engine.verify import verify
from engine.watermark import CONTEXT_TOKENS, WatermarkKey, find_mark, subkey_of
from wire.jobs import SamplingParams

STEPS = 64
CALLS = 2000


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the rounds.

    Attributes:
        step_us: microseconds a token of a whole decoding step, marked and unmarked, by rows.
        draw_us: microseconds that the mark alone takes for a token: the hash of its context and
            the memory of it, less the unmarked draw's.
        look_ms: milliseconds to look for the mark in tokens, by their number.
        verify_ms: to answer for a text of as many tokens, encoding it included.
    """

    step_us: dict[int, tuple[float, float]]
    draw_us: float
    look_ms: dict[int, float]
    verify_ms: dict[int, float]


def measure(subject: Subject, texts: Sequence[Ids], rounds: int) -> Cost:
    """Measure on one thread; `texts` are marked ones, 400 tokens long."""
    tokenizer = subject.tokenizer

    def looking(length: int) -> list[Callable[[], object]]:
        return [partial(find_mark, ids[:length], key_of(0)) for ids in texts[:rounds]]

    def answering(length: int) -> list[Callable[[], object]]:
        pasted = (tokenizer.decode(ids[:length]) for ids in texts[:rounds])
        return [partial(verify, text, [tokenizer], [key_of(0)]) for text in pasted]

    return Cost(
        step_us={rows: _steps(subject, rows, rounds) for rows in (1, 8)},
        draw_us=_draws(texts[0], rounds),
        look_ms={length: 1e3 * _median_s(looking(length)) for length in LENGTHS},
        verify_ms={length: 1e3 * _median_s(answering(length)) for length in LENGTHS},
    )


def _steps(subject: Subject, rows: int, rounds: int) -> tuple[float, float]:
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for marked, times in taken.items():
            times.append(1e6 * _decode_s(subject, rows, key_of(0) if marked else None))
    return statistics.median(taken[True]), statistics.median(taken[False])


def _decode_s(subject: Subject, rows: int, key: WatermarkKey | None) -> float:
    """Return seconds of CPU for each token that is decoded once all prompts are read."""
    runner = TorchModelRunner(
        subject.model, num_slots=rows, n_vocab=subject.tokenizer.eot, watermark=key
    )
    scheduler = Scheduler(num_slots=rows, prefill_tokens=1024, max_waiting=rows, eot=NO_TOKEN)
    for seed, prompt in enumerate(human.prompts(subject.tokenizer, rows)):
        params = SamplingParams(max_tokens=CONTEXT_TOKENS + STEPS, seed=seed)
        scheduler.add(EngineSequence(prompt, params))
    for _ in range(CONTEXT_TOKENS):
        plan = scheduler.schedule()
        scheduler.postprocess(plan, runner.run(plan).drawn)
    began_s = time.thread_time()
    for _ in range(STEPS):
        plan = scheduler.schedule()
        scheduler.postprocess(plan, runner.run(plan).drawn)
    return (time.thread_time() - began_s) / (STEPS * rows)


def _draws(ids: Ids, rounds: int) -> float:
    key, seed = key_of(0), 1
    contexts = [tuple(ids[place : place + CONTEXT_TOKENS]) for place in range(len(ids))]

    def marked() -> None:
        seen: set[tuple[int, ...]] = set()
        for number in range(CALLS):
            context = contexts[number % len(contexts)]
            if context not in seen:
                seen.add(context)
            key.row_key(subkey_of(seed), context)

    def unmarked() -> None:
        for number in range(CALLS):
            seed_key(seed, number)

    return 1e6 * (_median_s([marked] * rounds) - _median_s([unmarked] * rounds)) / CALLS


def _median_s(actions: Sequence[Callable[[], object]]) -> float:
    times = []
    for action in actions:
        began_s = time.thread_time()
        action()
        times.append(time.thread_time() - began_s)
    return statistics.median(times)

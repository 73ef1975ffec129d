"""Owns the `bench` command: what this machine does with this model, at so many users at once."""

import json
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, Self

import torch
from pydantic import Field

from engine.config import RELEASED_SHAPES, ModelConfig
from engine.errors import InvalidRequestError
from engine.loading import check_memory, find_model, model_name, pick_device, pick_dtype
from engine.model import GPT2
from engine.model_runner import ModelRunner, TorchModelRunner
from engine.scheduler import Scheduler
from engine.sequence import Sequence as EngineSequence
from engine.settings import ModelCommand
from engine.weights import load_model
from wire.jobs import MAX_TOKENS_LIMIT, SamplingParams

Shape = Literal["124M", "355M", "774M", "1558M"]
NO_TOKEN = -1
"""As the end of text: no run ends before its last token."""


class Bench(ModelCommand):
    """Measure how fast a model reads and writes on this machine."""

    users: Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1)] = (1, 8)
    """Replies written at once, each number measured by itself: --users 1,8."""
    prompt_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] = 64
    """Tokens of every prompt."""
    tokens: Annotated[int, Field(ge=2, le=MAX_TOKENS_LIMIT)] = 128
    """Tokens of every reply."""
    prefill_tokens: Annotated[int, Field(ge=16)] = 512
    """Prompt tokens read in one step, as serve has them."""
    rounds: Annotated[int, Field(ge=1, le=100)] = 5
    """Measurements of which the median is taken; one more goes before them and is not counted."""
    random_weights: Shape | None = None
    """Run a released shape with random weights, which are as fast, in place of a model."""
    as_json: bool = False
    """One JSON object in place of the table."""

    def run(self) -> None:
        """Measure, and print a table or JSON.

        Raises:
            EngineError: the model cannot be run.
        """
        report = measure(self)
        print(json.dumps(asdict(report), indent=2) if self.as_json else table(report))


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity over all rounds."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the figure of a round's values each."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class AtUsers:
    """What was measured with so many replies at once.

    Attributes:
        users: how many.
        prefill_tokens_per_s: prompt tokens of all, until the last user has a first token.
        first_token_ms: the users' median.
        decode_tokens_per_s: tokens of all, from then to the end.
    """

    users: int
    prefill_tokens_per_s: Figure
    first_token_ms: Figure
    decode_tokens_per_s: Figure


@dataclass(frozen=True, slots=True)
class Report:
    """A measurement, and of what it is one."""

    model: str
    num_parameters: int
    device: str
    dtype: str
    threads: int
    torch: str
    prompt_tokens: int
    tokens: int
    rounds: int
    results: tuple[AtUsers, ...]


def measure(settings: Bench) -> Report:
    """Run prompts of random tokens through scheduler, model and sampler, at each number of users.

    Nothing is turned into text or out of it: that is another measurement.

    Raises:
        EngineError: the model cannot be run, or does not fit.
    """
    device = pick_device(settings.device)
    dtype = pick_dtype(device)
    name, model = _model(settings, device, dtype)
    num_tokens = settings.prompt_tokens + settings.tokens
    if num_tokens > model.config.n_ctx:
        msg = (
            f"prompt-tokens and tokens are {num_tokens} together, but the context is "
            f"{model.config.n_ctx} tokens."
        )
        raise InvalidRequestError(msg)
    runner = TorchModelRunner(model, num_slots=max(settings.users), n_vocab=model.config.n_vocab)
    results = []
    for users in settings.users:
        rounds = [
            measure_round(runner, settings, users=users, n_vocab=model.config.n_vocab)
            for _ in range(settings.rounds + 1)
        ]
        columns = zip(*rounds[1:], strict=True)
        results.append(AtUsers(users, *(Figure.of(column) for column in columns)))
    return Report(
        model=name,
        num_parameters=model.config.num_parameters,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        dtype=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        prompt_tokens=settings.prompt_tokens,
        tokens=settings.tokens,
        rounds=settings.rounds,
        results=tuple(results),
    )


def table(report: Report) -> str:
    """Return a report for people: a line for each number of users, median and extremes."""
    head = (
        f"GPT-2 {report.model}, {report.num_parameters / 1e6:.1f} million parameters, "
        f"{report.dtype} on {report.device}, threads: {report.threads}, torch {report.torch}\n"
        f"{report.prompt_tokens} prompt tokens, {report.tokens} new ones, median of "
        f"{report.rounds} (lowest to highest)"
    )
    row = "{:>5}  {:>24}  {:>24}  {:>24}".format
    lines = [row("users", "prefill tokens/s", "first token, ms", "decode tokens/s")]
    for at in report.results:
        figures = (at.prefill_tokens_per_s, at.first_token_ms, at.decode_tokens_per_s)
        lines.append(row(at.users, *(_shown(figure) for figure in figures)))
    return "\n".join([head, *lines])


def _shown(figure: Figure) -> str:
    def short(value: float) -> str:
        return f"{value:.1f}" if value < 100 else f"{value:.0f}"

    return f"{short(figure.median)} ({short(figure.lowest)} to {short(figure.highest)})"


def _model(settings: Bench, device: torch.device, dtype: torch.dtype) -> tuple[str, GPT2]:
    num_slots = max(settings.users)
    if settings.random_weights is not None:
        config = RELEASED_SHAPES[settings.random_weights]
        check_memory(config, num_slots, device, dtype)
        with torch.device(device):
            model = GPT2(config).to(dtype)
        model.initialise(torch.Generator(device).manual_seed(0))
        name = f"{settings.random_weights} shape with random weights"
        return name, model.requires_grad_(requires_grad=False).eval()
    folder = find_model(settings.model, settings.models)
    check_memory(ModelConfig.from_folder(folder), num_slots, device, dtype)
    return model_name(folder), load_model(folder, device=device, dtype=dtype)


def measure_round(
    runner: ModelRunner, settings: Bench, *, users: int, n_vocab: int
) -> tuple[float, float, float]:
    """Return prefill tokens/s, the median first-token time in ms, and decode tokens/s."""
    scheduler = Scheduler(
        num_slots=users, prefill_tokens=settings.prefill_tokens, max_waiting=users, eot=NO_TOKEN
    )
    rng = random.Random(users)  # noqa: S311 - nothing here is a secret
    sequences = [
        EngineSequence(
            [rng.randrange(n_vocab) for _ in range(settings.prompt_tokens)],
            SamplingParams(max_tokens=settings.tokens, seed=user),
        )
        for user in range(users)
    ]
    for sequence in sequences:
        scheduler.add(sequence)
    first_s: list[float] = []
    num_before = 0
    began_s = time.perf_counter()
    while scheduler.has_work:
        plan = scheduler.schedule()
        scheduler.postprocess(plan, runner.run(plan).drawn)
        begun = [chunk for chunk in plan.sampled if chunk.sequence.num_completion_tokens == 1]
        if begun:
            first_s += [time.perf_counter() - began_s] * len(begun)
            num_before = sum(sequence.num_completion_tokens for sequence in sequences)
    decode_s = time.perf_counter() - began_s - first_s[-1]
    return (
        users * settings.prompt_tokens / first_s[-1],
        1000 * statistics.median(first_s),
        (users * settings.tokens - num_before) / decode_s,
    )

"""`python -m engine bench`: what is measured is what is said to be."""

import json
import re
from pathlib import Path

import pytest

from engine import loading
from engine.__main__ import main
from engine.commands.bench import AtUsers, Bench, Figure, Report, measure_round, table
from engine.config import RELEASED_SHAPES, ModelConfig
from tests.engine.support import EOT, FakeModelRunner
from tests.engine.test_command_line import here, only_line, options

__all__ = ["here", "options"]

STEP_S = 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The bench's clock: it stands still unless it is moved."""
    now = [0.0]
    monkeypatch.setattr("engine.commands.bench.time.perf_counter", lambda: now[0])
    return now


class SteadyRunner(FakeModelRunner):
    """Every step takes half a second, and draws the end of text, which must not end a run."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__(lambda _: EOT)
        self._clock = clock

    def run(self, plan):
        self._clock[0] += STEP_S
        return super().run(plan)


def test_reading_writing_and_the_first_token_are_told_apart(clock: list[float]):
    settings = Bench(prompt_tokens=16, tokens=5, prefill_tokens=32)
    figures = measure_round(SteadyRunner(clock), settings, users=2, n_vocab=200)
    # One step reads both prompts and draws two tokens; four more steps draw the other eight.
    assert figures == (2 * 16 / STEP_S, 1000 * STEP_S, 2 * 4 / (4 * STEP_S))


def test_prompts_beyond_one_step_make_later_users_wait(clock: list[float]):
    settings = Bench(prompt_tokens=16, tokens=5, prefill_tokens=16)
    prefill, first_ms, decode = measure_round(SteadyRunner(clock), settings, users=3, n_vocab=200)
    assert (prefill, first_ms) == (3 * 16 / (3 * STEP_S), 1000 * 2 * STEP_S)
    # By the third step, the first user has three tokens, the second two and the third one.
    assert decode == (3 * 5 - 6) / (4 * STEP_S)


def test_every_number_of_users_is_measured(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    sizes = ["--users", "1,3", "--prompt-tokens", "7", "--tokens", "4", "--rounds", "2"]
    assert main(["bench", *options, *sizes, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["model"], said["device"], said["threads"]) == ("tiny", "cpu", 1)
    assert [result["users"] for result in said["results"]] == [1, 3]
    for result in said["results"]:
        for name in ("prefill_tokens_per_s", "first_token_ms", "decode_tokens_per_s"):
            figure = result[name]
            assert 0 < figure["lowest"] <= figure["median"] <= figure["highest"]


def test_a_table_has_a_line_for_each_number_of_users():
    figure = Figure(12.34, 5.0, 678.9)
    at = tuple(AtUsers(users, figure, figure, figure) for users in (1, 16))
    report = Report("tiny", 7_098_368, "cpu", "float32", 2, "2.13.0", 64, 128, 5, at)
    lines = table(report).splitlines()
    assert "GPT-2 tiny, 7.1 million parameters, float32 on cpu, threads: 2" in lines[0]
    assert [re.split(r"\s{2,}", line.strip())[0] for line in lines[-2:]] == ["1", "16"]
    assert lines[-1].endswith("12.3 (5.0 to 679)")


def test_what_the_context_cannot_hold_is_one_sentence(
    here: Path, options: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", *options, "--prompt-tokens", "60", "--tokens", "5"]) == 1
    said = only_line(capsys.readouterr().err)
    assert said == "bench: prompt-tokens and tokens are 65 together, but the context is 64 tokens."


def test_more_users_than_memory_are_refused_with_the_numbers(
    here: Path,
    options: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(loading, "available_bytes", lambda device: 2**30)
    assert main(["bench", "--random-weights", "1558M", "--users", "4"]) == 1
    said = only_line(capsys.readouterr().err)
    assert "The weights and 4 slots need 8341 MiB, but 1024 MiB are free on cpu" in said


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [("124M", 124_439_808), ("355M", 354_823_168), ("774M", 774_030_080), ("1558M", 1_557_611_200)],
)
def test_the_shapes_are_those_that_were_released(name: str, num_parameters: int):
    assert RELEASED_SHAPES[name].num_parameters == num_parameters
    assert RELEASED_SHAPES[name].head_dim == 64


def test_a_shape_runs_with_random_weights(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    small = ModelConfig(n_layer=1, n_head=2, n_embd=16, n_vocab=50, n_ctx=32)
    monkeypatch.setitem(RELEASED_SHAPES, "124M", small)
    sizes = ["--users", "2", "--prompt-tokens", "5", "--tokens", "3", "--rounds", "1"]
    assert main(["bench", "--random-weights", "124M", "--device", "cpu", *sizes]) == 0
    assert capsys.readouterr().out.startswith("GPT-2 124M shape with random weights, 0.0 million")

"""`python -m engine serve` as a process: its doors, its log, and how it ends."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from engine.__main__ import main
from tests.engine.test_command_line import DEADLINE_S, environment, only_line
from tests.wire.support import ROOMY, make_job
from wire.jobs import Done, SamplingParams
from wire.queue import Admission, JobQueue, JobState


@pytest.fixture
def models(saved: Path, tmp_path: Path) -> Path:
    """A folder with one model, for a test that adds others."""
    shutil.copytree(saved, tmp_path / "models" / "tiny")
    return tmp_path / "models"


@pytest.fixture
def options(models: Path) -> list[str]:
    return ["--model", "tiny", "--models", str(models), "--device", "cpu"]


@asynccontextmanager
async def serve(
    cwd: Path, options: list[str], url: str, *more: str, **extra: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", "serve", *options, *more),
        cwd=cwd,
        env=environment(OVID_REDIS_URL=url, **extra),
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield child, child.stderr
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def line_with(log: asyncio.StreamReader, words: str, said: list[str]) -> str:
    while line := (await log.readline()).decode():
        said.append(line)
        if words in line:
            return line
    pytest.fail(f"{words!r} was never said: {''.join(said)}")


async def test_serve_waits_for_a_redis_that_is_away_and_ends_when_told(
    tmp_path: Path, options: list[str]
):
    said: list[str] = []
    url = f"unix://:s3cret@{tmp_path}/nobody.sock"
    async with serve(tmp_path, options, url) as (child, log):
        await line_with(log, "engine ready", said)
        await line_with(log, "Redis is away", said)
        assert child.returncode is None
        child.send_signal(signal.SIGTERM)
        said.append((await log.read()).decode())
        assert await child.wait() == 0
    everything = "".join(said)
    assert "Traceback" not in everything
    assert "s3cret" not in everything


async def test_serve_takes_jobs_and_http_at_once_and_finds_a_new_model_in_both(
    tmp_path: Path, models: Path, options: list[str], saved: Path, redis: Redis, redis_url: str
):
    queue, said = JobQueue(redis), list[str]()
    http = ("--http-port", "0", "--http-token", "s3cret")
    url = f"{redis_url}?client_name=engine&password="
    async with serve(tmp_path, options, url, *http) as (child, log):
        ready = await line_with(log, "engine ready", said)
        url = next(word for word in ready.split() if word.startswith("http://")).rstrip(",")
        assert url.startswith("http://127.0.0.1:")
        assert f"GPT-2 tiny on cpu, 8 slots, {url}, jobs from " in ready
        assert ready.endswith("; models: tiny\n")
        shutil.copytree(saved, models / "notes")
        headers = {"Authorization": "Bearer s3cret"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            asked = {"model": "notes", "prompt": "hello", "max_tokens": 5}
            async with session.post("/v1/completions", json=asked) as answer:
                assert answer.status == 200
                assert (await answer.json())["model"] == "notes"
        params = SamplingParams(max_tokens=5, seed=3)
        job = make_job("1", model="notes", prompt="hello", params=params)
        while (await queue.submit(job, ROOMY)).admission is Admission.NO_MODEL:
            await asyncio.sleep(0.05)
        await line_with(log, "job=1 attempt=1", said)
        child.send_signal(signal.SIGTERM)
        said.append((await log.read()).decode())
        assert await child.wait() == 0
    record = await queue.snapshot("1")
    assert record is not None
    assert (record.state, record.model_name) == (JobState.ENDED, "notes")
    assert isinstance(record.outcome, Done)
    assert (record.outcome.seed, record.outcome.model_name) == (3, "notes")
    assert (await queue.tick()).num_engines == 0
    everything = "".join(said)
    assert "Traceback" not in everything
    assert "s3cret" not in everything


async def test_serve_without_redis_answers_http_alone(tmp_path: Path, options: list[str]):
    said: list[str] = []
    nobody = f"unix://{tmp_path}/nobody.sock"
    async with serve(tmp_path, options, nobody, "--no-redis", "--http-port", "0") as (child, log):
        ready = await line_with(log, "engine ready", said)
        assert "jobs from" not in ready
        url = next(word for word in ready.split() if word.startswith("http://")).rstrip(",;")
        async with aiohttp.ClientSession(url) as session, session.get("/v1/models") as answer:
            assert [model["id"] for model in (await answer.json())["data"]] == ["tiny"]
        child.send_signal(signal.SIGINT)
        said.append((await log.read()).decode())
        assert await child.wait() == 0
    assert "Redis" not in "".join(said)
    assert "engine stopped" in said[-1]


SLOW_LOAD = """
import sys, time
from engine.__main__ import main
from engine.commands import serve
def load(*_, **__):
    print("loading", flush=True)
    time.sleep(600)
serve.load_engine = load
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_serve_can_be_ended_at_once_while_its_model_is_loaded(
    tmp_path: Path, options: list[str], how: signal.Signals
):
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SLOW_LOAD, "serve", *options, "--no-redis", "--http-port", "0"),
        cwd=Path(__file__).parents[2],
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            assert await child.stdout.readline() == b"loading\n"
            child.send_signal(how)
            assert await child.wait() == (130 if how is signal.SIGINT else -signal.SIGTERM)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def test_serve_with_no_door_at_all_is_refused_with_the_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--no-redis"]) == 2
    said = only_line(capsys.readouterr().err)
    assert said.startswith("serve: without Redis there must be an --http-port")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--http-port", "70000"], "less than or equal to 65535, not '70000'."),
        (["--http-max-requests", "0"], "greater than or equal to 1, not '0'."),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_bad_option_of_serve_is_told_by_its_bound_and_value(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    said: str,
):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *more]) == 2
    assert only_line(capsys.readouterr().err).endswith(said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--no-redis", "--http-port", "0", "--http-host", "::"],
            "serve: The HTTP host is ::, which others can reach, and there is no token",
        ),
        (
            ["--redis-url", "http://:s3cret@example"],
            "serve: the Redis URL cannot be read: it should look like redis://",
        ),
    ],
    ids=["host", "redis-url"],
)
def test_a_door_that_cannot_be_opened_is_told_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    said: str,
):
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "--model", "gone", *more]) == 1
    line = only_line(capsys.readouterr().err)
    assert line.startswith(said)
    assert "s3cret" not in line

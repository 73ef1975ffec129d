"""What the engine tells of itself, at a port of its own and on the API's server."""

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from engine.__main__ import main
from engine.errors import EngineStoppedError, ModelError
from engine.http_api import EngineHealth, health_server
from engine.metrics import EngineMetrics
from tests.engine.http_api.serving import copy_models, fake
from tests.engine.http_api.serving import serving as serving_http
from tests.engine.pools import WEIGHTS_NAME, FakeLoader, make_pool, write_model
from tests.engine.serving import DEADLINE_S, EndlessQueue, Running, has_text, serving, submit
from tests.engine.support import EOT, forever_a
from tests.engine.test_command_line import only_line
from tests.engine.test_serve_command import line_with, serve
from wire.queue import JobQueue

SECRET = "s3cret-token"
DAMAGED = "damaged"


class Damaged(FakeLoader):
    """Can't load what says that it is damaged."""

    num_failed = 0

    def check(self, folder: Path) -> None:
        if (folder / WEIGHTS_NAME).read_bytes() == DAMAGED.encode():
            self.num_failed += 1
            msg = f"{folder.name} is damaged."
            raise ModelError(msg)


@pytest.fixture
def models(saved: Path, tmp_path: Path) -> Path:
    """A folder with one model."""
    return copy_models(saved, tmp_path)


@asynccontextmanager
async def watched(running: Running) -> AsyncIterator[str]:
    """Serve a worker's health, and give the address."""
    health = EngineHealth(running.pool, EngineMetrics(), running.worker, running.stop)
    async with health_server(health, "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


async def get(url: str, **headers: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text()


async def report(url: str) -> tuple[int, dict[str, object]]:
    status, said = await get(f"{url}/readyz")
    return status, json.loads(said)


async def until_ready(url: str) -> dict[str, object]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            status, said = await report(url)
            if status == 200:
                return said
            await asyncio.sleep(0.02)


async def test_an_engine_that_serves_jobs_names_each_part(redis):
    queue = EndlessQueue(redis)
    async with serving(queue, forever_a) as running, watched(running) as url:
        said = await until_ready(url)
        assert said.pop("version")
        assert said == {
            "status": "ready",
            "step_loop": "runs",
            "redis": "answers",
            "slots": 2,
            "running": 0,
            "model": "tiny",
        }
        await submit(queue, "1", "endless")
        await has_text(queue, "1")
        assert (await until_ready(url))["running"] == 1
        _, metrics = await get(f"{url}/metrics")
        assert re.search(r"^ovid_engine_running 1\.0$", metrics, re.MULTILINE)
        assert re.search(r"^ovid_engine_redis_up 1\.0$", metrics, re.MULTILINE)


async def test_an_engine_whose_step_loop_has_died_is_neither_ready_nor_well(redis):
    def next_token(held: Sequence[int]) -> int:
        if bytes(held).startswith(b"poison"):
            raise RuntimeError("the device is lost")
        return forever_a(held)

    queue = JobQueue(redis)
    async with serving(queue, next_token) as running, watched(running) as url:
        await until_ready(url)
        assert (await get(f"{url}/healthz"))[0] == 200
        await submit(queue, "2", "poison")
        with pytest.raises(EngineStoppedError):
            async with asyncio.timeout(DEADLINE_S):
                await running.task
        assert (await get(f"{url}/healthz"))[0] == 503
        status, said = await report(url)
        assert (status, said["status"], said["step_loop"]) == (503, "not ready", "dead")


async def test_an_engine_whose_worker_was_ended_is_not_well(redis):
    async with serving(JobQueue(redis), forever_a) as running, watched(running) as url:
        await until_ready(url)
        running.task.cancel()
        await asyncio.wait([running.task])
        assert (await get(f"{url}/healthz"))[0] == 503
        status, said = await report(url)
        assert (status, said["step_loop"]) == (503, "runs")


async def test_an_engine_that_was_told_to_stop_is_well_but_not_ready(redis):
    queue = EndlessQueue(redis)
    async with serving(queue, forever_a, grace_s=DEADLINE_S) as running, watched(running) as url:
        await until_ready(url)
        await submit(queue, "1", "endless")
        await has_text(queue, "1")
        running.stop.set()
        assert (await get(f"{url}/healthz"))[0] == 200
        status, said = await report(url)
        assert (status, said["running"]) == (503, 1)


async def test_a_worker_that_ended_because_it_was_told_to_is_well_while_http_has_its_grace(redis):
    async with serving(JobQueue(redis), forever_a) as running, watched(running) as url:
        await until_ready(url)
        running.stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await running.task
        assert (await get(f"{url}/healthz"))[0] == 200
        assert (await report(url))[0] == 503


async def test_a_model_that_is_not_loaded_yet_is_said_to_be_loading(models: Path):
    pool = make_pool(models, FakeLoader({"tiny": forever_a}), "tiny")
    health = EngineHealth(pool, EngineMetrics())
    async with health_server(health, "127.0.0.1", 0) as port:
        url = f"http://127.0.0.1:{port}"
        status, said = await report(url)
        assert (status, said["step_loop"]) == (503, "loading")
        assert "redis" not in said
        assert (await get(f"{url}/healthz"))[0] == 200


async def test_a_default_model_that_was_damaged_is_ready_again_once_it_is_mended(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.model_pool.LOOK_S", 0.01)
    load = Damaged({"tiny": forever_a})
    async with make_pool(models, load, "tiny") as pool:
        health = EngineHealth(pool, EngineMetrics())
        async with health_server(health, "127.0.0.1", 0) as port:
            url = f"http://127.0.0.1:{port}"
            assert (await until_ready(url))["step_loop"] == "runs"
            write_model(models, "tiny", DAMAGED)
            with pytest.raises(ModelError):
                await pool.get(None)
            status, said = await report(url)
            assert (status, said["step_loop"]) == (503, "failed")
            assert (await get(f"{url}/healthz"))[0] == 200
            write_model(models, "tiny", "mended")
            assert (await until_ready(url))["step_loop"] == "runs"
    # The one that asked, and one more look: what has not changed is not read again.
    assert load.num_failed <= 2


async def test_on_the_api_only_the_probes_go_without_its_token(models: Path):
    async with serving_http(models, load=fake(), token=SECRET) as server:
        for path in ("/healthz", "/readyz"):
            assert (await get(f"{server.url}{path}"))[0] == 200
        assert (await get(f"{server.url}/metrics"))[0] == 401
        answer = await server.openai.completions.create(model="tiny", prompt="x", max_tokens=3)
        assert answer.usage is not None
        status, metrics = await get(f"{server.url}/metrics", Authorization=f"Bearer {SECRET}")
        assert status == 200
        told = 'ovid_engine_jobs_total{ending="done",reason="length"} 1.0'
        assert told in metrics
        assert re.search(r"^ovid_engine_completion_tokens_total 3\.0$", metrics, re.MULTILINE)
        assert not re.search(r"^ovid_engine_redis_up ", metrics, re.MULTILINE)


async def test_a_completion_over_http_that_is_refused_is_logged_with_its_reason(
    models: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    async with serving_http(models, load=fake()) as server:
        status, _ = await server.post("/v1/completions", model="tiny", prompt="x", n=17)
        assert status == 400
        status, _ = await server.post("/v1/completions", model="other", prompt="x")
        assert status == 404
        _, metrics = await get(f"{server.url}/metrics")
    [first, second] = [line for line in caplog.messages if line.startswith("job=")]
    assert " ending=refused reason=status_400 " in first
    assert " ending=refused reason=model_not_found " in second
    assert 'ovid_engine_jobs_total{ending="refused",reason="status_400"} 1.0' in metrics
    # They took no time, and would hide how long the others take.
    assert "ovid_engine_job_seconds_count 0.0" in metrics


async def test_of_who_left_before_the_end_no_count_of_tokens_is_made_up(
    models: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    wanted = {"model": "tiny", "prompt": "endless", "stream": True}
    async with serving_http(models, load=fake()) as server:
        async with server.session.post(f"{server.url}/v1/completions", json=wanted) as response:
            await response.content.readline()
            response.close()
        async with asyncio.timeout(DEADLINE_S):
            while not (told := [line for line in caplog.messages if " ending=gone " in line]):
                await asyncio.sleep(0.02)
    assert " reason=client_left prompt_tokens=- completion_tokens=- " in told[0]


async def test_of_what_fails_with_some_samples_done_no_count_of_tokens_is_made_up(
    models: Path, caplog: pytest.LogCaptureFixture
):
    def next_token(held: Sequence[int]) -> int:
        if bytes(held) == b"done":
            return EOT
        if len(held) == 10:
            raise FloatingPointError
        return forever_a(held)

    caplog.set_level("INFO")
    async with serving_http(models, load=fake(next_token)) as server:
        status, _ = await server.post("/v1/completions", prompt=["done", "poison"])
    assert status == 500
    [told] = [line for line in caplog.messages if line.startswith("job=")]
    assert " ending=failed reason=internal prompt_tokens=- completion_tokens=- " in told


async def test_serve_tells_of_itself_without_a_token_at_a_port_of_its_own(
    tmp_path: Path, models: Path, redis_url: str
):
    options, said = ["--model", "tiny", "--models", str(models), "--device", "cpu"], list[str]()
    more = ("--health-port", "0", "--log-format", "json")
    async with serve(tmp_path, options, redis_url, *more) as (child, log):
        line = json.loads(await line_with(log, "health at ", said))
        url = line["message"].removeprefix("health at ")
        assert (await until_ready(url))["slots"] == 8
        status, metrics = await get(f"{url}/metrics")
        assert status == 200
        assert re.search(r"^process_resident_memory_bytes ", metrics, re.MULTILINE)
        child.send_signal(signal.SIGTERM)
        said += (await log.read()).decode().splitlines()
        assert await child.wait() == 0
    assert all("message" in json.loads(line) for line in said)


@pytest.mark.parametrize(("option", "door"), [("health", "health"), ("http", "HTTP")])
def test_a_port_that_is_taken_is_told_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    models: Path,
    option: str,
    door: str,
):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ["--model", "tiny", "--models", str(models), f"--{option}-port", str(port)]
        assert main(["serve", *options]) == 1
    line = only_line(capsys.readouterr().err)
    told = f"serve: nobody can listen at 127.0.0.1, {door} port {port}: Address already in use."
    assert line.strip() == told

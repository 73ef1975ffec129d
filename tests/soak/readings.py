"""What a running program holds: tasks, file descriptors, memory. Changes nothing.

Connections to Redis and Discord are pooled, so how many there are says how much went on at once;
they are counted apart, as are those that broke in the pool and are dropped when they are next
taken out of it. The rest must not grow at all.
"""

import contextlib
import re
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp

MIB = 1 << 20
MAX_POOLED = 64
"""Connections of one program to Redis, or to Discord, or broken: what so many people can cause."""
BROKEN, LOCAL = -1, 0
MAX_TASKS_MORE = 2
"""discord.py keeps a task for a moment after a request that was limited."""
MAX_GROWTH_MIB = 48.0
"""Of an idle program since it had served its first replies."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one program holds at a moment."""

    tasks: int
    """Of asyncio."""
    own_fds: int
    """File descriptors that are none of the following connections."""
    redis_connections: int
    discord_connections: int
    broken_connections: int
    rss_mib: float


async def read(process: Process, log: str, redis_url: str, discord_url: str) -> Reading:
    """Read what a program holds now; its log tells where it can be asked."""
    sockets = _sockets(process.pid)
    ports = Counter(sockets.values())
    num_redis, num_discord = ports[_port(redis_url)], ports[_port(discord_url)]
    num_pooled = num_redis + num_discord + ports[BROKEN]
    return Reading(
        tasks=await _tasks(log),
        own_fds=len(_descriptors(process.pid)) - num_pooled,
        redis_connections=num_redis,
        discord_connections=num_discord,
        broken_connections=ports[BROKEN],
        rss_mib=_rss_mib(process.pid),
    )


def leaks(before: Reading, after: Reading) -> list[str]:
    """Say what grew more than it may."""
    found = []
    if after.tasks > before.tasks + MAX_TASKS_MORE:
        found.append(f"{after.tasks} tasks, {before.tasks} before")
    if after.own_fds > before.own_fds:
        found.append(f"{after.own_fds} file descriptors of its own, {before.own_fds} before")
    pooled = {
        "to Redis": after.redis_connections,
        "to Discord": after.discord_connections,
        "that broke": after.broken_connections,
    }
    found += [f"{num} connections {which}" for which, num in pooled.items() if num > MAX_POOLED]
    if after.rss_mib > before.rss_mib + MAX_GROWTH_MIB:
        found.append(f"{after.rss_mib:.0f} MiB of memory, {before.rss_mib:.0f} before")
    return found


async def _tasks(log: str) -> int:
    url = re.search(r"health at (http://[0-9.:]+)", log)[1]  # type: ignore[index]
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        text = await response.text()
    found = re.search(r"^ovid_\w+_tasks ([0-9.]+)$", text, re.MULTILINE)
    return int(float(found[1]))  # type: ignore[index]


def _port(url: str) -> int:
    return int(re.search(r":([0-9]+)(/|$)", url)[1])  # type: ignore[index]


def _descriptors(pid: int) -> list[str]:
    """List what a process has open, as the kernel names it."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # It may have been closed by now.
        with contextlib.suppress(FileNotFoundError):
            found.append(descriptor.readlink().name)
    return found


def _sockets(pid: int) -> Mapping[str, int]:
    """Say to which port each socket of a process is connected: `BROKEN`, or `LOCAL` for others."""
    net = Path(f"/proc/{pid}/net")
    ports = {}
    for line in (net / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports[f"socket:[{fields[9]}]"] = int(fields[2].partition(":")[2], 16)
    # The kernel lists no connection that the other end has reset.
    others = "".join((net / name).read_text() for name in ("tcp6", "unix", "udp"))
    return {
        name: ports.get(name, LOCAL if name[8:-1] in others.split() else BROKEN)
        for name in _descriptors(pid)
        if name.startswith("socket:")
    }


def _rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+([0-9]+) kB", status)[1]) * 1024 / MIB  # type: ignore[index]

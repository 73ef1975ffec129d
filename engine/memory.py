"""Owns how much memory is free: a device's, this machine's, this container's. Knows no model."""

import os
from pathlib import Path

import torch

MIB = 2**20
UNLIMITED_FROM_BYTES = 2**60
"""How version 1 of control groups says that there is no limit: a number no machine has."""
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return how many bytes can be taken on a device without harm to others.

    On the CPU that is what the kernel calls available, or what the limits of the control groups
    around this process leave, whichever is less. Memory that only caches files counts as free,
    since it gives way.

    Args:
        device: `cpu`, or a CUDA device.
        proc: where the kernel tells of itself.
        cgroups: where it tells of control groups.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return max(0, min([_machine(proc), *_left_by_limits(proc, cgroups)]))


def _machine(proc: Path) -> int:
    try:
        meminfo = (proc / "meminfo").read_text(encoding="ascii")
        return int(meminfo.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _left_by_limits(proc: Path, cgroups: Path) -> list[int]:
    """Return what each limit leaves: of the group this process is in, and of those around it."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        names = _V1 if controllers else _V2
        root = cgroups / "memory" if controllers else cgroups
        # Inside a container the path is often the host's and not there: then the root is ours.
        inner = root / path.strip("/")
        groups = [group for group in (inner, *inner.parents) if group.is_relative_to(root)]
        left += [free for group in groups if (free := _free_in(group, *names)) is not None]
    return left


_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


def _free_in(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    try:
        limit = (group / limit_name).read_text(encoding="ascii").strip()
        usage_bytes = int((group / usage_name).read_text(encoding="ascii"))
        pairs = (line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
        cached_bytes = next((int(value) for name, value in pairs if name == cache_name), 0)
        if limit == "max" or int(limit) >= UNLIMITED_FROM_BYTES:
            return None
        return int(limit) - usage_bytes + cached_bytes
    except (OSError, ValueError):
        return None

"""What the programs' logs must not hold, and what they must. Reads files; knows no programs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

TRACEBACK = "Traceback (most recent call last)"
FRAGMENT_CHARS = 24
FRAGMENTS_PER_TEXT = 3


def read(folder: Path) -> dict[str, str]:
    """Read every log of a folder, by name."""
    return {path.name: path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.log"))}


def fragments(text: str) -> list[str]:
    """Cut pieces out of a reply that are long enough to be no coincidence.

    >>> fragments("a" * 24 + "b" * 24)
    ['aaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbb']
    """
    lines = [
        line[start : start + FRAGMENT_CHARS]
        for line in text.splitlines()
        for start in range(0, len(line) - FRAGMENT_CHARS + 1, FRAGMENT_CHARS)
    ]
    step = max(1, len(lines) // FRAGMENTS_PER_TEXT)
    return [line for line in lines[::step] if line.strip()]


def told(logs: Mapping[str, str], secrets: Mapping[str, Iterable[str]]) -> list[str]:
    """Say which logs hold which kind of secret; the secret itself is not said."""
    found = []
    for name, log in logs.items():
        for kind, words in secrets.items():
            count = sum(word in log for word in words)
            if count:
                found.append(f"{name} holds {count} x {kind}")
    return found


def tracebacks(logs: Mapping[str, str]) -> list[str]:
    """Say which logs hold a traceback, with its last line."""
    found = []
    for name, log in logs.items():
        for part in log.split(TRACEBACK)[1:]:
            frames = re.split(r"\n(?=\S)", part, maxsplit=2)
            found.append(f"{name}: {frames[1][:160] if len(frames) > 1 else part[-160:]}")
    return found


def endings(log: str, job_ids: Sequence[str]) -> dict[str, int]:
    """Count, for each job, the lines that tell how it ended."""
    counts = dict.fromkeys(job_ids, 0)
    for line in log.splitlines():
        found = re.search(r"\bjob[= ]([mip][0-9]+\.[0-9]+)\b.*\bending=", line)
        if found and found[1] in counts:
            counts[found[1]] += 1
    return counts

"""Owns how a result is shown: as a table for people, as JSON for programs. Measures nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluate.catalogue import TASKS
from engine.evaluate.published import SIZES, comparable
from engine.evaluate.task import Metric

NONE = "–"


@dataclass(frozen=True, slots=True)
class Result:
    """What an evaluation found, and all that the numbers depend on."""

    task: str
    metrics: Sequence[Metric]
    counts: Mapping[str, int]
    protocol: Mapping[str, str | int]
    limit: int | None
    model: Mapping[str, Any]
    """With `name` and `released_size` among the rest."""
    data: Mapping[str, str]
    run: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def size(self) -> str | None:
        """Return which released model has the shape of the one that was run."""
        size: str | None = self.model["released_size"]
        return size


def as_json(result: Result) -> dict[str, Any]:
    """Return all of a result as one JSON object; a number past all bounds is null."""
    return {
        "task": result.task,
        "partial": result.limit is not None,
        "limit": result.limit,
        "metrics": {
            metric.name: {
                "value": metric.value if math.isfinite(metric.value) else None,
                "says": metric.says,
                "published": dict(comparable(result.task, metric.name, result.size)),
            }
            for metric in result.metrics
        },
        "counts": dict(result.counts),
        "protocol": dict(result.protocol),
        "note": TASKS[result.task].note,
        "model": dict(result.model),
        "data": dict(result.data),
        "run": dict(result.run),
        "versions": dict(result.versions),
    }


def as_table(result: Result) -> str:
    """Return the metrics as lines: ours, what was published, and what each one says."""
    sizes = SIZES if result.size is None else (result.size,)
    width = max(len(metric.name) for metric in result.metrics)
    head = "".join(f"{size:>9}" for size in sizes)
    lines = [_title(result), "", f"{'':{width}}{'ours':>12}  {head}   (paper, GPT-2 {sizes[0]}"]
    lines[-1] += f"…{sizes[-1]})" if len(sizes) > 1 else ")"
    for metric in result.metrics:
        figures = comparable(result.task, metric.name, result.size)
        shown = "".join(f"{_number(figures.get(size)):>9}" for size in sizes)
        ours = _number(metric.value)
        lines.append(f"{metric.name:{width}}{ours:>12}  {shown}   {metric.says}")
    counted = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in result.counts.items()
    )
    note = [TASKS[result.task].note] if TASKS[result.task].note else []
    return "\n".join([*lines, "", f"{counted}; {result.run['wall_s']} s", *note])


def _title(result: Result) -> str:
    task = TASKS[result.task]
    part = "" if result.limit is None else f", PARTIAL: the first {result.limit} {task.items} only"
    stride = result.protocol.get("stride")
    window = f", stride {stride} of {result.protocol['context']}" if stride else ""
    return f"{task.title}{part}: {result.model['name']}, {result.run['precision']}{window}"


def _number(value: float | None) -> str:
    """Show a number so that it fits a column.

    >>> _number(29.4123), _number(1.16123), _number(1234567.8), _number(None)
    ('29.41', '1.161', '1.235e+06', '–')
    """
    if value is None:
        return NONE
    if abs(value) < 10:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 1e6 else f"{value:.4g}"

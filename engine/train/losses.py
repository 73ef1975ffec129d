"""Owns the record of a run's losses: a table that grows with it, and the curve drawn of it."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from engine.train.finetune import StepReport

COLUMNS = ("step", "loss", "held_out_loss", "learning_rate", "tokens_per_s")


class LossLog:
    """The rows of `losses.csv`, one for each step; a cell is empty where nothing was measured."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rows = csv.writer(file)

    def write(self, said: StepReport) -> None:
        """Add a step's row, to be seen at once. Nine digits are all that float32 has."""
        self._rows.writerow(
            (
                said.step,
                f"{said.loss:.9g}",
                "" if said.held_out_loss is None else f"{said.held_out_loss:.9g}",
                f"{said.learning_rate:.6g}",
                f"{said.tokens_per_s:.1f}",
            )
        )
        self._file.flush()


@contextmanager
def open_losses(path: Path, step: int) -> Iterator[LossLog]:
    """Go on with a table behind a step: what a killed run wrote after its checkpoint is cut off."""
    rows = [row for row in _rows(path) if int(row[0]) <= step]
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    partial.replace(path)
    with path.open("a", encoding="utf-8", newline="") as file:
        yield LossLog(file)


def draw_losses(table: Path, picture: Path) -> None:
    """Draw a table's curves into a PNG: training loss, and held-out loss where it was measured."""
    # Without pyplot, which would look for a screen; and it takes a second to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows = _rows(table)
    looks = [(int(row[0]), float(row[2])) for row in rows if row[2]]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([int(row[0]) for row in rows], [float(row[1]) for row in rows], label="training")
    axes.plot(*zip(*looks, strict=True), marker="o", label="held out")
    axes.set_xlabel("optimisation step")
    axes.set_ylabel("loss (nats per token)")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    FigureCanvasAgg(figure)
    figure.savefig(picture)


def _rows(path: Path) -> list[list[str]]:
    """Return the whole rows below the header; a row that was being written is none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                row for row in csv.reader(file) if len(row) == len(COLUMNS) and row[0].isdecimal()
            ]
    except FileNotFoundError:
        return []

"""Owns what a stopped run needs to go on, as files: its state, and its best weights so far."""

import os
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from engine.checkpoints.replacing import flush
from engine.errors import ModelError

CHECKPOINT_NAME = "checkpoint.pt"
BEST_PATTERN = "best-{}.pt"
UNREADABLE = (
    *(OSError, EOFError, UnpicklingError, RuntimeError),
    *(KeyError, TypeError, ValueError, AttributeError),
)
"""What PyTorch raises for a file that is cut off, of another kind, or of another model."""


@dataclass(slots=True)
class Progress:
    """Where a run stands. Batches depend on the step alone, so this is all its position.

    Attributes:
        step: optimisation steps taken.
        elapsed_s: wall time so far, over all its parts.
        held_out_nats: the loss on the held-out text after this step, nats per token; infinite
            where it was not measured.
        best_nats: the lowest that was, of those whose weights were kept.
        best_step: the step after which that was measured; 0: none was kept yet.
        stale_evaluations: how many came after it.
    """

    step: int = 0
    elapsed_s: float = 0.0
    held_out_nats: float = inf
    best_nats: float = inf
    best_step: int = 0
    stale_evaluations: int = 0


class Checkpoints:
    """The checkpoint of one run in one folder, and its best weights beside it.

    Args:
        folder: made when there is something to write.
        run: names the text and the settings; a checkpoint of another run is refused.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run

    def save(self, state: dict[str, Any], progress: Progress) -> None:
        """Write the checkpoint, whole or not at all, so that not even a power cut loses both.

        Raises:
            ModelError: the disk refuses.
        """
        self._write(
            CHECKPOINT_NAME, {"run": self._run, "state": state, "progress": asdict(progress)}
        )
        kept = BEST_PATTERN.format(progress.best_step)
        for outdone in self._folder.glob(BEST_PATTERN.format("*")):
            if outdone.name != kept:
                outdone.unlink()

    def load(self) -> tuple[dict[str, Any], Progress] | None:
        """Return the state that was saved and where it stood; None when there is no checkpoint.

        Raises:
            ModelError: the checkpoint is damaged, or of a run with another text or other settings.
        """
        path = self._folder / CHECKPOINT_NAME
        if not path.is_file():
            return None
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["run"] != self._run:
                msg = "it is of a run with another text or other settings"
                raise ValueError(msg)
            return content["state"], Progress(**content["progress"])
        except UNREADABLE as error:
            raise self.unusable(error) from error

    def save_best(self, weights: dict[str, Any], step: int) -> None:
        """Write the weights after a step; the checkpoint that names the step makes them count."""
        self._write(BEST_PATTERN.format(step), weights)

    def remove(self) -> None:
        """Remove the checkpoint: the run is over, and nothing goes on from it any more."""
        (self._folder / CHECKPOINT_NAME).unlink(missing_ok=True)
        flush(self._folder)

    def load_best(self, step: int) -> dict[str, Any]:
        """Return the weights after the step that a checkpoint calls the best.

        Raises:
            ModelError: they are gone or damaged.
        """
        path = self._folder / BEST_PATTERN.format(step)
        try:
            weights: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except UNREADABLE as error:
            msg = f"cannot read the best weights, {path}: {_first_line(error)}"
            raise ModelError(msg) from error
        return weights

    def unusable(self, error: Exception) -> ModelError:
        """Say why a run cannot go on from its checkpoint, and what to do."""
        path = self._folder / CHECKPOINT_NAME
        reason = _first_line(error).rstrip(".:")
        return ModelError(f"cannot resume from {path}: {reason}. Remove it to start again.")

    def _write(self, name: str, content: dict[str, Any]) -> None:
        partial = self._folder / f"{name}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._folder / name)
            flush(self._folder)
        except (OSError, RuntimeError) as error:
            # PyTorch reports a full disk as RuntimeError.
            msg = f"cannot write {self._folder / name}: {_first_line(error)}"
            raise ModelError(msg) from error


def _first_line(error: Exception) -> str:
    # PyTorch goes on for a line for each tensor that does not fit.
    first, *_ = str(error).splitlines() or [type(error).__name__]
    return first

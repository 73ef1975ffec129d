"""Owns what a stopped training run needs to go on: weights, optimizer, step, time."""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch

from engine.errors import ModelError
from engine.model import GPT2

CHECKPOINT_NAME = "checkpoint.pt"
UNREADABLE = (
    *(OSError, EOFError, UnpicklingError, RuntimeError),
    *(KeyError, TypeError, ValueError, AttributeError),
)
"""What PyTorch raises for a file that is cut off, of another kind, or of another model."""


@dataclass(slots=True)
class Progress:
    """Where a run stands. Batches depend on the step alone, so this is all its position."""

    step: int = 0
    elapsed_s: float = 0.0


def save(
    folder: Path, run: str, model: GPT2, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write the checkpoint, whole or not at all; `run` names the text and settings it is of."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{CHECKPOINT_NAME}.partial"
    torch.save(
        {
            "run": run,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": progress.step,
            "elapsed_s": progress.elapsed_s,
        },
        partial,
    )
    partial.replace(folder / CHECKPOINT_NAME)


def load(folder: Path, run: str, model: GPT2, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Restore a run in place.

    Returns:
        Where it stood, or None when there is no checkpoint.

    Raises:
        ModelError: the checkpoint is damaged, or of a run with another model, text or settings.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["run"] != run:
            msg = "it is of a run with another text or other settings"
            raise ValueError(msg)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(step=state["step"], elapsed_s=state["elapsed_s"])
    except UNREADABLE as error:
        # PyTorch goes on for a line for each tensor that does not fit.
        reason, *_ = str(error).splitlines() or [type(error).__name__]
        msg = f"cannot resume from {path}: {reason.rstrip('.:')}. Remove it to start again."
        raise ModelError(msg) from error

"""Owns how a model is read that others may replace meanwhile, and what is said when it cannot be.

Knows of no model that runs already.
"""

import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from engine.checkpoints.stamps import FileStamps, file_stamps
from engine.errors import EngineError, MemoryShortError, ModelError
from engine.llm_engine import LLMEngine

MAX_READS = 3
"""How often a model is read that is replaced meanwhile."""


def read_model(
    folder: Path, load: Callable[[Path], tuple[LLMEngine, str]]
) -> tuple[LLMEngine, FileStamps]:
    """Read a model, and again if it was replaced meanwhile: that may be half of each.

    Args:
        folder: of the model.
        load: makes an engine from a folder, and names it.

    Returns:
        The engine, and the files' stamps from before it was read.

    Raises:
        MemoryShortError: it does not fit into memory.
        EngineError: it cannot be loaded.
    """
    num_reads = 0
    while True:
        stamps = file_stamps(folder)
        num_reads += 1
        try:
            engine = _load(folder, load)
        except ModelError:
            if num_reads == MAX_READS or file_stamps(folder) == stamps:
                raise
        else:
            if num_reads == MAX_READS or file_stamps(folder) == stamps:
                return engine, stamps
            del engine


def _load(folder: Path, load: Callable[[Path], tuple[LLMEngine, str]]) -> LLMEngine:
    try:
        engine, _ = load(folder)
    except EngineError:
        raise
    except torch.OutOfMemoryError as error:
        # What was read so far is in the frames of the error, which somebody may keep.
        traceback.clear_frames(error.__traceback__)
        msg = f"The model {folder.name} does not fit into the memory of its device."
        raise MemoryShortError(msg) from error
    except (ValueError, OSError) as error:
        raise ModelError(str(error)) from error
    return engine

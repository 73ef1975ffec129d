"""Owns the `finetune` command: a run of training, and what is said when it ends or is stopped."""

import sys

from engine.errors import EngineError
from engine.loading import find_model, pick_device
from engine.train.distributed import join_world
from engine.train.finetune import StoppedError
from engine.train.run import finetune
from engine.train.settings import TrainingSettings


class Finetune(TrainingSettings):
    """Train a GPT-2 on text and save it as a model folder."""

    def run(self) -> None:
        """Train, and say where the model is and how well it does.

        Raises:
            SystemExit: a signal stopped the run, which can go on later; 128 and its number.
        """
        source = find_model(self.model, self.models)
        with join_world(pick_device(self.device)) as world:
            try:
                summary = finetune(self, source, world)
            except StoppedError as stopped:
                if world.is_first:
                    said = f"finetune: {stopped}; the same command goes on from there."
                    print(said, file=sys.stderr)
                raise SystemExit(128 + stopped.signal_number) from None
            except EngineError:
                # Otherwise each process would say what one has said.
                if world.is_first:
                    raise
                raise SystemExit(1) from None
            if world.is_first:
                print(f"The model is in {self.out}:\n{summary}")

"""Owns the training loop: what a step trains on, when to look, when to save, when to end.

Knows neither the text nor where the losses go. Source: early stopping, Prechelt 1998.
"""

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tqdm import tqdm

from engine.errors import EngineError
from engine.model import GPT2
from engine.train.checkpoint import UNREADABLE, Checkpoints, Progress
from engine.train.data import MASKED, Blocks, Corpus
from engine.train.distributed import World
from engine.train.interrupts import Noted, signals_noted
from engine.train.loss import HeldOutLoss, held_out_loss, held_out_nats
from engine.train.optimisation import Optimisation, restore_weights
from engine.train.params import TrainingParams, learning_rate


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one step did.

    Attributes:
        step: counted from 1.
        loss: of its batches, before it: nats per token.
        held_out_loss: after it, nats per token; None where it was not measured.
        learning_rate: it was taken with.
        tokens_per_s: read in it, by all processes.
    """

    step: int
    loss: float
    held_out_loss: float | None
    learning_rate: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    Attributes:
        progress: where it stood.
        held_out: the loss of the weights that remain.
        stopped_early: whether patience ran out.
    """

    progress: Progress
    held_out: HeldOutLoss
    stopped_early: bool


class StoppedError(Exception):
    """A signal ended a run between two steps; its checkpoint is written.

    Attributes:
        signal_number: which.
    """

    def __init__(self, signal_number: int, progress: Progress, total_steps: int) -> None:
        super().__init__(f"stopped after step {progress.step} of {total_steps}")
        self.signal_number = signal_number


class Training:
    """One run of training, in place.

    Args:
        model: float32, on its device; weights that need no gradient stay as they are.
        corpus: what to train on and judge by.
        params: how.
        checkpoints: where the run is kept, and from where it goes on. The last one stays at the
            end, so that a model that then cannot be saved is not trained again.
        world: the processes that train it together.

    Raises:
        ModelError: the checkpoint cannot be read.
    """

    def __init__(
        self,
        model: GPT2,
        corpus: Corpus,
        params: TrainingParams,
        *,
        checkpoints: Checkpoints,
        world: World | None = None,
    ) -> None:
        self._model = model
        self._corpus = corpus
        self._params = params
        self._checkpoints = checkpoints
        self._world = world or World(model.wte.weight.device)
        self._blocks = Blocks(corpus.train, params.block_tokens)
        self._optimisation = Optimisation(
            model,
            self._world,
            weight_decay=params.weight_decay,
            max_grad_norm=params.max_grad_norm,
        )
        self.total_steps = max(
            1, math.ceil(params.epochs * len(self._blocks) / params.rows_per_step)
        )
        self.progress = self._resume()
        self._began_s = time.monotonic() - self.progress.elapsed_s
        self._saved_s = time.monotonic()

    def run(self, report: Callable[[StepReport], None]) -> Result:
        """Train to the end; the weights that remain are then in the first process's model.

        Args:
            report: called in the first process after every step.

        Raises:
            StoppedError: a signal asked for an end.
            ModelError: a checkpoint cannot be written.
            EngineError: the loss became infinite, or another process was lost.
        """
        progress, is_first = self.progress, self._world.is_first
        shown: dict[str, str] = {}
        with (
            signals_noted() as noted,
            tqdm(
                total=self.total_steps,
                initial=progress.step,
                desc="training",
                unit="step",
                disable=None if is_first else True,
            ) as bar,
        ):
            while not self._has_ended:
                said = self._step(noted)
                if is_first:
                    report(said)
                bar.total = math.ceil(progress.step / self._share_done)
                shown |= _shown(said)
                bar.set_postfix(shown, refresh=False)
                bar.update()
                self._save_if_due(noted, improved=progress.best_step == progress.step)
                if noted.number is not None:
                    raise StoppedError(noted.number, progress, self.total_steps)
        self._save()
        return self._result()

    def _step(self, noted: Noted) -> StepReport:
        """Take a step, and look at the held-out text when that is due."""
        progress, params, world = self.progress, self._params, self._world
        began_s = time.monotonic()
        rate = learning_rate(progress.step, self._share_done, params)
        rows = self._blocks.rows(progress.step, params.rows_per_step, seed=params.seed)
        mine = rows[world.rank :: world.size]
        loss = self._optimisation.step(
            [mine[i : i + params.batch_size] for i in range(0, len(mine), params.batch_size)],
            num_targets=sum(int((targets != MASKED).sum()) for _, targets in rows),
            learning_rate=rate,
        )
        progress.held_out_nats = math.inf
        # All processes go by the first one's clock, and any one's signal ends them all.
        elapsed_s = time.monotonic() - self._began_s if world.is_first else 0.0
        asked_to_stop = noted.number is not None
        together = world.sum(torch.stack([loss, *_doubles(elapsed_s, asked_to_stop)]))
        nats, progress.elapsed_s, num_asked = together.tolist()
        self._check_finite(nats)
        if num_asked:
            noted.number = noted.number or signal.SIGTERM
        took_s = time.monotonic() - began_s
        progress.step += 1
        return StepReport(
            step=progress.step,
            loss=nats,
            held_out_loss=self._look() if self._is_look_due else None,
            learning_rate=rate,
            tokens_per_s=sum(len(inputs) for inputs, _ in rows) / took_s,
        )

    def _look(self) -> float:
        """Measure the held-out loss; who is patient remembers whether it is the best one."""
        progress = self.progress
        nats = held_out_nats(self._model, self._corpus, self._params.block_tokens, self._world)
        self._check_finite(nats)
        progress.held_out_nats = nats
        if self._params.patience is None:
            # Nothing keeps these weights, so a part of the run with patience can't go back to them.
            return nats
        if nats < progress.best_nats:
            progress.best_nats, progress.best_step = nats, progress.step
            progress.stale_evaluations = 0
        else:
            progress.stale_evaluations += 1
        return nats

    def _check_finite(self, nats: float) -> None:
        # Before anything is saved: the last checkpoint is the one to go on from.
        if not math.isfinite(nats):
            msg = (
                f"the loss is no number any more near step {self.progress.step}: training went "
                f"astray; a lower --learning-rate helps"
            )
            raise EngineError(msg)

    @property
    def _is_look_due(self) -> bool:
        step = self.progress.step
        if self._share_done >= 1.0:
            return True
        if self._params.evaluate_every is not None:
            return step % self._params.evaluate_every == 0
        rows, blocks = self._params.rows_per_step, len(self._blocks)
        return step * rows // blocks > (step - 1) * rows // blocks

    @property
    def _share_done(self) -> float:
        share = self.progress.step / self.total_steps
        if self._params.max_minutes is None:
            return share
        return max(share, self.progress.elapsed_s / (60 * self._params.max_minutes))

    @property
    def _has_lost_patience(self) -> bool:
        patience = self._params.patience
        return patience is not None and self.progress.stale_evaluations >= patience

    @property
    def _has_ended(self) -> bool:
        # Where a limit was lowered between two parts of a run, one more step measures where it is.
        is_measured = self.progress.held_out_nats < math.inf
        return is_measured and (self._share_done >= 1.0 or self._has_lost_patience)

    def _save_if_due(self, noted: Noted, *, improved: bool) -> None:
        # Weights that count as the best must be there when the run goes on behind them.
        keeps_best = self._params.patience is not None and improved
        if keeps_best and self._world.is_first:
            self._checkpoints.save_best(
                self._optimisation.state()["weights"], self.progress.best_step
            )
        is_late = time.monotonic() - self._saved_s > self._params.save_every_s
        if keeps_best or is_late or noted.number is not None:
            self._save()

    def _save(self) -> None:
        if self._world.is_first:
            self._checkpoints.save(self._optimisation.state(), self.progress)
        self._saved_s = time.monotonic()

    def _resume(self) -> Progress:
        saved = self._checkpoints.load()
        if saved is None:
            return Progress()
        state, progress = saved
        try:
            self._optimisation.restore(state)
        except UNREADABLE as error:
            raise self._checkpoints.unusable(error) from error
        return progress

    def _result(self) -> Result:
        progress = self.progress
        nats = progress.held_out_nats
        progress.elapsed_s = time.monotonic() - self._began_s
        if self._params.patience is not None and progress.best_step:
            nats = progress.best_nats
            # The others have no use for them, and would look for files that the first one removes.
            if self._world.is_first:
                restore_weights(self._model, self._checkpoints.load_best(progress.best_step))
        return Result(progress, held_out_loss(self._corpus, nats), self._has_lost_patience)


def _doubles(*numbers: float) -> list[torch.Tensor]:
    return [torch.tensor(number, dtype=torch.float64) for number in numbers]


def _shown(said: StepReport) -> dict[str, str]:
    shown = {"loss": f"{said.loss:.3f}", "tokens/s": f"{said.tokens_per_s:.0f}"}
    if said.held_out_loss is not None:
        shown["held_out"] = f"{said.held_out_loss:.3f}"
    return shown

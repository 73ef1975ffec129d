"""Owns who runs: the waiting line, the slots, and each step's plan. Never sees a tensor.

Continuous batching: at every step waiting sequences are admitted to free slots, and all rows
that are ready are decoded together. A budget of prefill tokens keeps running replies flowing
while a long prompt is read piece by piece. Source: Yu et al. 2022 (Orca); Agrawal et al. 2023.
"""

from collections import deque
from dataclasses import dataclass

from engine.errors import OverloadedError
from engine.sequence import Sequence, SequenceStatus
from wire.jobs import FinishReason


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of one sequence that one step computes.

    Attributes:
        sequence: RUNNING, so it has a slot.
        start: positions that the slot holds already.
        num_tokens: how many are computed now.
        samples: whether that reaches the sequence's end, so that its next token is drawn.
    """

    sequence: Sequence
    start: int
    num_tokens: int
    samples: bool


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step: `prefill` chunks run one by one, `decode` chunks as one batch.

    A `decode` chunk is one token long and draws the next.
    """

    prefill: tuple[Chunk, ...]
    decode: tuple[Chunk, ...]

    @property
    def sampled(self) -> tuple[Chunk, ...]:
        """Return the chunks that draw a token, in the order in which a runner answers."""
        return tuple(chunk for chunk in self.prefill + self.decode if chunk.samples)


class Scheduler:
    """Admit, plan, and take back.

    Args:
        num_slots: sequences that run at once.
        prefill_tokens: prompt tokens computed in one step.
        max_waiting: sequences that may wait.
        eot: the id that ends a text.
    """

    def __init__(self, *, num_slots: int, prefill_tokens: int, max_waiting: int, eot: int) -> None:
        self._num_slots = num_slots
        self._prefill_tokens = prefill_tokens
        self._max_waiting = max_waiting
        self._eot = eot
        self._waiting: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}

    @property
    def has_work(self) -> bool:
        """Return whether any sequence waits or runs."""
        return bool(self._waiting or self._running)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence into the line.

        Raises:
            OverloadedError: the line is full.
        """
        if len(self._waiting) >= self._max_waiting:
            msg = f"The engine's line is full: {self._max_waiting} requests are waiting."
            raise OverloadedError(msg)
        self._waiting.append(sequence)

    def finish(self, sequence: Sequence, reason: FinishReason | None) -> None:
        """End a sequence and free its slot; ending it twice is harmless.

        Args:
            sequence: waiting or running.
            reason: None if nobody wants to know any more.
        """
        if sequence.status is SequenceStatus.FINISHED:
            return
        if sequence.slot is None:
            self._waiting.remove(sequence)
        else:
            del self._running[sequence.slot]
            sequence.slot = None
        sequence.status = SequenceStatus.FINISHED
        sequence.finish_reason = reason

    def schedule(self) -> StepPlan:
        """Admit what fits and plan one step over all running sequences."""
        self._admit()
        prefill: list[Chunk] = []
        decode: dict[int, Chunk] = {}
        budget = self._prefill_tokens
        # In order of admission, so that no newcomer keeps an earlier prompt from being read.
        for slot, sequence in self._running.items():
            start = sequence.num_computed_tokens
            left = len(sequence.token_ids) - start
            if left == 1 and sequence.writes:
                decode[slot] = Chunk(sequence, start, 1, samples=True)
            elif budget > 0:
                num_tokens = min(left, budget)
                budget -= num_tokens
                samples = num_tokens == left and sequence.writes
                prefill.append(Chunk(sequence, start, num_tokens, samples=samples))
        # Slot order keeps the decoded rows neighbours in the cache, which is read in place then.
        return StepPlan(tuple(prefill), tuple(decode[slot] for slot in sorted(decode)))

    def postprocess(self, plan: StepPlan, drawn: list[int]) -> None:
        """Take a step's tokens: append them, and finish what reached its end.

        Args:
            plan: the step that ran.
            drawn: one id for each of `plan.sampled`.
        """
        for chunk in plan.prefill + plan.decode:
            sequence = chunk.sequence
            sequence.num_computed_tokens += chunk.num_tokens
            if not sequence.writes and sequence.num_computed_tokens == len(sequence.token_ids):
                self.finish(sequence, FinishReason.LENGTH)
        for chunk, token_id in zip(plan.sampled, drawn, strict=True):
            sequence = chunk.sequence
            if token_id == self._eot:
                self.finish(sequence, FinishReason.STOP)
                continue
            sequence.token_ids.append(token_id)
            if sequence.num_completion_tokens >= sequence.params.max_tokens:
                self.finish(sequence, FinishReason.LENGTH)

    def _admit(self) -> None:
        # Lowest slots first: the fewer holes, the more steps read the cache in place.
        free = [slot for slot in range(self._num_slots) if slot not in self._running]
        for slot in free[: len(self._waiting)]:
            sequence = self._waiting.popleft()
            sequence.slot = slot
            sequence.status = SequenceStatus.RUNNING
            self._running[slot] = sequence

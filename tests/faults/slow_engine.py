"""`python -m tests.faults.slow_engine serve`: the real engine, as slow as a test needs it.

It waits before each step for so many seconds as FAULTS_STEP_S says, so that a fault strikes in the
middle of a reply, and computes next to nothing meanwhile. A prompt that holds `POISON` kills the
process from within, as the kernel does when memory is out. It changes nothing else.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence as Seq
from typing import Any

from engine import loading
from engine.__main__ import main
from engine.llm_engine import LLMEngine
from engine.sequence import Scoring, Sequence, StepOutput
from wire.jobs import SamplingParams

POISON = "arsenic"
STEPS_TO_DEATH = 5
"""So that those who share the batch have begun."""
STEP_S = "FAULTS_STEP_S"


class SlowEngine(LLMEngine):
    """Waits before each step, and dies of poison."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._step_s = float(os.environ.get(STEP_S, "0"))
        self._steps_left: int | None = None

    def add(
        self, prompt: str | Seq[int], params: SamplingParams, scoring: Scoring | None = None
    ) -> Sequence:
        if isinstance(prompt, str) and POISON in prompt:
            self._steps_left = STEPS_TO_DEATH
        return super().add(prompt, params, scoring)

    def step(self) -> list[StepOutput]:
        time.sleep(self._step_s)
        if self._steps_left is not None:
            self._steps_left -= 1
        if self._steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step()


if __name__ == "__main__":
    vars(loading).update(LLMEngine=SlowEngine)
    sys.exit(main())

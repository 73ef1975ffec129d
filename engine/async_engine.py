"""Owns the engine thread: the one entrance to a running LLMEngine. Knows no door.

One thread owns tokens, cache and device. Callers put requests and withdrawals into its inbox,
and it hands their events back to their event loop. Nothing else is shared but when the step that
runs began, so nothing is locked.
"""

import asyncio
import contextlib
import logging
import queue
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Self

from engine.errors import EngineError, EngineStoppedError
from engine.llm_engine import LLMEngine
from engine.model_runner import NoNumberError
from engine.sequence import Scoring, Sequence, StepOutput, TokenScore
from wire.jobs import Delta, Done, ErrorCode, Failed, FinishReason, SamplingParams, Usage

log = logging.getLogger(__name__)

Event = Delta | Done | Failed

HUNG_S = 300.0
"""A step lasts seconds, or a minute on the slowest machines; one that lasts longer never ends."""
LEAVE_S = 5.0
"""How long a step that runs may keep the program from ending."""


class ScoredDelta(Delta):
    """What callers who ask for scores get at every step; its text may be empty.

    The text of a token may come later than the token: it waits for whole characters and for
    what might begin a stop string.
    """

    scores: tuple[TokenScore, ...]


@dataclass(eq=False, slots=True)
class _Request:
    """One caller's request. The engine thread fills everything behind `began_s`."""

    prompt: str | Seq[int]
    params: SamplingParams
    scoring: Scoring | None
    waited_ms: int
    emit: Callable[[Event | EngineStoppedError], None]
    began_s: float = field(default_factory=time.monotonic)
    sequence: Sequence | None = None
    first_token_s: float | None = None
    sent_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Withdrawal:
    request: _Request
    cancelled: bool


class AsyncEngine:
    """Run an LLMEngine in a thread of its own, and stream to any number of callers.

    Use it as an async context manager; leaving it stops the thread after the current step, and
    leaves it behind if that does not end.

    Args:
        engine: owned by the thread from now on.
        model_name: what `Done` says.
    """

    def __init__(self, engine: LLMEngine, model_name: str) -> None:
        self._engine = engine
        self.model_name = model_name
        self.tokenizer = engine.tokenizer
        self._inbox: queue.SimpleQueue[_Request | _Withdrawal | None] = queue.SimpleQueue()
        self._requests: dict[Sequence, _Request] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._stopped = threading.Event()
        self._step_began_s: float | None = None

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join, LEAVE_S)
        if self._thread.is_alive():
            said = "model %s: a step has not ended for %.0f s, and is left behind"
            log.error(said, self.model_name, self._step_s)

    @property
    def is_alive(self) -> bool:
        """Return whether requests are still answered."""
        is_running = self._thread.is_alive() and not self._stopped.is_set()
        return is_running and self._step_s <= HUNG_S

    @property
    def _step_s(self) -> float:
        """How long the step that runs has lasted; 0 between two."""
        began_s = self._step_began_s
        return 0.0 if began_s is None else time.monotonic() - began_s

    def encode(self, prompt: str | Seq[int], max_tokens: int) -> list[int]:
        """Return a prompt's ids; as `LLMEngine.encode`, and free to be called in any thread."""
        return self._engine.encode(prompt, max_tokens)

    async def generate(
        self,
        prompt: str | Seq[int],
        params: SamplingParams,
        *,
        waited_ms: int = 0,
        cancelled: asyncio.Event | None = None,
        scoring: Scoring | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Stream a reply: any number of `Delta`, then exactly one `Done` or `Failed`.

        Leaving the generator early frees the slot at the next step (wrap it in
        `contextlib.aclosing`, or it is freed only when it is collected).

        Args:
            prompt: text or ids; may be empty: an unconditional sample.
            params: a missing seed is drawn here and reported in `Done`.
            waited_ms: how long the request waited before it came here.
            cancelled: when set, the reply ends at the next step with `FinishReason.CANCELLED`.
            scoring: when given, tokens come in `ScoredDelta`s as they are drawn.

        Raises:
            EngineStoppedError: the step loop has ended.
        """
        events: asyncio.Queue[Event | EngineStoppedError] = asyncio.Queue()
        if params.seed is None:
            params = params.model_copy(update={"seed": secrets.randbelow(2**53)})
        request = _Request(prompt, params, scoring, waited_ms, _handing_over_to(events))
        with self._asked(request, cancelled):
            while True:
                event = await events.get()
                if isinstance(event, EngineStoppedError):
                    raise event
                yield event
                if not isinstance(event, Delta):
                    return

    @contextlib.contextmanager
    def _asked(self, request: _Request, cancelled: asyncio.Event | None) -> Iterator[None]:
        """Have a request answered until the block is left."""
        watch = asyncio.ensure_future(self._watch(request, cancelled)) if cancelled else None
        self._inbox.put(request)
        # The thread may have died before it could see this request.
        if self._stopped.is_set():
            request.emit(EngineStoppedError("The engine has stopped."))
        try:
            yield
        finally:
            if watch is not None:
                watch.cancel()
            self._inbox.put(_Withdrawal(request, cancelled=False))

    async def _watch(self, request: _Request, cancelled: asyncio.Event) -> None:
        await cancelled.wait()
        self._inbox.put(_Withdrawal(request, cancelled=True))

    def _run(self) -> None:
        """Turn the crank until told to stop; whatever goes wrong, nobody is left waiting."""
        try:
            while self._take_inbox():
                self._step_began_s = time.monotonic()
                self._step()
                self._step_began_s = None
        except Exception:
            log.exception("the step loop has died")
        finally:
            self._stopped.set()
            self._refuse_all()

    def _step(self) -> None:
        try:
            outputs = self._engine.step()
        except NoNumberError as error:
            # Who asked is told: without an answer they would ask one engine after the other.
            log.error("model %s: %s", self.model_name, error)
            said = f"The model {self.model_name} cannot write this: {error}."
            for sequence in error.sequences:
                self._engine.abort(sequence)
                self._requests.pop(sequence).emit(Failed(code=ErrorCode.INTERNAL, message=said))
            return
        for output in outputs:
            self._hand_out(output)

    def _take_inbox(self) -> bool:
        """Take all that waits; when idle, wait for something. Return False when told to stop."""
        while True:
            try:
                item = self._inbox.get(block=not self._engine.has_work)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, _Request):
                self._begin(item)
            else:
                self._withdraw(item)

    def _begin(self, request: _Request) -> None:
        try:
            request.sequence = self._engine.add(request.prompt, request.params, request.scoring)
        except EngineError as error:
            request.emit(Failed(code=error.code, message=str(error)))
        else:
            self._requests[request.sequence] = request

    def _withdraw(self, withdrawal: _Withdrawal) -> None:
        sequence = withdrawal.request.sequence
        if sequence is None or sequence not in self._requests:
            return
        del self._requests[sequence]
        held_back = self._engine.abort(sequence)
        if withdrawal.cancelled:
            self._send(withdrawal.request, held_back, ())
            withdrawal.request.emit(self._done(withdrawal.request, FinishReason.CANCELLED))

    def _hand_out(self, output: StepOutput) -> None:
        request = self._requests[output.sequence]
        if request.first_token_s is None and output.sequence.num_completion_tokens:
            request.first_token_s = time.monotonic()
        self._send(request, output.text, output.scores)
        if output.finish_reason is not None:
            del self._requests[output.sequence]
            request.emit(self._done(request, output.finish_reason))

    def _send(self, request: _Request, text: str, scores: tuple[TokenScore, ...]) -> None:
        if scores:
            request.emit(ScoredDelta(offset_bytes=request.sent_bytes, text=text, scores=scores))
        elif text:
            request.emit(Delta(offset_bytes=request.sent_bytes, text=text))
        request.sent_bytes += len(text.encode())

    def _done(self, request: _Request, reason: FinishReason) -> Done:
        sequence, maker = request.sequence, self._engine.maker
        assert sequence is not None
        assert request.params.seed is not None
        first_s = request.first_token_s
        return Done(
            finish_reason=reason,
            model_name=self.model_name,
            seed=request.params.seed,
            provenance=maker.provenance(request.params) if maker else None,
            usage=Usage(
                prompt_tokens=sequence.num_prompt_tokens,
                completion_tokens=sequence.num_completion_tokens,
                queue_ms=request.waited_ms,
                first_token_ms=None if first_s is None else _ms(first_s - request.began_s),
                total_ms=request.waited_ms + _ms(time.monotonic() - request.began_s),
            ),
        )

    def _refuse_all(self) -> None:
        waiting = list(self._requests.values())
        while not self._inbox.empty():
            item = self._inbox.get()
            waiting += [item] if isinstance(item, _Request) else []
        for request in waiting:
            request.emit(EngineStoppedError("The engine has stopped."))


def _handing_over_to(
    events: "asyncio.Queue[Event | EngineStoppedError]",
) -> Callable[[Event | EngineStoppedError], None]:
    """Return how the engine thread puts events into a queue of the event loop that runs here."""
    loop = asyncio.get_running_loop()

    def emit(event: Event | EngineStoppedError) -> None:
        # A caller whose event loop is closed is not there to be told.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return emit


def _ms(seconds: float) -> int:
    return round(1000 * seconds)

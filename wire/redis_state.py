"""What a program knows of Redis from the outcomes of its own calls. Asks nothing by itself."""

import logging
import time
from enum import StrEnum

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

STALE_S = 8.0
"""An answer older than this says nothing of now: whoever watches asks every two seconds, and a
server that says nothing is given up on after four."""


class RedisState(StrEnum):
    """How Redis was when it was last heard of."""

    ANSWERS = "answers"
    AWAY = "away"
    """Nothing was heard of it, or not for long."""
    FULL = "full"
    """It answers, but has no memory left for new jobs."""
    READ_ONLY = "read-only"
    """It answers, but is the replica of another."""
    DOWN = "down"
    """It answers, but takes nothing now: its Cluster is incomplete, it lacks replicas or a disk."""
    REFUSES = "refuses"
    """It answers, but does not do what it is asked: a wrong password, a missing right, a node of a
    Cluster that does not hold the queue."""


_STATES = (
    (OutOfMemoryError, RedisState.FULL),
    (ReadOnlyError, RedisState.READ_ONLY),
    (MovedError, RedisState.REFUSES),
    ((ClusterDownError, AskError, TryAgainError), RedisState.DOWN),
    ((ResponseError, AuthenticationError, AuthorizationError), RedisState.REFUSES),
)
"""What an error says of Redis; the first that fits."""
_NOT_NOW_CODES = ("NOREPLICAS", "MISCONF")
_CUT_CODE = "UNBLOCKED"
"""redis-py has no classes for these three. The last cuts off who waits on a new replica."""


class RedisWatch:
    """Keep what calls say of Redis, and log it when it changes.

    A call of one kind may be refused while another goes well, for want of a right, so only one of
    the same kind ends that. A read that went well does not show that Redis can be written to, so
    only a write that went well ends what keeps writes from it.

    Args:
        log: of the program's part that owns this.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._heard_s: float | None = None
        self._refused_kinds: set[str] = set()
        self._write_refusal: RedisState | None = None
        self._trouble: RedisState | None = None
        self._trouble_began_s = 0.0

    @property
    def state(self) -> RedisState:
        """Return how Redis is; long without an outcome of any call, it counts as away."""
        if self._heard_s is None or time.monotonic() - self._heard_s > STALE_S:
            return RedisState.AWAY
        return self._trouble or RedisState.ANSWERS

    @property
    def answers(self) -> bool:
        """Return whether a job would be taken now, as far as is known."""
        return self.state is RedisState.ANSWERS

    def failed(self, kind: str, error: RedisError) -> None:
        """Note that a call of this kind went wrong."""
        match _state_after(error):
            case RedisState.AWAY as away:
                self._note(away, error)
                return
            case RedisState.REFUSES:
                self._refused_kinds.add(kind)
            case state:
                # Rights come first, so it has them.
                self._refused_kinds.discard(kind)
                self._write_refusal = state
        self._heard(error)

    def read(self, kind: str) -> None:
        """Note that a call of this kind went well which only read."""
        self._refused_kinds.discard(kind)
        self._heard()

    def wrote(self, kind: str, *, is_full: bool = False) -> None:
        """Note that a call of this kind went well which wrote, and whether memory is full."""
        self._write_refusal = RedisState.FULL if is_full else None
        self.read(kind)

    def _heard(self, error: RedisError | None = None) -> None:
        self._heard_s = time.monotonic()
        self._note(RedisState.REFUSES if self._refused_kinds else self._write_refusal, error)

    def _note(self, state: RedisState | None, error: RedisError | None = None) -> None:
        before, self._trouble = self._trouble, state
        if state is not None and before is None:
            self._trouble_began_s = time.monotonic()
        if state is not None and before is not state:
            reason = f": {error}" if error is not None else ""
            self._log.warning("Redis is %s, waiting for it%s", _words(state), reason)
        elif state is None and before is not None:
            lasted_s = time.monotonic() - self._trouble_began_s
            self._log.info("Redis answers again after %.1f s", lasted_s)


def _words(state: RedisState) -> str:
    return "not doing what it is asked" if state is RedisState.REFUSES else state


def _state_after(error: RedisError) -> RedisState:
    if str(error).startswith(_NOT_NOW_CODES):
        return RedisState.DOWN
    if str(error).startswith(_CUT_CODE):
        return RedisState.AWAY
    states = (state for kind, state in _STATES if isinstance(error, kind))
    return next(states, RedisState.AWAY)

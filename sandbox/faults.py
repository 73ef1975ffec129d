"""Misbehaviour to order: what the next matching requests are answered instead; knows no world."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from sandbox.model import Json


class Scope(Enum):
    """Whose rate limit a 429 says was broken."""

    USER = "user"
    SHARED = "shared"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that Discord's machines give in place of the real one."""

    status: int
    code: int = 0
    message: str = ""
    retry_after_s: float = 0.0
    scope: Scope | None = None
    via: bool = True
    """False on a 429 is a ban by Discord's front, which clients must not retry."""

    @property
    def body(self) -> Json:
        """The answer's JSON."""
        body: Json = {"message": self.message or f"{self.status}: sandbox fault", "code": self.code}
        if self.status != 429:
            return body
        limited = {"retry_after": self.retry_after_s, "global": self.scope is Scope.GLOBAL}
        return {**body, "message": "You are being rate limited.", **limited}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a 429; none for other statuses."""
        if self.status != 429:
            return {}
        headers = {"Retry-After": str(self.retry_after_s)}
        if self.scope is not None:
            headers["X-RateLimit-Scope"] = self.scope.value
        if self.scope is Scope.GLOBAL:
            headers["X-RateLimit-Global"] = "true"
        return headers


@dataclass(slots=True)
class Plan:
    """What happens to one request.

    Attributes:
        delay_s: How long the request waits first.
        gate: The request waits first until this is set.
        refuse: Answer this and do nothing.
        instead: Do the work, then answer this.
        gate_after: Do the work, then let the answer wait until this is set.
        cut_before: Close the connection and do nothing.
        cut: Do the work, then close the connection without an answer.
    """

    delay_s: float = 0.0
    gate: asyncio.Event | None = None
    refuse: Answer | None = None
    instead: Answer | None = None
    gate_after: asyncio.Event | None = None
    cut_before: bool = False
    cut: bool = False

    def let_go(self) -> None:
        """Let what waits go on."""
        for gate in (self.gate, self.gate_after):
            if gate is not None:
                gate.set()


@dataclass(slots=True)
class _Order:
    pattern: str
    plan: Plan
    left: int


@dataclass(slots=True)
class Faults:
    """A list of orders; each request obeys the first that matches it.

    A pattern is `METHOD /route`, the route written as in Discord's documents, with `*` and `?`
    as in file names: `POST /channels/{channel_id}/messages`, `PATCH */messages/*`, `*`.
    """

    _orders: list[_Order] = field(default_factory=list)

    def refuse(
        self,
        pattern: str,
        status: int,
        *,
        times: int = 1,
        code: int = 0,
        message: str = "",
        retry_after_s: float = 0.05,
        scope: Scope | None = Scope.USER,
        via: bool = True,
        gate: asyncio.Event | None = None,
    ) -> None:
        """Answer the next `times` matching requests with a status and do nothing.

        With a `gate` they wait until it is set.
        """
        answer = Answer(status, code, message, retry_after_s, scope, via)
        self._add(pattern, Plan(gate=gate, refuse=answer), times)

    def lose(self, pattern: str, *, times: int = 1, status: int | None = None) -> None:
        """Do the work but lose the answer: close the connection, or answer `status` (5xx)."""
        plan = Plan(cut=True) if status is None else Plan(instead=Answer(status))
        self._add(pattern, plan, times)

    def cut(self, pattern: str, *, times: int = 1) -> None:
        """Close the connection of the next `times` matching requests and do nothing."""
        self._add(pattern, Plan(cut_before=True), times)

    def delay(self, pattern: str, delay_s: float, *, times: int = 1) -> None:
        """Let the next `times` matching requests wait before anything is done."""
        self._add(pattern, Plan(delay_s=delay_s), times)

    def hold(self, pattern: str, *, times: int = 1) -> asyncio.Event:
        """Let the next `times` matching requests wait until the returned event is set."""
        gate = asyncio.Event()
        self._add(pattern, Plan(gate=gate), times)
        return gate

    def hold_answer(self, pattern: str, *, times: int = 1) -> asyncio.Event:
        """Do the work of the next `times` matching requests; their answers wait for the event."""
        gate = asyncio.Event()
        self._add(pattern, Plan(gate_after=gate), times)
        return gate

    def is_used_up(self, pattern: str) -> bool:
        """Tell whether the requests that were waited for under a pattern have all come."""
        return all(order.left == 0 for order in self._orders if order.pattern == pattern)

    def clear(self) -> None:
        """Forget all orders and let go of what waits."""
        for order in self._orders:
            order.plan.let_go()
        self._orders.clear()

    def _add(self, pattern: str, plan: Plan, times: int) -> None:
        self._orders.append(_Order(pattern, plan, times))

    def take(self, method: str, route: str) -> Plan:
        """Use up the first order that matches; a harmless plan if none does."""
        for order in self._orders:
            if order.left > 0 and fnmatchcase(f"{method} {route}", order.pattern):
                order.left -= 1
                return order.plan
        return Plan()

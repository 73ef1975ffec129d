"""Discord's rate limits: buckets, their headers and their 429; knows no route's work."""

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.world import Clock

_MESSAGE = "/channels/{channel_id}/messages"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `requests` in each window of `per_s` seconds."""

    requests: int
    per_s: float


DISCORD_LIMITS: Mapping[str, Limit] = {
    f"POST {_MESSAGE}": Limit(5, 5.0),
    f"PATCH {_MESSAGE}/{{message_id}}": Limit(5, 5.0),
    f"DELETE {_MESSAGE}/{{message_id}}": Limit(5, 1.0),
    "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me": Limit(1, 0.25),
    "POST /channels/{channel_id}/typing": Limit(5, 5.0),
    "POST /webhooks/{webhook_id}/{webhook_token}": Limit(5, 2.0),
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original": Limit(5, 2.0),
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}": Limit(5, 2.0),
}
"""What Discord's headers have shown; each applies for each channel or webhook token apart."""


@dataclass(slots=True)
class _Window:
    ends_s: float
    left: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, and the headers that say so."""

    retry_after_s: float
    """0 where it may."""
    headers: dict[str, str]


@dataclass(slots=True)
class RateLimiter:
    """Counts requests in fixed windows that begin with their first request."""

    clock: Clock
    limits: Mapping[str, Limit]
    _windows: dict[tuple[str, str], _Window] = field(default_factory=dict)

    def ask(self, method: str, route: str, params: Mapping[str, str]) -> Verdict:
        """Count one request on a route with these path parameters."""
        name = f"{method} {route}"
        limit = self.limits.get(name)
        if limit is None:
            return Verdict(0.0, {})
        now_s = self.clock()
        major = params.get("channel_id") or params.get("webhook_token", "")
        window = self._windows.get((name, major))
        if window is None or window.ends_s <= now_s:
            window = _Window(now_s + limit.per_s, limit.requests)
            self._windows[name, major] = window
        left_s = window.ends_s - now_s
        refused = window.left == 0
        window.left = max(0, window.left - 1)
        headers = {
            "X-RateLimit-Limit": str(limit.requests),
            "X-RateLimit-Remaining": str(window.left),
            # Discord rounds up, so that a client that obeys is never early.
            "X-RateLimit-Reset-After": f"{math.ceil(left_s * 1000) / 1000:.3f}",
            "X-RateLimit-Reset": f"{time.time() + left_s:.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(name.encode()).hexdigest()[:32],
        }
        return Verdict(left_s if refused else 0.0, headers)

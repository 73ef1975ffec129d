"""BotMetrics: what the bot counts, for Prometheus to scrape. Knows no ids and no texts.

Each label has few values: they come from the program's own lists of words, never from people.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from wire.endings import Ending

TIME_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)


class BotMetrics:
    """The counters of one program, whichever client is at Discord."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._requests = Counter(
            "ovid_bot_requests_total",
            "What people asked for, and whether it was taken in.",
            ("kind", "admission"),
            registry=registry,
        )
        self._replies = Counter(
            "ovid_bot_replies_total",
            "Requests that had their last word.",
            ("ending", "reason"),
            registry=registry,
        )
        self._edits = Counter(
            "ovid_bot_edits_total", "Edits of replies that are over.", registry=registry
        )
        self._first_text_s = Histogram(
            "ovid_bot_first_text_seconds",
            "From the asking to the first text of the model that Discord shows.",
            buckets=TIME_BUCKETS_S,
            registry=registry,
        )
        self._reply_s = Histogram(
            "ovid_bot_reply_seconds",
            "From the asking to the last word.",
            buckets=TIME_BUCKETS_S,
            registry=registry,
        )

    def register(self, collector: Collector) -> None:
        """Have somebody asked at each scrape for what they own."""
        self._registry.register(collector)

    def asked(self, kind: str, admission: str) -> None:
        """Count a request."""
        self._requests.labels(kind, admission).inc()

    def showed_first_text(self, seconds: float) -> None:
        """Note how long a person waited for the first text."""
        self._first_text_s.observe(seconds)

    def ended(self, ending: Ending, *, num_edits: int = 0, seconds: float | None = None) -> None:
        """Count a last word; `seconds` since the asking, where that was seen."""
        self._replies.labels(ending.kind, ending.reason).inc()
        self._edits.inc(num_edits)
        if seconds is not None:
            self._reply_s.observe(seconds)

    def exposition(self) -> bytes:
        """Write everything in Prometheus's text format."""
        return generate_latest(self._registry)

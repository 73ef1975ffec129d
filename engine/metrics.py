"""EngineMetrics: what the engine counts, for Prometheus to scrape. Knows no ids and no texts.

Each label has few values: they come from the program's own lists of words, never from people.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from wire.endings import Ending

TIME_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)


class EngineMetrics:
    """The counters of one program, whichever door a job came through."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._jobs = Counter(
            "ovid_engine_jobs_total",
            "Jobs that had their last word.",
            ("ending", "reason"),
            registry=registry,
        )
        self._prompt_tokens = Counter(
            "ovid_engine_prompt_tokens_total", "Tokens read.", registry=registry
        )
        self._completion_tokens = Counter(
            "ovid_engine_completion_tokens_total", "Tokens written.", registry=registry
        )
        self._queue_s, self._first_token_s, self._job_s = (
            Histogram(
                f"ovid_engine_{name}_seconds", words, buckets=TIME_BUCKETS_S, registry=registry
            )
            for name, words in (
                ("queue", "From submission to the claim."),
                ("first_token", "From the claim to the first token."),
                ("job", "From submission to the last token."),
            )
        )

    def register(self, collector: Collector) -> None:
        """Have somebody asked at each scrape for what they own."""
        self._registry.register(collector)

    def ended(self, ending: Ending) -> None:
        """Count a job that is over."""
        self._jobs.labels(ending.kind, ending.reason).inc()
        self._prompt_tokens.inc(ending.prompt_tokens or 0)
        self._completion_tokens.inc(ending.completion_tokens or 0)
        if ending.kind == "refused":
            # In no time: many would hide how long the others take.
            return
        for histogram, duration_ms in (
            (self._queue_s, ending.queue_ms),
            (self._first_token_s, ending.first_token_ms),
            (self._job_s, ending.total_ms),
        ):
            if duration_ms is not None:
                histogram.observe(duration_ms / 1000)

    def exposition(self) -> bytes:
        """Write everything in Prometheus's text format."""
        return generate_latest(self._registry)

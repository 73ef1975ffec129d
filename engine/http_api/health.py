"""Owns `/healthz`, `/readyz` and `/metrics`, on the API's own server and at a port of their own.

It holds no state: each answer is put together from what pool, worker and door know at that moment.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from typing_extensions import override

from engine.metrics import EngineMetrics
from engine.model_pool import ModelPool
from wire.redis_state import RedisWatch
from wire.version import VERSION

log = logging.getLogger(__name__)

FAREWELL_S = 1.0
"""How long a caller who says nothing more may keep the program from ending."""


class JobDoor(Protocol):
    """The door to the queue, as far as it concerns whoever asks how the engine is."""

    redis: RedisWatch

    has_ended: bool

    @property
    def num_running(self) -> int:
        """Return how many jobs are being served."""


class EngineHealth:
    """How the parts of the engine are.

    Attributes:
        num_over_http: says how many samples are being written for HTTP callers.

    Args:
        pool: of the models; before it is open they count as being loaded.
        metrics: of the engine.
        jobs: the door to the queue; None where there is none.
        stop: set when the engine was told to stop.
    """

    def __init__(
        self,
        pool: ModelPool,
        metrics: EngineMetrics,
        jobs: JobDoor | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        self.metrics = metrics
        self.num_over_http: Callable[[], int] = lambda: 0
        self._pool = pool
        self._jobs = jobs
        self._stop = stop or asyncio.Event()
        metrics.register(_Present(self))

    @property
    def step_loop(self) -> str:
        """Return whether models run: `dead`, or how the default model is."""
        return self._pool.default_state if self._pool.is_alive else "dead"

    @property
    def is_well(self) -> bool:
        """Return whether the program itself works, be its surroundings as they may.

        A worker that was told to stop may end while HTTP callers still have their time of grace.
        """
        has_broken_off = self._jobs is not None and self._jobs.has_ended and not self._stop.is_set()
        return self._pool.is_alive and not has_broken_off

    @property
    def is_ready(self) -> bool:
        """Return whether who asked now would get an answer."""
        runs = self.is_well and self.step_loop == "runs" and not self._stop.is_set()
        return runs and self.redis_up is not False

    @property
    def redis_up(self) -> bool | None:
        """Return whether Redis gives jobs; None where there are to be none."""
        return None if self._jobs is None else self._jobs.redis.answers

    @property
    def num_slots(self) -> int:
        """Return how many replies each model writes at once."""
        return self._pool.num_slots

    @property
    def num_running(self) -> int:
        """Return how many replies are under way, through all doors."""
        return self.num_over_http() + (self._jobs.num_running if self._jobs is not None else 0)

    def report(self) -> dict[str, str | int]:
        """Name the state of each part."""
        return {
            "status": "ready" if self.is_ready else "not ready",
            "step_loop": self.step_loop,
            **({"redis": self._jobs.redis.state} if self._jobs is not None else {}),
            "slots": self.num_slots,
            "running": self.num_running,
            "model": self._pool.default_name,
            "version": VERSION,
        }


class _Present(Collector):
    """What is true at the moment of a scrape. What there is none of is left out."""

    def __init__(self, health: EngineHealth) -> None:
        self._health = health

    @override
    def collect(self) -> Iterator[Metric]:
        health = self._health
        values: tuple[tuple[str, str, float | None], ...] = (
            ("tasks", "asyncio tasks that are alive.", len(asyncio.all_tasks())),
            ("redis_up", "1 while Redis gives jobs.", health.redis_up),
            ("slots", "Replies that each model writes at once.", health.num_slots),
            ("running", "Replies under way.", health.num_running),
        )
        for name, words, value in values:
            family = GaugeMetricFamily(f"ovid_engine_{name}", words)
            if value is not None:
                family.add_metric((), value)
            yield family


health_key = web.AppKey("health", EngineHealth)
PROBES = ("/healthz", "/readyz")
"""They tell nothing but how the engine is, so whoever watches it needs no token."""


async def healthz(request: web.Request) -> web.Response:
    """Answer `GET /healthz`: 200 while the program itself works."""
    is_well = request.app[health_key].is_well
    return web.json_response(
        {"status": "ok" if is_well else "not ok"}, status=200 if is_well else 503
    )


async def readyz(request: web.Request) -> web.Response:
    """Answer `GET /readyz`: 200 while who asked would get an answer; each part apart."""
    health = request.app[health_key]
    return web.json_response(health.report(), status=200 if health.is_ready else 503)


async def expose(request: web.Request) -> web.Response:
    """Answer `GET /metrics`."""
    metrics = request.app[health_key].metrics
    return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})


ROUTES = (
    web.get("/healthz", healthz),
    web.get("/readyz", readyz),
    web.get("/metrics", expose),
)


@contextlib.asynccontextmanager
async def health_server(health: EngineHealth, host: str, port: int) -> AsyncIterator[int]:
    """Answer the three routes alone, and give the port.

    Args:
        health: of the engine.
        host: name or address to listen at.
        port: 0 takes any that is free.

    Raises:
        OSError: that address and port cannot be had.
    """
    app = web.Application()
    app[health_key] = health
    app.add_routes(ROUTES)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=FAREWELL_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        taken: int = runner.addresses[0][1]
        log.info("health at http://%s:%d", f"[{host}]" if ":" in host else host, taken)
        yield taken
    finally:
        await runner.cleanup()

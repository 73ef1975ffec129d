"""Say over HTTP how the bot is: `/healthz`, `/readyz`, `/metrics`. Changes nothing.

It lives as long as the program and holds no state: each answer is put together from what client
and queue watch know at that moment.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from typing_extensions import override

from bot.ban import Ban
from bot.metrics import BotMetrics
from bot.queue_watch import QueueWatch
from wire.version import VERSION

if TYPE_CHECKING:
    from bot.client import BotClient

_log = logging.getLogger(__name__)

FAREWELL_S = 1.0
"""How long a caller who says nothing more may keep the program from ending."""


class BotHealth:
    """How the parts of the bot are.

    Attributes:
        client: That is at Discord now, or tries to get there; None between two.

    Args:
        watch: Of the queue.
        ban: Whether Discord hears this machine.
    """

    def __init__(self, watch: QueueWatch, ban: Ban | None = None) -> None:
        self.watch = watch
        self._ban = ban or Ban()
        self.client: BotClient | None = None

    @property
    def is_well(self) -> bool:
        """Whether the program itself works, be its surroundings as they may."""
        return self.watch.is_running and (self.client is None or self.client.is_following)

    @property
    def is_at_gateway(self) -> bool:
        """Whether Discord's events arrive."""
        return self.client is not None and self.client.is_connected

    @property
    def is_heard(self) -> bool:
        """Whether Discord lets the bot say anything."""
        return not self._ban.left_s

    @property
    def num_engines(self) -> int | None:
        """Live engines; None while nobody can say."""
        stats = self.watch.stats
        return None if stats is None else stats.num_engines

    @property
    def is_ready(self) -> bool:
        """Whether a person who asked now would get an answer."""
        at_discord = self.is_at_gateway and self.is_heard
        return all((self.is_well, at_discord, self.watch.redis.answers, self.num_engines))

    def report(self) -> dict[str, str | int | None]:
        """Name the state of each part."""
        return {
            "status": "ready" if self.is_ready else "not ready",
            "gateway": "connected" if self.is_at_gateway else "away",
            "discord": "hears" if self.is_heard else "shuts out",
            "redis": self.watch.redis.state,
            "engines": self.num_engines,
            "version": VERSION,
        }


class Present(Collector):
    """What is true at the moment of a scrape. What is not known is left out.

    Args:
        health: Of the bot.
    """

    def __init__(self, health: BotHealth) -> None:
        self._health = health

    @override
    def collect(self) -> Iterator[Metric]:
        health, client, stats = self._health, self._health.client, self._health.watch.stats
        num_waiting, num_running, num_dead = (
            (stats.num_waiting, stats.num_running, stats.num_dead) if stats else (None, None, None)
        )
        values: tuple[tuple[str, str, float | None], ...] = (
            ("bot_tasks", "asyncio tasks that are alive.", len(asyncio.all_tasks())),
            ("bot_gateway_up", "1 while Discord's events arrive.", health.is_at_gateway),
            (
                "bot_heartbeat_latency_seconds",
                "From Discord's gateway and back, the last time.",
                client.latency if client is not None and health.is_at_gateway else None,
            ),
            ("bot_redis_up", "1 while Redis takes jobs.", health.watch.redis.answers),
            ("bot_engines", "Live engines.", health.num_engines),
            ("bot_live_replies", "Replies under way.", client.num_live if client else 0),
            ("queue_waiting", "Jobs in line.", num_waiting),
            ("queue_running", "Jobs that engines hold.", num_running),
            ("queue_dead", "Jobs given up, the last thousand.", num_dead),
        )
        for name, words, value in values:
            family = GaugeMetricFamily(f"ovid_{name}", words)
            if value is not None:
                family.add_metric((), value)
            yield family


@contextlib.asynccontextmanager
async def health_server(
    health: BotHealth, metrics: BotMetrics, host: str, port: int
) -> AsyncIterator[int]:
    """Answer at a port, and give it.

    Args:
        health: Of the bot.
        metrics: What it counts.
        host: Name or address to listen at.
        port: 0 takes any that is free.

    Raises:
        OSError: That address and port cannot be had.
    """
    metrics.register(Present(health))
    runner = web.AppRunner(_app(health, metrics), access_log=None, shutdown_timeout=FAREWELL_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        taken: int = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        _log.info("health at http://%s:%d", shown, taken)
        yield taken
    finally:
        await runner.cleanup()


def _app(health: BotHealth, metrics: BotMetrics) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        words = "ok" if health.is_well else "not ok"
        return web.json_response({"status": words}, status=200 if health.is_well else 503)

    async def readyz(_: web.Request) -> web.Response:
        return web.json_response(health.report(), status=200 if health.is_ready else 503)

    async def expose(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", expose)]
    )
    return app

"""Owns the `serve` command: models, worker, Redis and HTTP are opened here and closed here."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from redis.asyncio import Redis

from engine.commands.marking import MarkingCommand
from engine.errors import EngineStoppedError
from engine.loading import load_engine, pick_device
from engine.metrics import EngineMetrics
from engine.model_pool import ModelPool
from engine.verifier import Verifier
from engine.watermark import WatermarkKey
from engine.worker import STEP_LOOP_DIED, Worker
from wire.connection import connect, hide_password
from wire.listening import cannot_listen
from wire.log_lines import LogFormat, set_up_logging
from wire.queue import JobQueue

if TYPE_CHECKING:
    from engine.http_api import EngineHealth, HttpOptions

log = logging.getLogger(__name__)

INTERRUPTED = 130
"""The exit status after Ctrl-C, as a shell has it."""
LIFE_CHECK_S = 1.0
"""How often an engine without Redis looks whether its step loops live."""


class Serve(MarkingCommand):
    """Serve GPT-2s to the bots at a Redis, over HTTP, or both."""

    redis: bool = True
    """Take jobs from Redis; `--no-redis` serves HTTP alone."""
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    """One server, Sentinels or a Cluster, as docs/operations.md says; it may hold a password, and
    is shown without it."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 8
    """Replies written at once. Each takes its share of memory for keys and values, in every model
    that is loaded."""
    prefill_tokens: Annotated[int, Field(ge=16)] = 512
    """Prompt tokens read in one step: fewer keep running replies flowing past a long prompt."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """On shutdown, how long running replies may finish before another engine gets them."""
    http_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Serve OpenAI's HTTP API at this port; 0: any free one; left out: no HTTP."""
    http_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Where to listen; any other address than this machine's own needs a token."""
    http_token: SecretStr | None = None
    """What HTTP callers must bear."""
    http_max_requests: Annotated[int, Field(ge=1, le=4096)] = 32
    """Samples that HTTP callers may have in flight at once."""
    health_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Answer /healthz, /readyz and /metrics at this port, without a token; 0: any free one; left
    out: only where the HTTP API is."""
    health_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Where to listen for them; whoever reaches it may read them."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged. Prompts and replies never are."""
    log_format: LogFormat = "text"
    """Lines of words, or of JSON for machines."""

    @model_validator(mode="after")
    def _has_a_door(self) -> Self:
        if not self.redis and self.http_port is None:
            msg = "without Redis there must be an --http-port, or nobody could ask for anything"
            raise ValueError(msg)
        return self

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            EngineError: the model cannot be run, or a step loop has died.
            ValueError: the Redis URL cannot be read.
            OSError: a port cannot be had.
        """
        set_up_logging(self.log_level, self.log_format)
        redis = connect(self.redis_url.get_secret_value()) if self.redis else None
        http = http_options(self)
        keys = self.keys() if self.watermark else self.known_keys()
        marking = keys[0] if self.watermark else None
        pool = ModelPool(
            self.models,
            self.model,
            pick_device(self.device),
            num_slots=self.slots,
            prefill_tokens=self.prefill_tokens,
            # A job that was claimed is never refused because HTTP callers are waiting.
            max_waiting=self.slots + self.http_max_requests,
            load=partial(load_engine, watermark=marking),
        )
        verifier = Verifier(pool.folders, keys)
        asyncio.run(_serve(self, pool, redis, http, verifier, marking))


async def _serve(
    settings: Serve,
    pool: ModelPool,
    redis: Redis | None,
    http: "HttpOptions | None",
    verifier: Verifier,
    marking: WatermarkKey | None,
) -> None:
    fingerprint = marking.fingerprint if marking else ""
    # Leases are fenced by this name, so no engine may ever bear another's.
    name = f"{socket.gethostname()[:32]}.{os.getpid()}.{secrets.token_hex(4)}"
    metrics, stop = EngineMetrics(), asyncio.Event()
    worker = _worker(settings, pool, redis, name, verifier, fingerprint, metrics) if redis else None
    async with contextlib.AsyncExitStack() as stack:
        if redis is not None:
            await stack.enter_async_context(redis)
        # Before the model: that it is being loaded is to be seen.
        health = await stack.enter_async_context(_health(settings, pool, metrics, worker, stop))
        # Until the model is loaded, a signal ends the process at once, however long that takes.
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, os._exit, INTERRUPTED)
        await stack.enter_async_context(pool)
        _set_at_signals(stop)
        async with _http(http, pool, verifier, health) as http_url:
            _say_ready(settings, name, pool, http_url, fingerprint)
            working = asyncio.create_task(worker.run(stop) if worker else _watch(pool, stop))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        # HTTP takes nothing new any more; the worker hands back what it still has.
        await working
    log.info("engine stopped")


def _worker(
    settings: Serve,
    pool: ModelPool,
    redis: Redis,
    name: str,
    verifier: Verifier,
    fingerprint: str,
    metrics: EngineMetrics,
) -> Worker:
    return Worker(
        pool,
        JobQueue(redis),
        name=name,
        num_slots=settings.slots,
        grace_s=settings.grace_s,
        verifier=verifier,
        fingerprint=fingerprint,
        metrics=metrics,
    )


def _set_at_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)


def _say_ready(
    settings: Serve, name: str, pool: ModelPool, http_url: str | None, fingerprint: str
) -> None:
    doors = [http_url] if http_url else []
    if settings.redis:
        doors.append(f"jobs from {hide_password(settings.redis_url.get_secret_value())}")
    log.info(
        "engine ready: %s runs GPT-2 %s on %s, %d slots, %s; %s; models: %s",
        name,
        pool.default_name,
        pool.device.type,
        settings.slots,
        ", ".join(doors),
        f"texts are marked with key {fingerprint}" if fingerprint else "texts are not marked",
        ", ".join(pool.names()),
    )


def http_options(settings: Serve) -> "HttpOptions | None":
    """Return how HTTP is to be served; None where it is not.

    Raises:
        InvalidRequestError: others can reach the host, and there is no token.
    """
    if settings.http_port is None:
        return None
    # Imported only here: who takes jobs from Redis alone needs no web server.
    from engine.http_api import HttpOptions  # noqa: PLC0415

    finetune_args = ["--device", settings.device]
    if settings.threads is not None:
        finetune_args += ["--threads", str(settings.threads)]
    return HttpOptions(
        models=settings.models,
        host=settings.http_host,
        port=settings.http_port,
        token=settings.http_token,
        max_requests=settings.http_max_requests,
        grace_s=settings.grace_s,
        finetune_args=tuple(finetune_args),
    )


@contextlib.asynccontextmanager
async def _health(
    settings: Serve,
    pool: ModelPool,
    metrics: EngineMetrics,
    worker: Worker | None,
    stop: asyncio.Event,
) -> AsyncIterator["EngineHealth | None"]:
    """Say how the engine is, if anybody may ask, and at a port of its own if that is wanted."""
    host, port = settings.health_host, settings.health_port
    if port is None and settings.http_port is None:
        yield None
        return
    from engine.http_api import EngineHealth, health_server  # noqa: PLC0415 - as above

    health = EngineHealth(pool, metrics, worker, stop)
    async with contextlib.AsyncExitStack() as stack:
        if port is not None:
            try:
                await stack.enter_async_context(health_server(health, host, port))
            except (OSError, UnicodeError) as error:
                raise OSError(cannot_listen(host, f"health port {port}", error)) from None
        yield health


@contextlib.asynccontextmanager
async def _http(
    options: "HttpOptions | None",
    pool: ModelPool,
    verifier: Verifier,
    health: "EngineHealth | None",
) -> AsyncIterator[str | None]:
    """Serve HTTP if it is wanted, and give its address."""
    if options is None:
        yield None
        return
    from engine.http_api import http_api  # noqa: PLC0415 - as above

    async with http_api(pool, options, verifier, health) as port:
        host = f"[{options.host}]" if ":" in options.host else options.host
        yield f"http://{host}:{port}"


async def _watch(pool: ModelPool, stop: asyncio.Event) -> None:
    """Wait for the stop.

    Raises:
        EngineStoppedError: a step loop has died.
    """
    while pool.is_alive:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIFE_CHECK_S):
                await stop.wait()
                return
    raise EngineStoppedError(STEP_LOOP_DIED)

"""Owns the server: its routes, its socket, and how it comes down."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

from aiohttp import web

from engine.http_api import completions, file_routes, fine_tuning_routes, health, models, verify
from engine.http_api.door import Door, Places, door_key
from engine.http_api.files import FileStore
from engine.http_api.fine_tuning import FineTuning
from engine.http_api.guard import answer_and_log, guard, name_request
from engine.http_api.health import EngineHealth, health_key
from engine.http_api.options import HttpOptions
from engine.locks import alone_in
from engine.metrics import EngineMetrics
from engine.model_pool import ModelPool
from engine.verifier import Verifier
from wire.listening import cannot_listen, place_of

log = logging.getLogger(__name__)

UNREAD_BYTES = 128 * 1024
"""What the kernel may hold for a client that does not read: a stream waits rather than piles up."""
FAREWELL_S = 2.0
"""How long replies that were cut off may take to say so."""

ROUTES = (
    web.post("/v1/completions", completions.create_completion),
    web.get("/v1/models", models.list_models),
    # A name may hold a slash, as Hugging Face's do.
    web.get("/v1/models/{model:.+}", models.get_model),
    web.post("/v1/tokenize", models.tokenize),
    web.post("/v1/verify", verify.verify_text),
    web.post("/v1/files", file_routes.upload_file),
    web.get("/v1/files", file_routes.list_files),
    web.get("/v1/files/{file_id}", file_routes.get_file),
    web.get("/v1/files/{file_id}/content", file_routes.get_content),
    web.delete("/v1/files/{file_id}", file_routes.delete_file),
    web.post("/v1/fine_tuning/jobs", fine_tuning_routes.create_job),
    web.get("/v1/fine_tuning/jobs", fine_tuning_routes.list_jobs),
    web.get("/v1/fine_tuning/jobs/{job_id}", fine_tuning_routes.get_job),
    web.post("/v1/fine_tuning/jobs/{job_id}/cancel", fine_tuning_routes.cancel_job),
    web.get("/v1/fine_tuning/jobs/{job_id}/events", fine_tuning_routes.list_events),
    web.get("/v1/fine_tuning/jobs/{job_id}/checkpoints", fine_tuning_routes.list_checkpoints),
    *health.ROUTES,
)


@contextlib.asynccontextmanager
async def http_api(
    pool: ModelPool,
    options: HttpOptions,
    verifier: Verifier | None = None,
    engine_health: EngineHealth | None = None,
) -> AsyncIterator[int]:
    """Serve a pool's models over HTTP, and give the port.

    On leaving, nothing new is taken, running replies may finish within the grace time, and what
    is left is told so. A training process is stopped; its job goes on at the next start.

    Args:
        pool: open, and open for longer than this.
        options: where, for whom, how much.
        verifier: answers whether texts were written here; left out: there is no key to tell by.
        engine_health: of the program; left out: the pool's alone.

    Raises:
        EngineError: another server has these models.
        OSError: the address cannot be listened at, or `.files` cannot be written.
    """
    engine_health = engine_health or EngineHealth(pool, EngineMetrics())
    door = _door(pool, options, verifier or Verifier(pool.folders), engine_health.metrics)
    engine_health.num_over_http = lambda: door.places.num_taken
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_alone(options))
        await asyncio.to_thread(door.files.open)
        listening = await asyncio.to_thread(_listen, options)
        stack.callback(listening.close)
        await door.fine_tuning.open()
        stack.push_async_callback(door.fine_tuning.close)
        await stack.enter_async_context(_answering(door, engine_health, listening))
        port: int = listening.getsockname()[1]
        log.info("HTTP at %s, port %d", options.host, port)
        try:
            yield port
        finally:
            await _drain(door)


def _door(
    pool: ModelPool, options: HttpOptions, verifier: Verifier, metrics: EngineMetrics
) -> Door:
    files = FileStore(options.files)
    fine_tuning = FineTuning(options.files / "jobs", options.models, files, options.finetune_args)
    return Door(pool, options, Places(options.max_requests), files, fine_tuning, verifier, metrics)


def _alone(options: HttpOptions) -> AbstractContextManager[None]:
    # Another server would take this one's jobs for those of a dead one.
    refusal = f"Another HTTP server keeps its files in {options.files}: give each its own --models."
    return alone_in(options.files, refusal)


@contextlib.asynccontextmanager
async def _answering(
    door: Door, engine_health: EngineHealth, listening: socket.socket
) -> AsyncIterator[None]:
    """Answer what comes in at a socket."""
    runner = web.AppRunner(
        _app(door, engine_health),
        access_log=None,
        logger=_Discreet(logging.getLogger("aiohttp.server")),
        # Whoever leaves is not written for any longer.
        handler_cancellation=True,
        shutdown_timeout=FAREWELL_S,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


class _Discreet(logging.LoggerAdapter[logging.Logger]):
    """Says what kind of error there was; its text quotes what was sent, which may be a token."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        error = kwargs.get("exc_info")
        return f"{msg}: {type(error).__name__}" if error else msg, {}


def _app(door: Door, engine_health: EngineHealth) -> web.Application:
    app = web.Application(
        middlewares=[answer_and_log, guard], client_max_size=door.options.max_body_bytes
    )
    app[door_key] = door
    app[health_key] = engine_health
    app.on_response_prepare.append(name_request)
    app.add_routes(ROUTES)
    return app


def _listen(options: HttpOptions) -> socket.socket:
    try:
        family, kind, protocol, address = place_of(options.host, options.port)
        with contextlib.ExitStack() as failing:
            listening = failing.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted here has the same bound.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
            listening.bind(address)
            failing.pop_all()
    except (OSError, UnicodeError) as error:
        msg = cannot_listen(options.host, f"HTTP port {options.port}", error)
        raise OSError(msg) from None
    return listening


async def _drain(door: Door) -> None:
    """Take nothing new, and wait for what runs; then cut it off."""
    door.is_draining = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(door.options.grace_s):
            await door.traffic.is_none.wait()
    door.closing.set()

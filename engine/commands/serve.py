"""Owns the `serve` command: engine, worker and Redis are opened here and closed here."""

import asyncio
import logging
import os
import secrets
import signal
import socket
from typing import Annotated, Literal

import torch
from pydantic import Field, SecretStr
from redis.asyncio import Redis

from engine.async_engine import AsyncEngine
from engine.loading import find_model, load_engine, pick_device
from engine.settings import ModelCommand
from engine.worker import Worker
from wire.connection import connect, hide_password
from wire.queue import JobQueue

log = logging.getLogger(__name__)


class Serve(ModelCommand):
    """Serve a GPT-2 to the bots at a Redis."""

    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    """Any redis-py URL; it may hold a password, and is shown without it."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 8
    """Replies written at once. Each takes its share of memory for keys and values."""
    prefill_tokens: Annotated[int, Field(ge=16)] = 512
    """Prompt tokens read in one step: fewer keep running replies flowing past a long prompt."""
    grace_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """On shutdown, how long running replies may finish before another engine gets them."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            EngineError: the model cannot be run, or the step loop has died.
            VocabularyError: the model's vocabulary is damaged.
        """
        logging.basicConfig(
            level=self.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
        )
        redis = connect(self.redis_url.get_secret_value())
        device = pick_device(self.device)
        # Loaded before the event loop begins, so that a signal can still end it at once.
        llm_engine, model_name = load_engine(
            find_model(self.model, self.models),
            device,
            num_slots=self.slots,
            prefill_tokens=self.prefill_tokens,
            max_waiting=self.slots,
        )
        asyncio.run(_serve(self, redis, AsyncEngine(llm_engine, model_name), device))


async def _serve(settings: Serve, redis: Redis, engine: AsyncEngine, device: torch.device) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    # Leases are fenced by this name, so no engine may ever bear another's.
    name = f"{socket.gethostname()[:32]}.{os.getpid()}.{secrets.token_hex(4)}"
    async with redis, engine:
        worker = Worker(
            engine,
            JobQueue(redis),
            name=name,
            num_slots=settings.slots,
            grace_s=settings.grace_s,
        )
        log.info(
            "engine ready: %s runs GPT-2 %s on %s, %d slots, jobs from %s",
            name,
            engine.model_name,
            device.type,
            settings.slots,
            hide_password(settings.redis_url.get_secret_value()),
        )
        await worker.run(stop)
    log.info("engine stopped")

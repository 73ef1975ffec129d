"""A real server on a real socket, before a real pool of models, and the clients that drive it."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import torch
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import SecretStr

from engine.async_engine import AsyncEngine
from engine.http_api import HttpOptions, http_api
from engine.llm_engine import LLMEngine
from engine.loading import load_engine
from engine.model_pool import ModelPool
from engine.scheduler import Scheduler
from engine.sequence import Scoring
from engine.sequence import Sequence as EngineSequence
from engine.verifier import Verifier
from engine.watermark import WatermarkKey
from tests.engine.support import (
    ENDLESS,
    EOT,
    FakeModelRunner,
    NextToken,
    byte_tokenizer,
    forever_a,
)
from wire.jobs import SamplingParams

DEADLINE_S = 60
CPU = torch.device("cpu")
PACE_S = 0.001

Load = Callable[..., tuple[LLMEngine, str]]


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs.

    Attributes:
        port: where.
        pool: behind it.
        openai: OpenAI's own client, which tries everything once.
        session: for what that client would not send.
        stop: takes the server down while its clients are still there.
    """

    port: int
    pool: ModelPool
    openai: AsyncOpenAI
    session: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def engine(self) -> AsyncEngine:
        return await self.pool.get(None)

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body) as response:
            return response.status, await response.json()


@asynccontextmanager
async def serving(
    models: Path,
    *,
    num_slots: int = 4,
    prefill_tokens: int = 512,
    load: Load = load_engine,
    token: str | None = None,
    keys: Sequence[WatermarkKey] = (),
    **options: Any,
) -> AsyncIterator[Served]:
    max_requests = options.pop("max_requests", 16)
    secret = None if token is None else SecretStr(token)
    options = {"host": "127.0.0.1", "port": 0, "grace_s": 0.0, "token": secret, **options}
    pool = ModelPool(
        models,
        "tiny",
        CPU,
        num_slots=num_slots,
        prefill_tokens=prefill_tokens,
        max_waiting=num_slots + max_requests,
        load=load,
    )
    asked = HttpOptions(models=models, max_requests=max_requests, **options)
    async with pool, AsyncExitStack() as server:
        port = await server.enter_async_context(http_api(pool, asked, Verifier(pool.folders, keys)))
        async with (
            client_of(port, token) as client,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE_S)) as session,
        ):
            yield Served(port, pool, client, session, server.aclose)


@asynccontextmanager
async def client_of(port: int, token: str | None = None) -> AsyncIterator[AsyncOpenAI]:
    # Its own HTTP client, because the default one reads certificates for a tenth of a second.
    http_client = DefaultAsyncHttpxClient(verify=False, trust_env=False)
    async with AsyncOpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key=token or "none",
        max_retries=0,
        timeout=DEADLINE_S,
        http_client=http_client,
    ) as client:
        yield client


class EndlessEngine(LLMEngine):
    """The real engine, but a prompt that begins with "endless" is written without a bound."""

    def add(
        self, prompt: Any, params: SamplingParams, scoring: Scoring | None = None
    ) -> EngineSequence:
        if bytes(prompt).startswith(b"endless"):
            params = params.model_copy(update={"max_tokens": ENDLESS})
        return super().add(prompt, params, scoring)


def fake(next_token: NextToken = forever_a, *, pace_s: float = PACE_S) -> Load:
    """Load, whatever is asked for, a model that is no network."""

    def load(
        folder: Path,
        device: torch.device,
        *,
        num_slots: int,
        prefill_tokens: int,
        max_waiting: int,
    ) -> tuple[LLMEngine, str]:
        scheduler = Scheduler(
            num_slots=num_slots, prefill_tokens=prefill_tokens, max_waiting=max_waiting, eot=EOT
        )
        runner = FakeModelRunner(next_token, pace_s=pace_s)
        return EndlessEngine(runner, scheduler, byte_tokenizer(), n_ctx=2 * ENDLESS), folder.name

    return load


def copy_models(saved: Path, to: Path) -> Path:
    """A folder of models that a test may write to."""
    shutil.copytree(saved, to / "models" / "tiny")
    return to / "models"

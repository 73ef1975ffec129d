"""A model that runs without downloads and never ends by itself, and the stack that serves it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.model import GPT2
from engine.weights import save_model
from sandbox.redis_server import RedisServer
from tests.end_to_end.stack import REPOSITORY, Stack
from tests.sandbox.openapi import load

DEMO = REPOSITORY / "models" / "demo"


@pytest.fixture(scope="session")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends by itself, in a folder of models."""
    return save_endless(tmp_path_factory.mktemp("models") / "endless", seed=0)


def save_endless(folder: Path, seed: int) -> Path:
    """Save a random GPT-2 of the demo model's shape that never draws end-of-text."""
    tokenizer = Tokenizer.from_folder(DEMO)
    model = GPT2(ModelConfig(n_layer=6, n_head=4, n_embd=256, n_vocab=tokenizer.n_vocab))
    model.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        # That keeps it out of the 40 most likely tokens.
        model.wte.weight[tokenizer.eot] = 0.0
    save_model(model, DEMO, folder, dtype=torch.float16)
    return folder


@contextlib.asynccontextmanager
async def checked_stack(redis_server: RedisServer, model: Path) -> AsyncIterator[Stack]:
    """Check, at the end, all that bot and sandbox said to each other against Discord's document."""
    checker = load()
    async with Stack(redis_server, model) as stack:
        yield stack
        if checker is not None:
            assert checker.problems(stack.sandbox.recorder) == []


@pytest.fixture
async def stack(own_redis_server: RedisServer, endless_model: Path) -> AsyncIterator[Stack]:
    """Redis and the local Discord run; bot and engine are the test's to start and kill."""
    async with checked_stack(own_redis_server, endless_model) as stack:
        yield stack

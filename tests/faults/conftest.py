"""A stack that is there to be broken, with a model that is quick and never ends by itself."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import torch

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.model import GPT2
from engine.weights import save_model
from sandbox.redis_server import RedisServer
from sandbox.server import Sandbox
from tests.end_to_end.conftest import DEMO
from tests.end_to_end.stack import Stack
from tests.faults.account import Account
from tests.threads import num_threads


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """On busy cores the threads of one calculation wait for each other more than they compute."""
    with num_threads(1):
        yield


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random GPT-2 that never draws end-of-text, in a folder of models."""
    return save_quick(tmp_path_factory.mktemp("models") / "quick")


def save_quick(folder: Path) -> Path:
    """Save such a model."""
    tokenizer = Tokenizer.from_folder(DEMO)
    model = GPT2(ModelConfig(n_layer=2, n_head=2, n_embd=64, n_vocab=tokenizer.n_vocab))
    model.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        # That keeps it out of the 40 most likely tokens.
        model.wte.weight[tokenizer.eot] = 0.0
    save_model(model, DEMO, folder, dtype=torch.float16)
    return folder


@pytest.fixture
async def stack(
    own_redis_server: RedisServer, quick_model: Path, tmp_path: Path
) -> AsyncIterator[Stack]:
    """Redis and a Discord without rate limits run; bot and engines are the test's to start."""
    box = Sandbox(limits={})
    async with Stack(own_redis_server, quick_model, sandbox=box, logs=tmp_path) as stack:
        yield stack


@pytest.fixture
def account(stack: Stack) -> Account:
    """Asks, and counts at the end."""
    return Account(stack)

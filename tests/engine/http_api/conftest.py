"""A folder of models for each test, and a server that most tests are content with."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engine.http_api.serving import Served, copy_models, serving


@pytest.fixture
def models(saved: Path, tmp_path: Path) -> Path:
    """A folder with the tiny model in it, the test's own."""
    return copy_models(saved, tmp_path)


@pytest.fixture
async def served(models: Path) -> AsyncIterator[Served]:
    """A server with the tiny model."""
    async with serving(models) as server:
        yield server

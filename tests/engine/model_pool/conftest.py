"""Three models beside each other, and ways to load them."""

from pathlib import Path

import pytest

from tests.engine.pools import FakeLoader, Small, says, write_model
from tests.engine.support import forever_a


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three models beside each other."""
    for name in ("tiny", "notes", "essays"):
        write_model(tmp_path / "models", name)
    return tmp_path / "models"


@pytest.fixture
def load() -> FakeLoader:
    return FakeLoader({name: says(f"I am {name}") for name in ("tiny", "notes", "essays")})


@pytest.fixture
def small() -> Small:
    return Small(2, dict.fromkeys(("tiny", "notes", "essays", "letters"), forever_a))

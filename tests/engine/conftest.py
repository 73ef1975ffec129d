"""Model folders on disk, the library that they are compared with, and what the demo model wrote."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from engine.model import GPT2
from engine.weights import save_model
from tests.conftest import be_patient
from tests.engine.demo_texts import engine_with, write
from tests.engine.marked import KEY
from tests.engine.models import make_model
from tests.engine.support import write_vocabulary
from tests.threads import num_threads


@pytest.fixture(scope="session")
def transformers() -> ModuleType:
    """The library, imported only where it is needed: that takes seconds."""
    import transformers  # noqa: PLC0415

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """With models of this size, threads would only wait for each other."""
    with num_threads(1):
        yield


@pytest.fixture(autouse=True)
def _a_stalled_machine_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    be_patient(monkeypatch)


@pytest.fixture
def model() -> GPT2:
    return make_model()


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the byte vocabulary alone."""
    folder = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary(folder)
    return folder


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory, vocabulary: Path) -> Path:
    """A whole model folder, to be read only."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(make_model(), vocabulary, folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="session")
def ours() -> list[str]:
    """What the demo model wrote for three seeds, with the default settings."""
    return write(engine_with(KEY), "The old lighthouse", 1, 2, 3, max_tokens=200)

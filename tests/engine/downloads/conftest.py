"""A server with a small release, and the ways to download it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.commands.download import Download
from engine.download import download
from engine.fetch import Patience
from tests.engine.downloads.file_server import FileServer
from tests.engine.downloads.small_release import (
    FILES,
    HASTE,
    PREFIX,
    Get,
    Run,
    Watcher,
    contents,
    make_release,
)


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine has: the server is on it."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({PREFIX + name: data for name, data in FILES.items()}) as running:
        yield running


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def get(server: FileServer, tmp_path: Path, watcher: Watcher) -> Get:
    """Download the small release and return what the folder holds."""

    def run(patience: Patience = HASTE) -> dict[str, bytes]:
        return contents(
            download(make_release(), tmp_path, watcher, mirror=server.url, patience=patience)
        )

    return run


@pytest.fixture
def command(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the whole command and return its exit status."""
    monkeypatch.setattr(Download, "releases", {"124M": make_release()})
    monkeypatch.setattr(Download, "patience", HASTE)

    def run(*options: str, name: str = "124M", models: Path = tmp_path) -> int:
        return main(["download", name, "--models", str(models), "--mirror", server.url, *options])

    return run

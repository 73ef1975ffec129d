"""A sandbox whose every exchange is checked against Discord's own document when a test ends."""

from collections.abc import AsyncIterator

import pytest

from sandbox.server import Sandbox
from tests.sandbox.clients import Bot, connected
from tests.sandbox.openapi import ABSENT, Checker, load


@pytest.fixture(scope="session")
def discords_document() -> Checker | None:
    """The checker, None where the document is absent (`test_openapi` says so)."""
    return load()


@pytest.fixture
def checker(discords_document: Checker | None) -> Checker:
    if discords_document is None:
        pytest.skip(ABSENT)
    return discords_document


@pytest.fixture
async def loose_sandbox() -> AsyncIterator[Sandbox]:
    """For tests whose requests break Discord's rules on purpose."""
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
async def sandbox(discords_document: Checker | None) -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox
        if discords_document is not None:
            assert discords_document.problems(sandbox.recorder) == []


@pytest.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Bot]:
    """A connected bot without commands."""
    async with connected(sandbox, Bot()) as bot:
        yield bot

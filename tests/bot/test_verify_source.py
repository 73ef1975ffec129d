"""How a file's beginning is read from its address: bounded, in time, and from nowhere else."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from bot.intake import RefusedError
from bot.verify_source import fitting, read_start, read_text

PLENTY_S = 20.0


class Host:
    """A server that counts the requests for what it should not be asked for."""

    def __init__(self) -> None:
        self.num_elsewhere = 0
        self.was_left = asyncio.Event()

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Length": "10"} if "lie" in request.query else {}
        )
        await response.prepare(request)
        try:
            while True:
                await response.write(b"a" * 1000)
        finally:
            self.was_left.set()

    async def moved(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async def elsewhere(self, request: web.Request) -> web.Response:
        self.num_elsewhere += 1
        return web.Response(text="other")

    async def packed(self, request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})


@pytest.fixture
async def host() -> Host:
    return Host()


@pytest.fixture
async def server(host: Host) -> AsyncIterator[TestServer]:
    app = web.Application()
    for path in ("endless", "moved", "elsewhere", "packed"):
        app.router.add_get(f"/{path}", getattr(host, path))
    server = TestServer(app)
    await server.start_server()
    yield server
    await server.close()


async def test_no_more_is_read_than_was_asked_for(server: TestServer, host: Host):
    start = await read_start(str(server.make_url("/endless")), 2500, PLENTY_S)
    assert start == b"a" * 2500
    async with asyncio.timeout(PLENTY_S):
        await host.was_left.wait()


async def test_a_redirect_is_not_followed(server: TestServer, host: Host):
    with pytest.raises(aiohttp.ClientPayloadError):
        await read_start(str(server.make_url("/moved")), 100, PLENTY_S)
    assert host.num_elsewhere == 0


async def test_nothing_is_unpacked(server: TestServer):
    assert await read_start(str(server.make_url("/packed")), 100, PLENTY_S) == b"\x1f\x8b"


@pytest.mark.parametrize("cut_at", range(1, 8))
def test_a_file_that_is_cut_inside_a_character_is_read_up_to_it(cut_at: int):
    data = "aé→𝄞".encode()[:cut_at]
    text = read_text(data, is_cut=True)
    assert "aé→𝄞".startswith(text)
    assert len(data) - len(text.encode()) < 4


def test_a_broken_character_in_the_middle_is_no_cut():
    with pytest.raises(RefusedError, match="UTF-8"):
        read_text(b"a\xc3 b", is_cut=True)


@given(st.text(st.sampled_from('aé𝄞\x01\n"\\'), max_size=300), st.integers(2, 400))
def test_what_fits_is_the_beginning_and_fits(text: str, max_bytes: int):
    kept = fitting(text, max_bytes)
    assert text.startswith(kept)
    assert kept == text or len(kept) < len(text)
    # Quotes, and what takes most room of what was cut off.
    size_bytes = len(kept.encode()) + 2
    assert size_bytes <= max_bytes

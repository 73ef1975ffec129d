"""A wire that loses answers: commands arrive, and the connection breaks instead of replying.

It can also be where TLS ends, in front of a server that knows none.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LossyProxy:
    """Stands between a client and a server on a unix socket."""

    def __init__(self, server_url: str) -> None:
        self._path = server_url.removeprefix("unix://")
        self._to_lose = 0
        self._holding = b""
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.num_lost = 0
        self.num_connections = 0
        self.swallow = False
        """Say nothing instead of breaking the connection."""
        self.rate = 0.0
        """The share of answers that are lost besides."""
        self.chance = random.Random(0)

    def lose(self, count: int, holding: bytes = b"") -> None:
        """Lose the next `count` answers that hold this, on whatever connection they come."""
        self._to_lose, self._holding = count, holding

    def lead_to(self, server_url: str) -> None:
        """Connect whoever comes from now on to another server."""
        self._path = server_url.removeprefix("unix://")

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["LossyProxy"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        scheme = "rediss" if tls else "redis"
        self.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        try:
            yield self
        finally:
            server.close()
            # Both ends see the end of the other and let their tasks run out.
            for writer in self._writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in self._writers))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            # The server is away, and so is this end of the wire.
            writer.close()
            return
        self._writers |= {writer, up_writer}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(reader, up_writer))
            group.create_task(self._answer(up_reader, writer))
        self._writers -= {writer, up_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Either end may be killed at any moment.
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                is_wanted = bool(self._to_lose) and self._holding in data
                if is_wanted or self.chance.random() < self.rate:
                    self._to_lose -= is_wanted
                    self.num_lost += 1
                    if self.swallow:
                        continue
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

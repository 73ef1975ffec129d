"""A wire that loses answers: commands arrive, and the connection breaks instead of replying."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LossyProxy:
    """Stands between a client and a server on a unix socket."""

    def __init__(self, server_url: str) -> None:
        self._path = server_url.removeprefix("unix://")
        self._to_lose = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.num_lost = 0
        self.num_connections = 0
        self.swallow = False
        """Say nothing instead of breaking the connection."""

    def lose(self, count: int) -> None:
        """Lose the next `count` answers, on whatever connection they come."""
        self._to_lose = count

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["LossyProxy"]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
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
        up_reader, up_writer = await asyncio.open_unix_connection(self._path)
        self._writers |= {writer, up_writer}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(reader, up_writer))
            group.create_task(self._answer(up_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._to_lose:
                self._to_lose -= 1
                self.num_lost += 1
                if self.swallow:
                    continue
                break
            writer.write(data)
            await writer.drain()
        writer.close()

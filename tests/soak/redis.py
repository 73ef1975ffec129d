"""A Redis with a password, so that a log that shows it gives itself away. Knows no keys."""

import os
from pathlib import Path

from sandbox.redis_server import RedisServer

PASSWORD = "soak-0b5e55ed-secret"


class GuardedRedis(RedisServer):
    """A server that takes only who knows the password, and whose append-only file can be cut."""

    def __init__(self) -> None:
        super().__init__(append_only=True, settings=[f"requirepass {PASSWORD}"])

    @property
    def url(self) -> str:
        """The URL with the password in it."""
        return self.socket_url.replace("unix://", f"unix://:{PASSWORD}@")

    @property
    def socket_url(self) -> str:
        """The URL without it, for what only passes bytes on."""
        return super().url

    def url_through(self, proxy_url: str) -> str:
        """Put the password into the URL of a proxy in front of this server."""
        return proxy_url.replace("redis://", f"redis://:{PASSWORD}@")

    @property
    def size_bytes(self) -> int:
        """How much has been written to the append-only file."""
        return self._file().stat().st_size

    async def lose(self, keep_bytes: int) -> None:
        """Crash, lose the end of the append-only file as when power fails, and come back."""
        await self.kill()
        os.truncate(self._file(), min(keep_bytes, self.size_bytes))
        await self.restart()

    def _file(self) -> Path:
        return max(self._folder.glob("appendonlydir/*.incr.aof"))

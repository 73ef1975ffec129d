"""The user that docs/operations.md makes for bots and engines, as it stands there."""

import shlex
from pathlib import Path

from sandbox.redis_server import RedisServer

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
SECRET = "SECRET"


def documented_rights() -> list[str]:
    """Read the arguments of ACL from the command that the document gives."""
    text = DOCUMENT.read_text("utf-8").replace("\\\n", " ")
    [line] = [
        each for each in text.splitlines() if each.startswith("redis-cli ACL SETUSER ovid on")
    ]
    return shlex.split(line)[2:]


RIGHTS = documented_rights()


def url_of_user(server: RedisServer) -> str:
    return server.url.replace("unix://", f"unix://ovid:{SECRET}@")

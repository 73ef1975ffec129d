"""The user that docs/operations.md makes for bots and engines, as it stands there."""

import shlex
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sandbox.redis_server import RedisServer

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
SECRET = "SECRET"
REFUSED = r"(?i)no permissions|the user executing the script can't"
"""How Redis says that a right is missing, and how it did in scripts before 7.2."""


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


async def grant(admin: Redis, rights: list[str]) -> None:
    """Give the user these rights; 6.0 is spared what it does not know, as the document says."""
    try:
        await admin.execute_command("ACL", *rights)
    except ResponseError as error:
        if "resetchannels" not in str(error):
            raise
        await admin.execute_command("ACL", *(each for each in rights if each != "resetchannels"))

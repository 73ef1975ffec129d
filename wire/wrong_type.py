"""Reading a key that may be of a wrong type. Knows no key.

Such a one was made by another program or by hand. It is cleared away at the first command that it
refuses, as the scripts do it too (`scripts/common.lua`), and made again like one that was lost.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import ResponseError

T = TypeVar("T")


async def read_or_clear(redis: Redis, call: Callable[[], Awaitable[T]], *names: str) -> T:
    """Return what `call` reads from keys; of a wrong type, they are cleared away before.

    Raises:
        redis.RedisError: When Redis cannot be reached or refuses for another reason.
    """
    try:
        return await call()
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
    await redis.unlink(*names)
    return await call()

"""Finds out which server holds the queue now, by asking Sentinels or the nodes of a Cluster.

Knows one lane's slot and no other key. It remembers nothing: who connects anew asks anew, which
is how the programs follow a failover.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AskError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from wire.redis_url import Address

FindMaster = Callable[[], Awaitable[Address]]
Client = Callable[[Address], Redis]
"""Makes a client for one Sentinel or node."""
SILENCE = (RedisConnectionError, RedisTimeoutError)


def by_sentinels(hosts: Sequence[Address], client_of: Client, service: str) -> FindMaster:
    """Give what asks Sentinels for the master that they know as `service`.

    What it gives raises `redis.RedisError` when none of them names one.
    """

    async def ask(sentinel: Redis, _: Address) -> Address:
        try:
            state = cast("dict[str, Any]", await sentinel.sentinel_master(service))
        except ResponseError as error:
            if "No such master" not in str(error):
                raise
            msg = f"the Sentinels know no master called {service!r}"
            raise MasterNotFoundError(msg) from None
        # One that lost sight of the others may still name a master that is gone.
        if state["is_sdown"] or not state["is_master"]:
            msg = f"the Sentinels have no master for {service!r} just now"
            raise MasterNotFoundError(msg)
        return str(state["ip"]), int(state["port"])

    return lambda: _first_answer(hosts, client_of, ask)


def by_nodes(hosts: Sequence[Address], client_of: Client, key: str) -> FindMaster:
    """Give what asks the nodes of a Cluster which of them is the master of a key's slot.

    What it gives raises `redis.RedisError` when no node can tell.
    """

    async def ask(node: Redis, address: Address) -> Address:
        try:
            await node.exists(key)
        except MovedError as moved:
            # A node that does not know its own name leaves it out.
            return moved.host or address[0], moved.port
        except AskError:
            # The slot is on its way to another node, and until all of it is there it is neither's.
            return address
        return address

    return lambda: _first_answer(hosts, client_of, ask)


async def _first_answer(
    hosts: Sequence[Address],
    client_of: Client,
    ask: Callable[[Redis, Address], Awaitable[Address]],
) -> Address:
    failures = []
    for address in hosts:
        try:
            async with client_of(address) as client:
                return await ask(client, address)
        except RedisError as error:
            failures.append(error)
    # Who answers that there is no master says more than who does not answer.
    raise next((each for each in failures if type(each) not in SILENCE), failures[-1])

"""Ports that nobody else is given while a test has them. Knows no program."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port(port: int = 0) -> Iterator[int]:
    """Hold a port of 127.0.0.1, any or a certain one, at which nobody listens.

    Whoever connects is refused. Who asks for any free port is not given it, however often who
    has it stops and starts; who names it may listen there, if it says SO_REUSEADDR, as servers do.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", port))
        yield holder.getsockname()[1]

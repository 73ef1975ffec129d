"""Say why a program cannot listen at a port: a finding for doctors, a sentence for programs.

Knows no program, and keeps no port: whoever serves opens its own.
"""

import contextlib
import errno
import os
import socket
from typing import Any

from wire.findings import Finding, fault, ok, warn

Place = tuple[socket.AddressFamily, socket.SocketKind, int, tuple[Any, ...]]
"""What a socket is made of and bound to: family, kind, protocol, address."""


def place_of(host: str, port: int) -> Place:
    """Return where to listen: the first place that a host stands for.

    Args:
        host: name or address.
        port: 0 is any that is free.

    Raises:
        OSError: nobody knows the host.
        UnicodeError: it can be no host's name.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    return family, kind, protocol, address


def cannot_listen(host: str, door: str, error: OSError | UnicodeError) -> str:
    """Say that nobody can listen at a port, and why.

    Args:
        host: name or address.
        door: the port's number, and what it is for.
        error: what came of it.

    >>> cannot_listen("::1", "port 80", PermissionError(errno.EACCES, "no"))
    'nobody can listen at ::1, port 80: Permission denied.'
    >>> cannot_listen("nowhere", "port 80", socket.gaierror(-2, "Nobody knows that name"))
    'nobody can listen at nowhere, port 80: Nobody knows that name.'
    """
    return f"nobody can listen at {host}, {door}: {_reason(error)}."


def check_port(
    opened: contextlib.ExitStack, door: str, setting: str, host: str, port: int, *, who: str
) -> Finding:
    """Find out whether a port can be had, and have it, so that no other door finds it free.

    Args:
        opened: closes it again.
        door: what it is for, in a word.
        setting: that names host and port, without `_HOST` and `_PORT`.
        host: name or address.
        port: not 0.
        who: may well be there already, and rightly.
    """
    try:
        family, _, _, address = place_of(host, port)
    except (OSError, UnicodeError) as error:
        return fault(door, f"{host} is no address: {_reason(error)}", f"Correct {setting}_HOST.")
    try:
        opened.enter_context(socket.create_server(address, family=family))
    except OSError as error:
        said = f"port {port} at {host} cannot be had: {_reason(error)}"
        if error.errno == errno.EADDRINUSE:
            remedy = f"Take another {setting}_PORT, unless {who} serves there now."
            return warn(door, said, remedy)
        return fault(door, said, f"Correct {setting}_HOST or {setting}_PORT.")
    return ok(door, f"port {port} at {host} is free")


def _reason(error: OSError | UnicodeError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    # Numbers of what went wrong with a name are not the system's.
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    # The words of whoever raised it name the address once more.
    return os.strerror(error.errno)

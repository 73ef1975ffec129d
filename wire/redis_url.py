"""Reads the URL that says where Redis is, and hides its password. Opens no connection.

One server, a master that Sentinels name, or a Cluster: the scheme says which. All that stands in a
URL of several hosts, but the hosts themselves, is what redis-py reads in one of its own.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from redis.asyncio.connection import parse_url

SCHEMES = (
    *("redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+sentinel://"),
    *("redis+cluster://", "rediss+cluster://"),
)
"""What a Redis URL may begin with; rediss is TLS."""
BAD_URL = (
    "the Redis URL cannot be read: it should look like redis://user:password@host:6379/0, "
    "redis+sentinel://host:26379,host:26379/mymaster or redis+cluster://host:6379,host:6379, "
    "with special characters of the password percent-encoded"
)
FILE_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
SENTINEL_LOGIN = {"sentinel_username": "username", "sentinel_password": "password"}

Address = tuple[str, int]
"""Host and port."""


class Kind(StrEnum):
    """What stands at a URL."""

    ALONE = ""
    """One server, or whatever a name or a proxy leads to."""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


PORTS = {Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL that was read.

    Attributes:
        kind: what stands there.
        options: for a connection to the Redis that holds the queue, as redis-py calls them.
        hosts: Sentinels or nodes, to ask which that is; none where the options say it.
        host_options: for a connection to one of the hosts.
        service: by which name Sentinels know the master.
    """

    kind: Kind
    options: Mapping[str, Any]
    hosts: tuple[Address, ...] = ()
    host_options: Mapping[str, Any] = field(default_factory=dict)
    service: str = ""


def read_url(url: str) -> RedisUrl:
    """Read a URL, as `wire.connection.connect` describes them.

    Raises:
        ValueError: when it can't be read, or a file that it names can't be. It quotes nothing that
            may hold a password.
    """
    scheme, _, rest = url.partition("://")
    transport, _, kind = scheme.partition("+")
    try:
        if kind:
            read = _read_hosts(transport, Kind(kind), rest)
        else:
            read = RedisUrl(Kind.ALONE, dict(parse_url(url)))
    except ValueError:
        raise ValueError(BAD_URL) from None
    for name in FILE_OPTIONS:
        path = read.options.get(name)
        if path is not None and not _can_be_read(path):
            msg = f"{name} in the Redis URL names a file that cannot be read: {path}"
            raise ValueError(msg)
    return read


def _can_be_read(path: str) -> bool:
    try:
        return os.access(path, os.R_OK)
    except ValueError:
        return False


def _read_hosts(transport: str, kind: Kind, rest: str) -> RedisUrl:
    place, _, query = rest.partition("?")
    credentials, at, place = place.rpartition("@")
    named, _, path = place.partition("/")
    read: list[dict[str, Any]] = [
        dict(parse_url(f"{transport}://{credentials}{at}{host}/?{query}"))
        for host in named.split(",")
    ]
    hosts = tuple((each.get("host", ""), each.get("port", PORTS[kind])) for each in read)
    options = {name: value for name, value in read[0].items() if name not in ("host", "port")}
    if not all(host for host, _ in hosts) or (kind is Kind.SENTINEL) != bool(path):
        raise ValueError(BAD_URL)
    if kind is Kind.CLUSTER:
        return RedisUrl(kind, options, hosts, options)
    login = {its: options.pop(ours) for ours, its in SENTINEL_LOGIN.items() if ours in options}
    mine = ("username", "password", "db")
    shared = {name: value for name, value in options.items() if name not in mine}
    return RedisUrl(kind, options, hosts, {**shared, **login}, unquote(path))


def hide_password(url: str) -> str:
    """Give the URL with its passwords replaced, for logs and messages.

    >>> hide_password("rediss://ovid:s3cret@redis.example:6380/0")
    'rediss://ovid:***@redis.example:6380/0'
    >>> hide_password("redis+sentinel://:s3cret@one:26379,two/main?sentinel_password=s@cret")
    'redis+sentinel://:***@one:26379,two/main?sentinel_password=***'
    """
    url = re.sub(r"([?&]\w*password=)[^&]*", r"\1***", url)
    # Up to the last @, whatever stands there: a password that was not encoded stays hidden too.
    return re.sub(r"^([^:]+://[^:@/]*:).*@", r"\1***@", url)

"""Judges what a Redis says of itself, and explains why one cannot be used. Asks nothing itself."""

import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from wire.findings import Finding, fault, note, ok, warn
from wire.redis_url import Kind

OLDEST_REDIS = (6, 0)
"""BLPOP waits for less than a second since 6.0. Valkey says 7.2 of itself, which it grew from."""
INSTALL_NEWER = f"Install {'.'.join(map(str, OLDEST_REDIS))} or later."
SCRIPTS_HEED_REPLICAS = (6, 2, 7)
"""From here on min-replicas-to-write keeps scripts from writing, too, and not only commands."""
NEARLY_FULL = 0.9
CLUSTER_URL = "Begin OVID_REDIS_URL with redis+cluster://, and name several nodes in it."
RIGHTS_REMEDY = "Give its user the rights that stand in docs/operations.md."
DENIED_IN_A_SCRIPT = ("ACL failure in script", "The user executing the script can't")
"""What Redis says, and what it said before version 7.2; redis-py has no class for it."""

IN_ITS_WORDS = {
    "NOREPLICAS": fault(
        "redis",
        "it takes nothing without its replicas",
        "Bring them back, or lower min-replicas-to-write.",
    ),
    "MISCONF": fault(
        "redis",
        "it takes nothing, as it can't write to its disk",
        "Its log says why: make room there, or give it the right to write.",
    ),
    "timeout is not an integer": fault(
        "redis", "it is too old, and waits for whole seconds only", INSTALL_NEWER
    ),
}
"""What to say where redis-py has no class, by the words with which the error begins."""


def judge_server(info: Mapping[str, Any], kind: Kind) -> Iterator[Finding]:
    """Judge what a server's INFO says of it: version, role, memory, persistence.

    Args:
        info: as redis-py reads it.
        kind: what the URL says stands there.
    """
    version = str(info["redis_version"])
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    if numbers and numbers < OLDEST_REDIS:
        yield fault("redis", f"version {version} is too old", INSTALL_NEWER)
    elif "sentinel_masters" in info:
        remedy = "Write OVID_REDIS_URL as redis+sentinel://host:26379,host:26379/name-of-master."
        yield fault("redis", "it is a Sentinel, which takes no jobs", remedy)
        return
    elif info.get("role", "master") != "master":
        yield fault(
            "redis",
            "it is a replica, which takes no jobs",
            f"Name its master in OVID_REDIS_URL: {info.get('master_host', 'unknown')}.",
        )
    else:
        yield ok("redis", f"version {info.get('valkey_version', version)} answers")
    if info.get("cluster_enabled") and kind is not Kind.CLUSTER:
        yield warn(
            "redis", "it is one node of a Cluster, and the others are not known", CLUSTER_URL
        )
    # It is only told where it is set.
    if "min_slaves_good_slaves" in info and numbers and numbers < SCRIPTS_HEED_REPLICAS:
        heeding = ".".join(map(str, SCRIPTS_HEED_REPLICAS))
        yield warn(
            "redis",
            f"version {version} heeds no min-replicas-to-write in the queue's scripts, so a master "
            f"that was cut off takes what is lost with it",
            f"Install {heeding} or later.",
        )
    yield from _judge_memory(info)
    yield from _judge_persistence(info)


def _judge_memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    policy, limit_bytes = info.get("maxmemory_policy", "noeviction"), int(info.get("maxmemory", 0))
    if policy != "noeviction":
        said = f"maxmemory-policy is {policy}, so jobs are thrown away when memory is short"
        remedy = "Set maxmemory-policy noeviction."
        # Without a bound it never is, as far as Redis knows.
        yield fault("redis", said, remedy) if limit_bytes else warn("redis", said, remedy)
    if limit_bytes and int(info["used_memory"]) > NEARLY_FULL * limit_bytes:
        share = int(info["used_memory"]) / limit_bytes
        yield warn(
            "redis",
            f"{share:.0%} of its memory is used, and when it is full requests are refused",
            "Raise maxmemory.",
        )


def _judge_persistence(info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("aof_last_write_status", "ok") != "ok":
        yield fault("redis", "its append-only file cannot be written", "See to its disk.")
    elif not info.get("aof_enabled"):
        yield note(
            "redis",
            "without an append-only file, jobs in flight are lost when it restarts, and people are "
            "told to ask again",
            "To keep them: appendonly yes.",
        )


def explain_refusal(error: Exception, where: str, kind: Kind) -> Finding:
    """Say why the Redis at `where` cannot be used, from what a call to it raised."""
    # Over a unix socket redis-py hands on what stands in the way of connecting as the cause.
    cause = error.__cause__ if isinstance(error.__cause__, RedisError) else error
    return (
        _explain_tls(error, where)
        or _explain_rights(cause, where, kind)
        or _explain_cluster(cause, where)
        or _explain_role(cause, where)
        or _explain_words(cause)
        or fault(
            "redis",
            f"no use can be made of it at {where}: {str(error).rstrip('.')}",
            "Start it, or say in OVID_REDIS_URL where it is.",
        )
    )


def _explain_tls(error: BaseException, where: str) -> Finding | None:
    # redis-py says it in words of its own, and leaves what happened as their context.
    heard: BaseException | None = error
    while heard is not None and not isinstance(heard, ssl.SSLError):
        heard = heard.__cause__ or heard.__context__
    if isinstance(heard, ssl.SSLCertVerificationError):
        return fault(
            "tls",
            f"the certificate at {where} is not to be trusted: {heard.verify_message.rstrip('.')}",
            "Name the file of the authority that signed it in OVID_REDIS_URL, "
            "?ssl_ca_certs=/path/ca.crt, and the server as the certificate does.",
        )
    remedy = "Where none is spoken OVID_REDIS_URL begins with redis and not rediss."
    if heard is not None:
        return fault("tls", f"no TLS is spoken at {where}: {heard.reason or heard}", remedy)
    if isinstance(error, RedisTimeoutError) and where.startswith("rediss"):
        return fault("tls", f"nobody answers in TLS at {where}", remedy)
    return None


def _explain_rights(error: Exception, where: str, kind: Kind) -> Finding | None:
    if isinstance(error, AuthenticationError | AuthenticationWrongNumberOfArgsError):
        said = f"it takes no such user or password at {where}"
        remedy = "Put both into OVID_REDIS_URL, special characters percent-encoded"
        if kind is Kind.SENTINEL:
            remedy += "; those of the Sentinels are sentinel_username and sentinel_password"
        return fault("redis", said, f"{remedy}.")
    words = str(error).rstrip(".")
    if isinstance(error, NoPermissionError) or any(each in words for each in DENIED_IN_A_SCRIPT):
        return fault("redis", f"the queue's scripts are denied to its user: {words}", RIGHTS_REMEDY)
    return None


def _explain_cluster(error: Exception, where: str) -> Finding | None:
    match error:
        case MovedError():
            said = f"the server at {where} is not the node of its Cluster that holds the queue"
            return fault("cluster", said, CLUSTER_URL)
        case AskError() | TryAgainError():
            said = "the queue is on its way to another node, and stands still until it is there"
            return warn("cluster", said, "Let the resharding end, or end it.")
        case ClusterDownError():
            remedy = "See to its nodes: redis-cli --cluster check."
            return fault("cluster", f"it is down: {error}", remedy)
        case _:
            return None


def _explain_role(error: Exception, where: str) -> Finding | None:
    match error:
        case MasterNotFoundError():
            remedy = "Name it in OVID_REDIS_URL as the Sentinels do, and see to them."
            return fault("sentinel", str(error), remedy)
        case ReadOnlyError():
            return fault("queue", f"nothing can be written at {where}", "Name the master there.")
        case BusyLoadingError():
            return warn("redis", f"it is still reading its data at {where}", "Wait for it.")
        case _:
            return None


def _explain_words(error: Exception) -> Finding | None:
    explained = (each for words, each in IN_ITS_WORDS.items() if str(error).startswith(words))
    return next(explained, None)

"""Looks whether a Redis can carry the queue, and what the queue says of those who use it.

Knows neither Discord nor models. It changes nothing but what every bot's `tick` changes, which
shows that the queue's scripts run. Of a URL only what `hide_password` leaves is ever said.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
)

from wire.connection import connect, hide_password
from wire.findings import Finding, fault, few, note, ok, warn, within
from wire.keys import Lane
from wire.queue import JobQueue
from wire.records import QueueStats

LIMIT_S = 6.0
"""What all checks of one Redis may take: one that says nothing costs the socket's four seconds."""
OLDEST_REDIS = (6, 0)
"""BLPOP waits for less than a second since 6.0. Valkey says 7.2 of itself, which it grew from."""
MAX_SKEW_S = 2.0
NEARLY_FULL = 0.9
NUM_SHOWN = 5

Clock = Callable[[], float]


async def check_queue(
    url: str, *, engine_expected: bool, own_mark: str | None = None, now_s: Clock = time.time
) -> list[Finding]:
    """Check the Redis at a URL and what is kept there, as far as it answers in `LIMIT_S`.

    Args:
        url: as for `wire.connection.connect`.
        engine_expected: whether it is a fault that no engine is alive.
        own_mark: fingerprint of the key that this installation marks with, empty for none; None:
            unknown.
        now_s: this machine's clock, seconds since 1970.
    """
    late = fault(
        "redis",
        f"it has not said all within {LIMIT_S:.0f} s at {hide_password(url)}",
        "See whether it hangs, or something between here and there does.",
    )
    return await within(
        LIMIT_S, late, _check(url, own_mark, now_s, engine_expected=engine_expected)
    )


async def _check(
    url: str, own_mark: str | None, now_s: Clock, *, engine_expected: bool
) -> AsyncIterator[Finding]:
    try:
        redis = connect(url)
    except ValueError as error:
        yield fault("redis", f"OVID_REDIS_URL is of no use: {error}", "Correct it.")
        return
    async with redis:
        try:
            async for each in _check_server(redis, now_s):
                yield each
            stats = await JobQueue(redis).tick()
            marks = await JobQueue(redis).key_fingerprints()
            yield ok("queue", f"{stats.num_waiting} waiting, {stats.num_running} running")
            for each in (
                *_dead(stats, await _newest_dead(redis)),
                *_engines(stats, engine_expected=engine_expected),
            ):
                yield each
            for each in compare_marks(marks, own_mark):
                yield each
        except (RedisError, OSError) as error:
            yield _refusal(error, hide_password(url))


async def _check_server(redis: Redis, now_s: Clock) -> AsyncIterator[Finding]:
    try:
        info = cast("Mapping[str, Any]", await redis.info())
    except NoPermissionError:
        remedy = "Allow its user +info, so that version, memory and persistence can be checked."
        yield warn("redis", "it answers, and its INFO is denied", remedy)
    else:
        for each in judge_server(info):
            yield each
    before_s = now_s()
    seconds, microseconds = await redis.time()
    middle_s = (before_s + now_s()) / 2
    yield compare_clocks("Redis", int(seconds) + int(microseconds) / 1e6, middle_s)


def judge_server(info: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge what a server's INFO says of it: version, role, memory, persistence."""
    version = str(info["redis_version"])
    if tuple(map(int, version.split(".")[:2])) < OLDEST_REDIS:
        oldest = ".".join(map(str, OLDEST_REDIS))
        yield fault("redis", f"version {version} is too old", f"Install {oldest} or later.")
    elif info["role"] != "master":
        yield fault(
            "redis",
            "it is a replica, which takes no jobs",
            f"Name its master in OVID_REDIS_URL: {info.get('master_host', 'unknown')}.",
        )
    else:
        yield ok("redis", f"version {info.get('valkey_version', version)} answers")
    yield from _judge_memory(info)
    if info.get("aof_last_write_status", "ok") != "ok":
        yield fault("redis", "its append-only file cannot be written", "See to its disk.")
    elif not info.get("aof_enabled"):
        yield note(
            "redis",
            "without an append-only file, jobs in flight are lost when it restarts, and people are "
            "told to ask again",
            "To keep them: appendonly yes.",
        )


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


def compare_clocks(whose: str, theirs_s: float, ours_s: float) -> Finding:
    """Say whether two clocks agree, seconds since 1970."""
    skew_s = theirs_s - ours_s
    if abs(skew_s) <= MAX_SKEW_S:
        return ok("clock", f"it agrees with {whose}'s")
    relation = "behind" if skew_s > 0 else "ahead of"
    return warn(
        "clock",
        f"this machine is {abs(skew_s):.0f} s {relation} {whose}, so deadlines are missed or kept "
        f"for too long",
        "Let it keep time by NTP.",
    )


def compare_marks(marks: Mapping[str, str], own_mark: str | None) -> Iterator[Finding]:
    """Say whether all live engines mark with one key, and whether it is ours.

    Args:
        marks: engine to fingerprint, empty where nothing is marked.
        own_mark: ours, likewise; None: unknown.
    """
    known = set(marks.values()) if own_mark is None else {*marks.values(), own_mark}
    if not marks or len(known) == 1:
        return
    said = [f"{engine} {mark or 'none'}" for engine, mark in marks.items()]
    if own_mark is not None:
        said.insert(0, f"here {own_mark or 'none'}")
    yield warn(
        "key",
        f"not all engines mark with one key, so one does not know another's texts: {few(said)}",
        "Give all the same OVID_WATERMARK_KEY_FILE or OVID_WATERMARK_KEY, and start them again.",
    )


async def _newest_dead(redis: Redis) -> list[str]:
    newest = await redis.lrange(Lane(0).dead(), 0, NUM_SHOWN)
    return [cast("bytes", each).decode() for each in newest]


def _dead(stats: QueueStats, newest: list[str]) -> Iterator[Finding]:
    if stats.num_dead:
        yield warn(
            "queue",
            f"{stats.num_dead} jobs were given up because each engine that tried them stopped, the "
            f"newest first: {few(newest)}",
            f"Look for them in the engines' logs; redis-cli DEL '{Lane(0).dead()}' forgets them.",
        )


def _engines(stats: QueueStats, *, engine_expected: bool) -> Iterator[Finding]:
    if stats.engines:
        named = [f"{engine} ({model})" for engine, model in stats.engines.items()]
        yield ok("engines", f"{len(named)} alive: {few(named)}; models: {few(stats.models)}")
    elif engine_expected:
        yield fault(
            "engines",
            "none is alive, so nobody gets a text",
            "Start one with the same OVID_REDIS_URL: python -m engine serve.",
        )
    else:
        yield note("engines", "none is alive")


def _refusal(error: Exception, where: str) -> Finding:
    # Over a unix socket redis-py hands on what stands in the way of connecting as the cause.
    match error.__cause__ if isinstance(error.__cause__, RedisError) else error:
        case AuthenticationError() | AuthenticationWrongNumberOfArgsError():
            return fault(
                "redis",
                f"it takes no such user or password at {where}",
                "Put both into OVID_REDIS_URL, special characters percent-encoded.",
            )
        case NoPermissionError():
            remedy = "Allow its user the keys {ovid:* and all commands on them."
            return fault("redis", f"the queue's scripts are denied to its user: {error}", remedy)
        case BusyLoadingError():
            return warn("redis", f"it is still reading its data at {where}", "Wait for it.")
        case _:
            return fault(
                "redis",
                f"no use can be made of it at {where}: {str(error).rstrip('.')}",
                "Start it, or say in OVID_REDIS_URL where it is.",
            )

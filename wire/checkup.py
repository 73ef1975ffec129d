"""Looks whether a Redis can carry the queue, and what the queue says of those who use it.

Knows neither Discord nor models. It changes nothing but what every bot's `tick` changes. Of a URL
only what `hide_password` leaves is ever said.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from wire.connection import connect, hide_password
from wire.findings import Finding, fault, few, note, ok, warn, within
from wire.keys import DAY_S, DEAD_TTL_S, Lane
from wire.queue import JobQueue
from wire.records import Announced, QueueStats
from wire.redis_url import Kind, read_url
from wire.rights import refused_commands
from wire.server_checkup import RIGHTS_REMEDY, explain_refusal, judge_server
from wire.version import VERSION

LIMIT_S = 6.0
"""What all checks of one Redis may take: one that says nothing costs the socket's four seconds."""
MAX_SKEW_S = 2.0
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
        redis, kind = connect(url), read_url(url).kind
    except ValueError as error:
        yield fault("redis", f"OVID_REDIS_URL is of no use: {error}", "Correct it.")
        return
    async with redis:
        try:
            async for each in _check_server(redis, kind, now_s):
                yield each
            if refused := await refused_commands(redis):
                said = f"it refuses to its user what the queue needs: {', '.join(refused)}"
                yield fault("redis", said, RIGHTS_REMEDY)
                return
            queue = JobQueue(redis)
            stats, announced = await queue.tick(), await queue.announced()
            for each in (
                *_load(stats),
                *_dead(stats, await _newest_dead(redis)),
                *_engines(stats, engine_expected=engine_expected),
                *compare_marks(announced, own_mark),
                *compare_versions(announced),
            ):
                yield each
        except (RedisError, OSError) as error:
            yield explain_refusal(error, hide_password(url), kind)


async def _check_server(redis: Redis, kind: Kind, now_s: Clock) -> AsyncIterator[Finding]:
    try:
        info = cast("Mapping[str, Any]", await redis.info())
    except NoPermissionError:
        remedy = "Allow its user +info, so that version, memory and persistence can be checked."
        yield warn("redis", "it answers, and its INFO is denied", remedy)
    else:
        for each in judge_server(info, kind):
            yield each
    before_s = now_s()
    seconds, microseconds = await redis.time()
    middle_s = (before_s + now_s()) / 2
    yield compare_clocks("Redis", int(seconds) + int(microseconds) / 1e6, middle_s)


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


def compare_marks(announced: Mapping[str, Announced], own_mark: str | None) -> Iterator[Finding]:
    """Say whether all live engines mark with one key, and whether it is ours.

    Args:
        announced: what each engine says of itself.
        own_mark: fingerprint of our key, empty where nothing is marked; None: unknown.
    """
    marks = {engine: each.fingerprint for engine, each in announced.items()}
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


def compare_versions(announced: Mapping[str, Announced]) -> Iterator[Finding]:
    """Say which live engines run another version of Ovid than this program."""
    others = [
        f"{engine} {each.version or 'an older one'}"
        for engine, each in sorted(announced.items())
        if each.version != VERSION
    ]
    if others:
        yield warn(
            "versions",
            f"this program is Ovid {VERSION}, and not all engines are: {few(others)}",
            "Bring bots and engines to one version, and start them again.",
        )


def _load(stats: QueueStats) -> Iterator[Finding]:
    yield ok("queue", f"{stats.num_waiting} waiting, {stats.num_running} running")
    if stats.is_full:
        yield fault(
            "redis",
            "its memory is full, so new requests are refused; those that were taken go on",
            "Raise maxmemory, or see what else is kept there.",
        )


async def _newest_dead(redis: Redis) -> list[str]:
    newest = await redis.lrange(Lane(0).dead(), 0, NUM_SHOWN)
    return [cast("bytes", each).decode(errors="replace") for each in newest]


def _dead(stats: QueueStats, newest: list[str]) -> Iterator[Finding]:
    if stats.num_dead:
        yield warn(
            "queue",
            f"{stats.num_dead} jobs were given up because each engine that tried them stopped, the "
            f"newest first: {few(newest)}",
            f"Look for them in the engines' logs; redis-cli DEL '{Lane(0).dead()}' forgets them, "
            f"and so do {DEAD_TTL_S // DAY_S} days without another.",
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

"""Names and lifetimes of what a lane keeps in Redis; knows nothing of what the values mean.

All names of a lane share one hash tag, so that on Redis Cluster they live in one slot and the
scripts may touch them together. The scripts build the same names from the lane's prefix
(`scripts/common.lua`), which they are given as their only key.
"""

LEASE_MS = 10_000
"""How long a job stays with an engine that says nothing."""
MAX_ATTEMPTS = 3
RECORD_TTL_S = 3600
"""A job and its text stay this long after the last word."""

FREEZE_GAP_MS = 3_000
"""No script ran for longer than this: Redis was away, so no engine is to blame for its silence."""
TICK_INTERVAL_S = 2.0
"""How often a program should call `tick`: often enough that a quiet lane is no freeze gap."""
ENGINE_ALIVE_MS = 10_000
ENGINE_FORGET_MS = 3_600_000
STREAM_MAX_ENTRIES = 20_000
DAY_S = 86_400
"""Streams, and indexes that a lost job could leave behind, expire a day after their last use."""

REAP_BATCH = 200
AUDIT_MAX_JOBS = 2_000
CLAIM_MAX_LOOKS = 1_000
"""Bounds on the loops of one script call, so that no call stalls Redis."""
DEAD_MAX = 1_000
DEAD_TTL_S = 7 * DAY_S
"""The list of jobs that were given up is forgotten so long after the last one."""
MAX_MODELS = 100
"""How many models an engine offers."""


class Lane:
    """The few names that Python reads by itself; the scripts know the others.

    >>> Lane(0).own("42")
    '{ovid:0}:own:42'
    """

    def __init__(self, number: int) -> None:
        self.prefix = f"{{ovid:{number}}}"

    def bell(self, model: str = "") -> str:
        """Name the bell that wakes an engine: any, or one that has this model."""
        return f"{self.prefix}:bell:{model}" if model else f"{self.prefix}:bell"

    def events(self, bot_id: str) -> str:
        """Name the stream of hints for one bot."""
        return f"{self.prefix}:events:{bot_id}"

    def own(self, bot_id: str) -> str:
        """Name the set of jobs whose last word a bot has not yet shown."""
        return f"{self.prefix}:own:{bot_id}"

    def dead(self) -> str:
        """Name the list of jobs that were given up, newest first."""
        return f"{self.prefix}:dead"

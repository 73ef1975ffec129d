"""Several engines at one queue: whether all get work, and what the queue costs Redis."""

import time
from collections import Counter

from bench.load.figures import Figure, Table
from bench.load.stage import Stage, stage
from tests.faults.account import Account, Fate

ENGINES = 4
SLOTS = 4
JOBS = 64
LENGTH = 256


async def measure() -> list[Table]:
    """Let people ask for more than four engines can do at once."""
    async with stage(engines=ENGINES, slots=SLOTS) as many:
        return [await _share(many)]


async def _share(stage: Stage) -> Table:
    account = Account(stage.stack)
    users = stage.join(JOBS, account)
    commands_before = await _num_commands(stage)
    stage.watch.begin()
    began_s = time.monotonic()
    for user in users:
        await account.generate(user, "Once", length=LENGTH)
    await stage.until_over(account)
    lasted_s = time.monotonic() - began_s
    num_commands = await _num_commands(stage) - commands_before
    figures = stage.watch.figures()
    fates = await account.check(Fate.REFUSED)
    records = await stage.stack.records()
    shares = Counter(record.engine for record in records)
    table = Table(f"{ENGINES} engines of {SLOTS} slots share {JOBS} jobs of {LENGTH} tokens")
    table.add(
        Figure("jobs", JOBS / lasted_s, "/s"),
        Figure("tokens", JOBS * LENGTH / lasted_s, "/s"),
        Figure("engines with work", len(shares), exactly=ENGINES),
        Figure("least of an engine", min(shares.values()), "jobs"),
        Figure("most of an engine", max(shares.values()), "jobs"),
        Figure("most attempts", max(record.attempt for record in records), exactly=1),
        Figure("commands of Redis", num_commands / lasted_s, "/s"),
        Figure("commands for each job", num_commands / JOBS),
        *figures,
        Figure(str(Fate.FULL), fates[Fate.FULL], exactly=JOBS),
    )
    return table


async def _num_commands(stage: Stage) -> int:
    return int((await stage.stack.redis.info("stats"))["total_commands_processed"])

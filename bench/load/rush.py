"""Many people ask at once: how soon each hears of it, and what that costs the bot."""

import asyncio
from collections.abc import Awaitable, Callable

from bench.load.figures import Figure, Table, spread
from bench.load.stage import Stage, stage
from sandbox.model import Message, User
from tests.faults.account import Account, Ask, Fate

PEOPLE = 200
WITHIN_S = 1.0
LENGTH = 32
LOST = 0.05
ANSWER_WITHIN_S = {"p99": 2.0, "max": 3.0}
"""What is aimed at, and what Discord allows."""

Asking = Callable[[Account, User], Awaitable[Ask]]


async def slash(account: Account, user: User) -> Ask:
    """Call the command."""
    return await account.generate(user, "Once", length=LENGTH)


async def mention(account: Account, user: User) -> Ask:
    """Mention the bot."""
    return await account.mention(user, "Once")


async def measure() -> list[Table]:
    """Let all ask within a second: again and again, past a bound, and over a bad wire."""
    async with stage() as roomy:
        tables = [
            await _rush(roomy, f"{PEOPLE} people call /generate within a second", slash),
            await _rush(roomy, f"{PEOPLE} people call it again", slash),
            await _rush(roomy, f"{PEOPLE} people mention the bot within a second", mention),
        ]
    async with stage(OVID_MAX_WAITING="50") as tight:
        title = f"{PEOPLE} people call /generate, of whom 50 may wait"
        tables.append(await _rush(tight, title, slash, are_all_admitted=False))
    async with stage(lost=LOST) as lossy:
        title = f"{PEOPLE} people call /generate while {LOST:.0%} of Redis's answers are lost"
        tables.append(await _rush(lossy, title, slash))
    return tables


async def _rush(stage: Stage, title: str, ask: Asking, *, are_all_admitted: bool = True) -> Table:
    account = Account(stage.stack)
    users = stage.join(PEOPLE, account)
    stage.watch.begin()
    began_s = asyncio.get_running_loop().time()
    for number, user in enumerate(users):
        due_s = began_s + number * WITHIN_S / PEOPLE
        await asyncio.sleep(due_s - asyncio.get_running_loop().time())
        await ask(account, user)
    await stage.until_over(account)
    waits_s = _waits_s(stage, account)
    table = Table(title, spread("asked to first sign", waits_s, below=ANSWER_WITHIN_S))
    table.add(*stage.watch.figures())
    fates = await account.check(Fate.REFUSED)
    wanted = PEOPLE if are_all_admitted else None
    table.add(Figure(str(Fate.FULL), fates[Fate.FULL], exactly=wanted))
    table.add(Figure(str(Fate.REFUSED), fates[Fate.REFUSED]))
    return table


def _waits_s(stage: Stage, account: Account) -> list[float]:
    """Say how long each waited until the bot was seen typing, or said that it is thinking."""
    typing = {typing.channel.id: typing.at_s for typing in reversed(stage.sandbox.typing)}
    waits_s = []
    for event in (ask.event for ask in account.asks):
        if isinstance(event, Message):
            if event.channel.id in typing:
                waits_s.append(typing[event.channel.id] - event.revisions[0].at_s)
        elif event.original is not None:
            waits_s.append(event.original.revisions[0].at_s - event.created_s)
    return waits_s

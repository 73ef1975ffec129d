"""One soak from start to end: set up, storm, a pause to take readings, calmer storm, judgement."""

import asyncio
import contextlib
import random
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import torch

from bot.follower import COMPANY_S
from sandbox.server import Sandbox
from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Fate
from tests.faults.conftest import save_quick
from tests.faults.under_way import is_full
from tests.faults.undisturbed import untrue_texts
from tests.soak import logs
from tests.soak.crowd import Crowd
from tests.soak.readings import Reading, leaks, read
from tests.soak.redis import GuardedRedis
from tests.soak.stage import Stage
from tests.soak.verdict import Report, judge, judge_logs
from tests.soak.weather import Weather
from tests.wire.lossy_proxy import LossyProxy

NUM_ENGINES = 2
SETTLE_TIMEOUT_S = 300.0
IDLE_TIMEOUT_S = 60.0
IDLE_S = 3.0
NUM_ASKED_AFTERWARDS = 10
Say = Callable[[str], None]


async def soak(lasts_s: float, seed: int, folder: Path, say: Say) -> Report:
    """Soak for a while; the logs are kept in `folder`."""
    report = Report()
    async with _stage(seed, folder) as stage:
        crowd = Crowd(stage, seed)
        weather = Weather(stage, say)
        report.faults = weather.counts
        people = asyncio.create_task(crowd.run())
        stage.is_silent = False
        await weather.storm(lasts_s * 2 / 3, spares_programs=False)
        async with stage.silence():
            say("pause: all must have their answer, and what the programs hold is read")
            await _settle(stage)
            before = await _readings(stage)
        await weather.storm(lasts_s / 3, spares_programs=True)
        async with stage.silence():
            await end(people)
        say("quiet: all must have their answer")
        stage.stack.sandbox.faults.clear()
        await _settle(stage)
        await _ask_afterwards(stage, report)
        if dead := stage.bury():
            report.wrong.append(f"{len(dead)} programs ended by themselves")
        await judge(stage, crowd, weather.spells, report)
        await _compare(stage, before, report)
        judge_logs(stage, crowd, report)
    # To compute them meanwhile would keep the programs from their Discord.
    _judge_texts(stage, report)
    return report


@contextlib.asynccontextmanager
async def _stage(seed: int, folder: Path) -> AsyncIterator[Stage]:
    model = save_quick(folder / "models" / "quick")
    async with (
        GuardedRedis() as server,
        LossyProxy(server.socket_url).serve() as proxy,
        Stack(server, model, sandbox=Sandbox(), logs=folder) as stack,
    ):
        stack.programs["engine"] = "tests.faults.slow_engine"
        proxy.chance = random.Random(f"{seed}: wire")
        chance = random.Random(f"{seed}: faults")
        stage = Stage(stack, Account(stack), server, proxy, chance, folder)
        starting = [stage.start_engine() for _ in range(NUM_ENGINES)]
        await asyncio.gather(stage.start_bot(), *starting)
        yield stage


async def end(people: asyncio.Task[None]) -> None:
    """Let nobody ask any more.

    Raises:
        ExceptionGroup: Somebody had stopped before, and so all had: the count would be of little.
    """
    people.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await people


async def _settle(stage: Stage) -> None:
    await stage.account.settled(SETTLE_TIMEOUT_S)


async def _readings(stage: Stage) -> dict[Process, Reading]:
    """Read what each program holds once it has nothing to do."""
    # A bot that has taken replies up still looks at them once more.
    busy_until_s = stage.bot_began_s + COMPANY_S
    await asyncio.sleep(max(busy_until_s - time.monotonic(), 0.0) + IDLE_S)
    return {process: await _reading(stage, process) for process in stage.programs}


async def _reading(stage: Stage, process: Process) -> Reading:
    log = logs.read(stage.log_folder)[stage.stack.log_of[process].name]
    return await read(process, log, stage.proxy.url, stage.stack.sandbox.api_url)


async def _compare(stage: Stage, before: dict[Process, Reading], report: Report) -> None:
    """Wait until no program holds more than before, or the time is up, and note both."""
    give_up_at_s = time.monotonic() + IDLE_TIMEOUT_S
    for process, then in before.items():
        if process not in stage.programs:
            continue
        now = await _reading(stage, process)
        while leaks(then, now) and time.monotonic() < give_up_at_s:
            await asyncio.sleep(IDLE_S)
            now = await _reading(stage, process)
        name = stage.stack.log_of[process].stem
        report.figures[f"{name} held"] = then
        report.figures[f"{name} holds"] = now
        report.wrong += [f"{name} leaks: {what}" for what in leaks(then, now)]


async def _ask_afterwards(stage: Stage, report: Report) -> None:
    """Let some more people ask, now that nothing is broken: all must be answered in full."""
    account, box = stage.account, stage.stack.sandbox
    people = [box.join(f"somebody later {number}") for number in range(NUM_ASKED_AFTERWARDS)]
    asks = [await account.generate(user, "Is all well again?", length=60) for user in people]
    await _settle(stage)
    num_full = sum([await account.fate(ask) is Fate.FULL for ask in asks])
    report.figures["asked afterwards: answered in full"] = f"{num_full} of {len(asks)}"
    if num_full < len(asks):
        report.wrong.append("not all who asked afterwards were answered in full")


def _judge_texts(stage: Stage, report: Report) -> None:
    """Compare every full text with what its seed gives where nothing is broken."""
    known = (stage.account.known(ask) for ask in stage.account.asks)
    full = [record for record in known if record is not None and is_full(record)]
    torch.set_num_threads(1)
    untrue = untrue_texts(stage.stack.models / stage.stack.model_name, full)
    report.figures["full texts that are their seed's"] = f"{len(full) - len(untrue)} of {len(full)}"
    report.wrong += [f"{job_id} is not the text of its seed" for job_id in untrue]

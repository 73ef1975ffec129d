"""One soak from start to end: set up, storm, a pause to take readings, calmer storm, judgement."""

import asyncio
import contextlib
import random
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bot.commands import MAX_OPTION_INT
from sandbox.server import Sandbox
from tests.end_to_end.stack import Stack
from tests.faults.account import Account, Ask
from tests.faults.conftest import save_quick
from tests.soak import logs
from tests.soak.crowd import Crowd
from tests.soak.readings import Reading, leaks, read
from tests.soak.redis import GuardedRedis
from tests.soak.stage import Stage
from tests.soak.verdict import Report, judge, judge_logs
from tests.soak.weather import Weather
from tests.wire.lossy_proxy import LossyProxy
from wire.jobs import Done, FinishReason
from wire.queue import JobRecord

NUM_ENGINES = 2
SETTLE_TIMEOUT_S = 300.0
IDLE_TIMEOUT_S = 60.0
IDLE_S = 3.0
NUM_ASKED_AGAIN = 10
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
        await _ask_again(stage, report)
        if dead := stage.bury():
            report.wrong.append(f"{len(dead)} programs ended by themselves")
        await judge(stage, crowd, report)
        await _compare(stage, before, report)
        judge_logs(stage, crowd, report)
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
    await asyncio.sleep(IDLE_S)
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


async def _ask_again(stage: Stage, report: Report) -> None:
    """Ask some of it once more, now that nothing is broken: the same seed gives the same text."""
    account = stage.account
    written = [
        record
        for ask in account.asks
        if (record := account.known(ask))
        and isinstance(record.outcome, Done)
        and record.outcome.finish_reason is FinishReason.LENGTH
        and record.outcome.seed <= MAX_OPTION_INT
    ]
    # Those that an engine was lost with are the ones whose text could have suffered.
    chosen = sorted(written, key=lambda record: -record.attempt)[:NUM_ASKED_AGAIN]
    pairs = [(record, await _repeat(stage, record)) for record in chosen]
    await _settle(stage)
    num_same = 0
    for record, ask in pairs:
        again = await account.record(ask)
        if again is not None and again.text == record.text:
            num_same += 1
        else:
            report.wrong.append(f"{record.job.job_id} was not the text of its seed")
    report.figures["asked again with the same seed: same text"] = f"{num_same} of {len(pairs)}"


async def _repeat(stage: Stage, record: JobRecord) -> Ask:
    assert isinstance(record.outcome, Done)
    params = record.job.params
    return await stage.account.generate(
        stage.stack.sandbox.join("somebody later"),
        record.job.prompt,
        length=params.max_tokens,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        seed=record.outcome.seed,
    )

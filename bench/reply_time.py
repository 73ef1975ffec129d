"""Measures what a person waits for: a mention to first visible text, and to the last word.

The whole stack runs: the local Discord, the bot, Redis, an engine with the demo model on the CPU.
"""

import asyncio
import statistics
import time
from argparse import Namespace
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox.__main__ import engine_and_bot
from sandbox.model import Message
from sandbox.people import People
from sandbox.processes import START_WITHIN_S, running
from sandbox.redis_server import RedisServer
from sandbox.replies import STOP, text_below, without_mark
from sandbox.server import Sandbox
from wire.connection import connect
from wire.queue import JobQueue

ROUNDS = 5
REPLY_WITHIN_S = 60.0
STOPPED_LENGTH = 1000
POLL_S = 0.005


def measure() -> None:
    """Print medians over a few mentions, and how long a pressed Stop takes."""
    asyncio.run(_measure())


async def _measure() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        redis = await stack.enter_async_context(RedisServer(append_only=True))
        sandbox = await stack.enter_async_context(Sandbox())
        options = Namespace(model="demo", device="cpu")
        for program in engine_and_bot(sandbox, redis.url, options):
            child = await stack.enter_async_context(running(program, folder))
            await child.ready(START_WITHIN_S)
        times = [await _mention(sandbox) for _ in range(ROUNDS)]
        first, last = (statistics.median(column) for column in zip(*times, strict=True))
        client = await stack.enter_async_context(connect(redis.url))
        stops = [await _stop(sandbox, JobQueue(client)) for _ in range(ROUNDS)]
        stopped = [statistics.median(column) for column in zip(*stops, strict=True)]
        print(f"reply of 128 tokens: first text {first:.2f} s, last word {last:.2f} s")
        freed, told = stopped
        print(f"Stop pressed: slot free after {freed:.2f} s, message says so after {told:.2f} s")


async def _mention(sandbox: People) -> tuple[float, float]:
    began_s = time.monotonic()
    asked = await sandbox.say(
        sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} In a shocking finding"
    )
    reply = await sandbox.wait_for_reply(asked, REPLY_WITHIN_S)
    await sandbox.wait_for(lambda: not reply.button(STOP) or None, REPLY_WITHIN_S)
    first = next(each for each in reply.revisions if without_mark(text_below(each.content)))
    return first.at_s - began_s, reply.revisions[-1].at_s - began_s


async def _stop(sandbox: People, queue: JobQueue) -> tuple[float, float]:
    options = {"prompt": "For ever", "length": STOPPED_LENGTH}
    asked = await sandbox.slash(sandbox.bob, sandbox.general, "generate", options)

    def stoppable() -> Message | None:
        shown = asked.original
        return shown if shown and shown.button(STOP) and text_below(shown.content) else None

    shown = await sandbox.wait_for(stoppable, REPLY_WITHIN_S)
    button = shown.button(STOP)
    assert button is not None
    began_s = time.monotonic()
    await sandbox.press(sandbox.bob, shown, button.custom_id)
    while (await queue.tick()).num_running:
        await asyncio.sleep(POLL_S)
    freed_s = time.monotonic() - began_s
    await sandbox.wait_for(lambda: not shown.button(STOP) or None, REPLY_WITHIN_S)
    return freed_s, time.monotonic() - began_s

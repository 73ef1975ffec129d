"""Many replies stream at once: how old a text is when it is seen, and what that costs the bot."""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from itertools import accumulate

from bench.load.figures import Figure, Table, spread
from bench.load.stage import ENDS_WITHIN_S, Stage, stage
from bot.inert import inert_pieces
from sandbox.model import Message
from tests.end_to_end.conftest import save_endless
from tests.end_to_end.stack import RUNNING_MARK
from tests.faults.account import Account, Fate

STREAMS = 64
LENGTH = 600
SEEN_WITHIN_S = 2.0
"""A channel bears an edit a second, so a text is half a second old before the bot can begin."""
LOOK_INTERVAL_S = 0.05
EDIT = "PATCH"
NOT_TEXT = ("-# ", "> ", "⏳")

Growth = list[tuple[float, int]]
"""From when on there was at least so much."""


async def measure() -> list[Table]:
    """Let as many people as an engine has slots ask for long texts, each in a channel."""
    slow = partial(save_endless, seed=0)
    async with stage(slots=STREAMS, save_model=slow) as crowded:
        return [await _stream(crowded)]


async def _stream(stage: Stage) -> Table:
    account = Account(stage.stack)
    users = stage.join(STREAMS, account)
    stage.watch.begin()
    for user in users:
        await account.generate(user, "Once", length=LENGTH)
    written = await _watch_texts(stage, [ask.job_id for ask in account.asks])
    figures = stage.watch.figures()
    edits_s = [each.at_s for each in stage.sandbox.recorder if each.method == EDIT]
    fates = await account.check(Fate.REFUSED)
    found_s: list[float] = []
    for ask in account.asks:
        record = await account.record(ask)
        if record is not None:
            shown = seen(account.messages(ask), record.text)
            found_s += ages_s(written[ask.job_id], shown)
    table = Table(f"{STREAMS} replies of {LENGTH} tokens stream at once, each in a channel")
    table.add(*spread("written to seen", found_s, below={"p99": SEEN_WITHIN_S}))
    table.add(Figure("edits", len(edits_s) / (edits_s[-1] - edits_s[0]), "/s"), *figures)
    table.add(Figure(str(Fate.FULL), fates[Fate.FULL], exactly=STREAMS))
    return table


async def _watch_texts(stage: Stage, job_ids: list[str]) -> dict[str, Growth]:
    """Note how long each text is in Redis, in bytes, until the bot has shown all there are."""
    growth: dict[str, Growth] = {job_id: [] for job_id in job_ids}
    bot_id = str(stage.sandbox.bot_user.id)
    async with asyncio.timeout(ENDS_WITHIN_S):
        while not any(growth.values()) or await stage.stack.queue.own(bot_id):
            reading = stage.stack.redis.pipeline(transaction=False)
            for job_id in job_ids:
                reading.strlen(f"{{ovid:0}}:text:{job_id}")
            lengths = await reading.execute()
            now_s = time.monotonic()
            for job_id, length in zip(job_ids, lengths, strict=True):
                if length > (growth[job_id][-1][1] if growth[job_id] else 0):
                    growth[job_id].append((now_s, length))
            await asyncio.sleep(LOOK_INTERVAL_S)
    return growth


def ages_s(written: Growth, shown: Growth) -> Iterator[float]:
    """Say how old each piece of a text was when it was seen."""
    sizes = [size for _, size in shown]
    for written_s, size in written:
        yield shown[bisect_left(sizes, size)][0] - written_s


def seen(parts: list[Message], text: str) -> Growth:
    """Say how many bytes of a text could be read when.

    Neither blanks are counted, which Discord takes off both ends of a message, nor backslashes:
    whether the last character needs one depends on what follows it.
    """
    pieces = list(inert_pieces(text))
    letters = list(accumulate(_num_letters(piece) for piece, _ in pieces))
    sizes = [0, *accumulate(len(text[start:end].encode()) for start, end in _spans(pieces))]
    growth: Growth = []
    now = [0] * len(parts)
    revisions = sorted(
        (revision.at_s, part, _num_letters(_body(revision.content)))
        for part, message in enumerate(parts)
        for revision in message.revisions
    )
    for at_s, part, num_letters in revisions:
        now[part] = num_letters
        growth.append((at_s, sizes[bisect_right(letters, sum(now))]))
    return growth


def _spans(pieces: list[tuple[str, int]]) -> Iterator[tuple[int, int]]:
    start = 0
    for _, end in pieces:
        yield start, end
        start = end


def _body(content: str) -> str:
    lines = (line for line in content.split("\n") if not line.startswith(NOT_TEXT))
    return "\n".join(lines).removesuffix(RUNNING_MARK)


def _num_letters(text: str) -> int:
    return sum(not char.isspace() and char != "\\" for char in text)

"""The account that every fault ends with: what was asked, and what became of it in Discord.

It knows people's questions, the local Discord's messages and the queue's records; it starts and
kills nothing.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bot import replies
from bot.origin import nonce
from sandbox.model import Channel, Interaction, Message, User
from tests.end_to_end.stack import RUNNING_MARK, Stack, parts_of
from tests.wire.support import leftovers
from wire.jobs import Done, Failed, FinishReason
from wire.queue import JobRecord

SETTLE_TIMEOUT_S = 180.0
LOOK_INTERVAL_S = 0.1


class Fate(StrEnum):
    """What became of a question. The last three must never be."""

    FULL = "answered in full"
    STOPPED = "stopped by a person"
    ERROR = "answered with an error sentence"
    REFUSED = "refused with a sentence"
    LOST = "told to ask again"
    UNANSWERED = "unanswered"
    DOUBLED = "doubled"
    GARBLED = "garbled"


NEVER = (Fate.UNANSWERED, Fate.DOUBLED, Fate.GARBLED)


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A question that a person put to the bot."""

    user: User
    event: Message | Interaction

    @property
    def job_id(self) -> str:
        """The id of its job."""
        kind = "m" if isinstance(self.event, Message) else "i"
        return f"{kind}{self.event.channel.id}.{self.event.id}"


class Account:
    """Ask questions through a stack, and say at the end what became of each."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.asks: list[Ask] = []
        self._records: dict[str, JobRecord] = {}
        self._homes: dict[User, Channel] = {}

    async def mention(self, user: User, text: str) -> Ask:
        """Let a person mention the bot in their own channel."""
        box = self._stack.sandbox
        words = f"{box.bot_user.mention} {text}"
        return self._note(Ask(user, await box.say(user, self.home(user), words)))

    async def generate(self, user: User, prompt: str, **options: Any) -> Ask:
        """Let a person use `/generate` in their own channel."""
        box, options = self._stack.sandbox, {"prompt": prompt, **options}
        return self._note(Ask(user, await box.slash(user, self.home(user), "generate", options)))

    def home(self, user: User) -> Channel:
        """Return the channel in which a person asks: edits are paced for each channel apart."""
        if user not in self._homes:
            self._homes[user] = self._stack.sandbox.open_channel(f"home of {user.name}")
        return self._homes[user]

    def _note(self, ask: Ask) -> Ask:
        self.asks.append(ask)
        return ask

    def messages(self, ask: Ask) -> list[Message]:
        """List what shows the answer now, the first part first."""
        event, box = ask.event, self._stack.sandbox
        found = []
        if isinstance(event, Interaction) and event.original is not None:
            found = [event.original, *event.followups]
        mine = nonce(ask.job_id, "")
        found += [
            message
            for message in box.bot_messages(event.channel)
            if message not in found
            and (str(message.nonce or "").startswith(mine) or message.reference is event)
        ]
        return [message for message in found if not message.deleted]

    async def record(self, ask: Ask) -> JobRecord | None:
        """Read a question's job; what Redis has forgotten is remembered from earlier."""
        record = await self._stack.queue.snapshot(ask.job_id)
        if record is not None:
            self._records[ask.job_id] = record
        return record or self._records.get(ask.job_id)

    async def remember(self) -> None:
        """Read all jobs now, as Redis is about to lose them."""
        for ask in self.asks:
            await self.record(ask)

    async def fate(self, ask: Ask) -> Fate:
        """Say what has become of a question so far."""
        messages = self.messages(ask)
        return _judge([message.content for message in messages], messages, await self.record(ask))

    async def settled(self, timeout_s: float = SETTLE_TIMEOUT_S) -> Counter[Fate]:
        """Wait until every question has its end, or the time is up, and count the fates."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            fates = {ask.job_id: await self.fate(ask) for ask in self.asks}
            is_late = asyncio.get_running_loop().time() > deadline_s
            own = await self._stack.queue.own(str(self._stack.sandbox.bot_user.id))
            if is_late or (Fate.UNANSWERED not in fates.values() and not own):
                return Counter(fates.values())
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def explain(self) -> str:
        """Show the questions whose fate must never be, for the message of a failing test."""
        lines = []
        for ask in self.asks:
            fate = await self.fate(ask)
            if fate in NEVER:
                record = await self.record(ask)
                state = f"{record.state} attempt {record.attempt}" if record else "forgotten"
                shown = [message.content[-80:] for message in self.messages(ask)]
                ended = record is not None and record.outcome is not None
                wanted = [part[-80:] for part in parts_of(record)] if record and ended else "?"
                lines.append(f"{ask.job_id} {fate}: {state}; shown {shown}; wanted {wanted}")
        return "\n".join(lines)

    async def check(self, *allowed: Fate, timeout_s: float = SETTLE_TIMEOUT_S) -> Counter[Fate]:
        """Wait for all ends and see that each is in full or `allowed`, and that no key is left."""
        fates = await self.settled(timeout_s)
        assert set(fates) <= {Fate.FULL, *allowed}, f"{dict(fates)}\n{await self.explain()}"
        assert sum(fates.values()) == len(self.asks)
        assert await leftovers(self._stack.redis) == []
        return fates


def _judge(contents: list[str], messages: list[Message], record: JobRecord | None) -> Fate:
    if not any(contents) or any(_is_unfinished(message) for message in messages):
        return Fate.UNANSWERED
    if contents[-1].endswith(replies.FORGOTTEN):
        return Fate.LOST
    # What was refused was never admitted, or was admitted after all and then cancelled unseen.
    is_sentence = len(contents) == 1 and contents[0].startswith("⚠️")
    if is_sentence and (record is None or _was_cancelled(record)):
        return Fate.REFUSED
    return _compare(contents, record)


def _compare(contents: list[str], record: JobRecord | None) -> Fate:
    if record is None:
        return Fate.GARBLED
    if record.outcome is None:
        return Fate.UNANSWERED
    wanted = parts_of(record)
    if tuple(contents) != wanted:
        return Fate.DOUBLED if len(contents) > len(wanted) else Fate.GARBLED
    if isinstance(record.outcome, Failed):
        return Fate.ERROR
    return Fate.STOPPED if _was_cancelled(record) else Fate.FULL


def _was_cancelled(record: JobRecord) -> bool:
    outcome = record.outcome
    return isinstance(outcome, Done) and outcome.finish_reason is FinishReason.CANCELLED


def _is_unfinished(message: Message) -> bool:
    return (
        message.button("Stop") is not None
        or message.content.endswith(RUNNING_MARK)
        or "⏳" in message.content
    )

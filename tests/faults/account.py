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
from bot.origin import load_origin, nonce
from bot.reply_view import view_of_forgotten
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
    is_private: bool = False
    """Whether only who asked sees the answer."""

    @property
    def job_id(self) -> str:
        """The id of its job."""
        kind = "m" if isinstance(self.event, Message) else "p" if self.is_private else "i"
        return f"{kind}{self.event.channel.id}.{self.event.id}"


class Account:
    """Ask questions through a stack, and say at the end what became of each."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.asks: list[Ask] = []
        self._records: dict[str, JobRecord] = {}
        self._ends: dict[str, list[JobRecord]] = {}
        self._homes: dict[User, Channel] = {}
        self._before = set(stack.sandbox.world.messages)

    async def mention(self, user: User, text: str, channel: Channel | None = None) -> Ask:
        """Let a person mention the bot in their own channel, or in `channel`."""
        box = self._stack.sandbox
        words = f"{box.bot_user.mention} {text}"
        return self._note(Ask(user, await box.say(user, channel or self.home(user), words)))

    async def generate(
        self, user: User, prompt: str, channel: Channel | None = None, **options: Any
    ) -> Ask:
        """Let a person use `/generate` in their own channel, or in `channel`."""
        box, options = self._stack.sandbox, {"prompt": prompt, **options}
        where = channel or self.home(user)
        return self._note(Ask(user, await box.slash(user, where, "generate", options)))

    async def verify(self, user: User, text: str) -> Ask:
        """Let a person use `/verify` in their own channel."""
        event = await self._stack.sandbox.slash(user, self.home(user), "verify", {"text": text})
        return self._note(Ask(user, event, is_private=True))

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

    def strays(self) -> list[Message]:
        """List what the bot has said since this account began and that answers nobody."""
        world = self._stack.sandbox.world
        answers = [message for ask in self.asks for message in self.messages(ask)]
        for interaction in world.interactions.values():
            answers += [each for each in (interaction.original, *interaction.followups) if each]
        return [
            message
            for message in world.messages.values()
            if message.author is world.bot
            and message.id not in self._before
            and message not in answers
        ]

    def looks_done(self, ask: Ask) -> bool:
        """Say whether a person would take what is shown for the whole answer."""
        shown = self.messages(ask)
        return any(each.content for each in shown) and not any(map(_is_unfinished, shown))

    async def record(self, ask: Ask) -> JobRecord | None:
        """Read a question's job; what Redis has forgotten is remembered from earlier."""
        record = await self._stack.queue.snapshot(ask.job_id)
        if record is not None:
            self._records[ask.job_id] = record
            ends = self._ends.setdefault(ask.job_id, [])
            if record.outcome is not None and record not in ends:
                ends.append(record)
        return record or self._records.get(ask.job_id)

    def known(self, ask: Ask) -> JobRecord | None:
        """Return what was last read of a question's job."""
        return self._records.get(ask.job_id)

    async def remember(self) -> None:
        """Read all jobs now, as Redis is about to lose them."""
        for ask in self.asks:
            await self.record(ask)

    async def fate(self, ask: Ask) -> Fate:
        """Say what has become of a question so far."""
        record = await self.record(ask)
        # Where Redis lost its last second, a job that had ended may have ended once more.
        ends = self._ends.get(ask.job_id, [])
        return _judge(self.messages(ask), record, ends)

    async def settled(self, timeout_s: float = SETTLE_TIMEOUT_S) -> Counter[Fate]:
        """Wait until every question has its end, or the time is up, and count the fates."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        open_asks = self.asks
        while True:
            open_asks = [ask for ask in open_asks if await self.fate(ask) is Fate.UNANSWERED]
            own = await self._stack.queue.own(str(self._stack.sandbox.bot_user.id))
            is_late = asyncio.get_running_loop().time() > deadline_s
            if is_late or not (open_asks or own):
                # Once more from all: what had its end may have been changed since.
                fates = Counter([await self.fate(ask) for ask in self.asks])
                if is_late or Fate.UNANSWERED not in fates:
                    return fates
                open_asks = self.asks
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def explain(self) -> str:
        """Show the questions whose fate must never be, for the message of a failing test."""
        return "\n".join(
            [await self.describe(ask) for ask in self.asks if await self.fate(ask) in NEVER]
        )

    async def describe(self, ask: Ask) -> str:
        """Show what is known of a question, and the ends of what is shown and should be."""
        record, fate = await self.record(ask), await self.fate(ask)
        state = f"{record.state} attempt {record.attempt}" if record else "forgotten"
        shown = [message.content[-80:] for message in self.messages(ask)]
        ended = record is not None and record.outcome is not None
        wanted = [part[-80:] for part in parts_of(record)] if record and ended else "?"
        return f"{ask.job_id} {fate}: {state}; shown {shown}; wanted {wanted}"

    async def check(self, *allowed: Fate, timeout_s: float = SETTLE_TIMEOUT_S) -> Counter[Fate]:
        """Wait for all ends and see that each is in full or `allowed`, and nothing is left over."""
        fates = await self.settled(timeout_s)
        assert set(fates) <= {Fate.FULL, *allowed}, f"{dict(fates)}\n{await self.explain()}"
        assert sum(fates.values()) == len(self.asks)
        strays = [message.content[:80] for message in self.strays()]
        assert strays == [], f"said to nobody: {strays}"
        left = await leftovers(self._stack.redis)
        assert left == [], f"left in Redis: {left}"
        return fates


def _judge(messages: list[Message], record: JobRecord | None, ends: list[JobRecord]) -> Fate:
    contents = [message.content for message in messages]
    if not any(contents) or any(_is_unfinished(message) for message in messages):
        return Fate.UNANSWERED
    if contents[-1].endswith(replies.FORGOTTEN):
        return _judge_lost(contents, record)
    for end in ends:
        if tuple(contents) == parts_of(end):
            return _fate_of(end)
    if len(contents) == 1 and _is_refusal(contents[0], record):
        return Fate.REFUSED
    if record is not None and not ends:
        return Fate.UNANSWERED
    wanted = max((len(parts_of(end)) for end in ends), default=1)
    return Fate.DOUBLED if len(contents) > wanted else Fate.GARBLED


def _fate_of(end: JobRecord) -> Fate:
    if isinstance(end.outcome, Failed):
        return Fate.ERROR
    return Fate.STOPPED if _was_cancelled(end) else Fate.FULL


def _is_refusal(content: str, record: JobRecord | None) -> bool:
    # What was refused was never admitted; or was admitted after all, and is cancelled unseen or
    # was done before that.
    if content in {replies.REDIS_AWAY, replies.REDIS_FULL}:
        return True
    return content.startswith("⚠️") and (record is None or _was_cancelled(record))


def _judge_lost(contents: list[str], record: JobRecord | None) -> Fate:
    before = contents[-1].removesuffix(replies.FORGOTTEN).strip()
    if len(contents) > 1 and not before:
        return Fate.DOUBLED
    if not before or record is None or record.attempt != 1:
        # What stands there may be an earlier attempt's text, which Redis holds no more.
        return Fate.LOST
    view = view_of_forgotten(record, load_origin(record.job.origin))
    whole = [part.strip() for part in view.parts]
    last = len(contents) - 1
    is_clean = last < len(whole) and contents[:last] == whole[:last]
    return Fate.LOST if is_clean and whole[last].startswith(before) else Fate.GARBLED


def _was_cancelled(record: JobRecord) -> bool:
    outcome = record.outcome
    return isinstance(outcome, Done) and outcome.finish_reason is FinishReason.CANCELLED


def _is_unfinished(message: Message) -> bool:
    return (
        message.button("Stop") is not None
        or message.content.endswith(RUNNING_MARK)
        or "⏳" in message.content
    )

"""One reply, from the first word about it to the last: an asyncio task that is woken by hints.

Level-triggered: each round reads the job's record and makes the messages look like it, so nothing
depends on having seen what happened in between. Owns the reply's editor; knows no Discord object.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from bot.discord_errors import DeniedError, GoneError, UnreachableError, failure_logged
from bot.message_editor import MessageEditor
from bot.metrics import BotMetrics
from bot.origin import Origin
from bot.pace import Pace
from bot.reply_view import View, view_of, view_of_forgotten
from bot.supervise import Pauses
from bot.surface import Surface
from wire.endings import Ending
from wire.log_lines import log_facts
from wire.queue import JobQueue, JobRecord, JobState

_log = logging.getLogger(__name__)

POLL_INTERVAL_S = 5.0
"""How often a record is read without a hint."""
PATIENCE_S = 1.0
"""How long a reply may be without text before a message says that it is on its way."""
RETRY_MIN_S, RETRY_MAX_S = 0.25, 5.0

T = TypeVar("T")


class LiveReply:
    """A reply that has not had its last word yet.

    Args:
        job_id: The job it shows.
        origin: Where it belongs.
        bot_id: Whose reply it is.
        queue: Where the job's record is.
        surface: Where the reply is shown.
        pace: The edit budget, shared by all replies.
        metrics: Counts what ends, and how long it took.
        num_engines: Says how many engines are alive.
        record: What is known of the job already.
        is_adopted: Whether another run of the bot may have posted parts of it.
        note: The operator's line below the label.

    Attributes:
        may_be_overwritten: Whether the last word stands, and another run's older edit may follow.
    """

    def __init__(
        self,
        job_id: str,
        origin: Origin,
        *,
        bot_id: str,
        queue: JobQueue,
        surface: Surface,
        pace: Pace,
        metrics: BotMetrics,
        num_engines: Callable[[], int],
        record: JobRecord | None = None,
        is_adopted: bool = False,
        note: str = "",
    ) -> None:
        self.job_id = job_id
        self.origin = origin
        self._bot_id = bot_id
        self._queue = queue
        self._surface = surface
        self._pace = pace
        self._metrics = metrics
        self._num_engines = num_engines
        self._record = record
        self.may_be_overwritten = False
        self._must_search = is_adopted
        # When an adopted one was asked for, an earlier run saw and this one did not.
        self._saw_asking = not is_adopted
        self._shows_text = False
        self._note = note
        self._began_s = pace.now_s()
        self._news = asyncio.Event()
        self._editor = MessageEditor(
            surface,
            pace,
            lambda message_ids: queue.note_messages(job_id, message_ids),
            record.message_ids if record else (),
        )

    def wake(self) -> None:
        """Say that there is news of the job."""
        self._news.set()

    async def run(self) -> None:
        """Show the reply until its last word stands.

        Raises:
            DeniedError: The bot may not write there. The job is cancelled.
        """
        typing = None if self._must_search else asyncio.create_task(self._type())
        try:
            while (pause_s := await self._until_reached(self._show_once)) is not None:
                await self._wait_for_news(pause_s)
        except GoneError as error:
            _log.info("job=%s: its message is gone, so it is stopped: %s", self.job_id, error)
            await self._until_reached(self._take_away)
            self._log_end(Ending("gone", "message_deleted"))
        except DeniedError:
            await self._until_reached(self._take_away)
            self._log_end(Ending("denied", "may_not_write"))
            raise
        finally:
            if typing is not None:
                typing.cancel()

    async def show_again(self) -> None:
        """Make the messages look like the last word once more, whatever they look like now."""
        try:
            await self._until_reached(self._show_last_word)
        except (GoneError, DeniedError) as error:
            _log.info("job=%s: its end could not be shown again: %s", self.job_id, error)

    async def _show_last_word(self) -> None:
        async with self._pace.turn(self.origin.channel_id):
            view = await self._look()
            if view.is_final:
                self._editor.distrust()
                await self._editor.show(view)

    async def _type(self) -> None:
        with failure_logged(_log, "job=%s: typing could not be shown: %s", self.job_id):
            await self._surface.typing()

    async def _until_reached(self, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat a step until Redis and Discord could be reached for all of it."""
        pauses = Pauses(RETRY_MIN_S, RETRY_MAX_S)
        while True:
            try:
                return await step()
            except (RedisError, UnreachableError) as error:
                pause_s = pauses.after()
                _log.info("job=%s: tried again in %.2f s: %r", self.job_id, pause_s, error)
            await asyncio.sleep(pause_s)

    async def _wait_for_news(self, at_most_s: float) -> None:
        try:
            async with asyncio.timeout(at_most_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def _show_once(self) -> float | None:
        """Show what the record says now; return how long to wait for news, None at the end."""
        if self._must_search:
            # Before it looks: who has shown the end by then is read to have done so.
            await self._queue.adopt(self.job_id)
            self._editor.adopt(await self._surface.find())
            self._must_search = False
        if self._editor.message_ids:
            async with self._pace.turn(self.origin.channel_id):
                view = await self._show(await self._look())
        else:
            view = await self._look()
            patience_left_s = PATIENCE_S - self._age_s
            if not view.has_news and patience_left_s > 0:
                return patience_left_s
            await self._editor.show(view)
        self._note_first_text()
        if not view.is_final:
            return POLL_INTERVAL_S
        await self._queue.shown(self._bot_id, self.job_id)
        is_shared = self._record is not None and self._record.is_adopted
        self.may_be_overwritten = is_shared or not self._saw_asking
        outcome = self._record.outcome if self._record else None
        self._log_end(Ending.of(outcome) if outcome else Ending("forgotten", "lost_by_redis"))
        return None

    async def _show(self, view: View) -> View:
        """Make the messages look like a view, and return the one that they look like now."""
        try:
            await self._editor.show(view)
        except GoneError:
            # Another bot of this name may have shown the end meanwhile, which needs fewer parts.
            last = await self._look()
            if view.is_final or not last.is_final:
                raise
            await self._editor.show(last)
            return last
        return view

    def _note_first_text(self) -> None:
        if self._shows_text or not (self._record and self._record.text):
            return
        self._shows_text = True
        if self._saw_asking:
            self._metrics.showed_first_text(self._age_s)

    @property
    def _age_s(self) -> float:
        return self._pace.now_s() - self._began_s

    async def _look(self) -> View:
        self._news.clear()
        record = await self._queue.snapshot(self.job_id)
        if record is None and self._record is not None and self._record.outcome is not None:
            # What was read to its end needs no record any more.
            record = self._record
        if record is None:
            return view_of_forgotten(self._record, self.origin, self._note)
        self._record = record
        # Another bot of this name may have posted some.
        self._editor.adopt(record.message_ids)
        waits = record.state is JobState.WAITING
        place = await self._queue.place(self.job_id) if waits else None
        return view_of(
            record, self.origin, place=place, num_engines=self._num_engines(), note=self._note
        )

    async def _take_away(self) -> None:
        """Stop the job and leave nothing half-written behind."""
        await self._queue.cancel(self.job_id)
        try:
            await self._editor.delete_all()
        except DeniedError as error:
            _log.info("job=%s: its messages could not be deleted: %s", self.job_id, error)
        await self._queue.shown(self._bot_id, self.job_id)

    def _log_end(self, ending: Ending) -> None:
        shown = {
            "parts": len(self._editor.message_ids),
            "edits": self._editor.num_edits,
            "shown_ms": int(self._age_s * 1000),
        }
        attempt = self._record.attempt if self._record else None
        log_facts(_log, {**ending.facts(self.job_id, attempt), **shown})
        seconds = self._age_s if self._saw_asking else None
        self._metrics.ended(ending, num_edits=self._editor.num_edits, seconds=seconds)

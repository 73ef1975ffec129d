"""Follow the queue for all replies of this bot: who is live, whom to wake, what to adopt.

Owns the live replies. The stream of hints only makes it fast: every few seconds it reads which
jobs are its own, and takes up those that nobody here shows, whoever submitted them.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from bot import replies
from bot.discord_errors import DeniedError, GoneError, UnreachableError
from bot.live_reply import LiveReply
from bot.metrics import BotMetrics
from bot.origin import Origin, load_origin, origin_of_lost_job
from bot.pace import Pace
from bot.queue_watch import OUTAGE_PAUSE_S, QueueWatch
from bot.recent import Recent
from bot.supervise import supervised
from bot.surface import Surface
from wire.endings import Ending
from wire.log_lines import log_facts
from wire.queue import JobQueue, JobRecord

_log = logging.getLogger(__name__)

RECONCILE_INTERVAL_S = 5.0
STALLED_S = 30.0
"""Longer than any pause or outage keeps a loop from its next turn."""
LEAVE_WITHIN_S = 1.0
COMPANY_S = 30.0
"""How long after the last word an older edit, of a bot of this name that ends, may still come."""
HINTS, RECONCILING = "following hints", "reconciling"
MAX_CRASHES = 3
"""How often a reply may fail for a reason nobody foresaw before it is given up."""

SurfaceOf = Callable[[Origin, str], Surface]
TellDenied = Callable[[Origin, DeniedError], Awaitable[None]]


class Follower:
    """All replies of one bot that have not had their last word.

    Args:
        queue: The jobs.
        bot_id: Whose jobs.
        watch: Knows how many engines live, and is told how Redis is.
        metrics: Counts what ends.
        surface_of: Makes the place where a job's reply is shown.
        tell_denied: Tells who asked that the bot may not write there.
        pace: The edit budget.
        note: The operator's line below every label.
    """

    def __init__(
        self,
        queue: JobQueue,
        bot_id: str,
        *,
        watch: QueueWatch,
        metrics: BotMetrics,
        surface_of: SurfaceOf,
        tell_denied: TellDenied,
        pace: Pace,
        note: str = "",
    ) -> None:
        self._queue = queue
        self._bot_id = bot_id
        self._watch = watch
        self._metrics = metrics
        self._surface_of = surface_of
        self._tell_denied = tell_denied
        self._pace = pace
        self._note = note
        self._live: dict[str, LiveReply] = {}
        self._submitting: set[str] = set()
        self._done = Recent()
        self._disowned = Recent()
        self._crashes: Counter[str] = Counter()
        self._replies: asyncio.TaskGroup | None = None
        self._turned_s = dict.fromkeys((HINTS, RECONCILING), time.monotonic())

    @property
    def is_following(self) -> bool:
        """Whether both loops still turn, be Redis there or not."""
        return time.monotonic() - min(self._turned_s.values()) < STALLED_S

    @property
    def num_live(self) -> int:
        """How many replies are under way."""
        return len(self._live)

    async def run(self) -> None:
        """Follow the queue until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._replies = tasks
            tasks.create_task(supervised(HINTS, self._follow_hints))
            tasks.create_task(supervised(RECONCILING, self._reconcile))
            try:
                await asyncio.Event().wait()
            finally:
                # What is admitted from now on is shown by the next run.
                self._replies = None

    async def leave(self) -> None:
        """Have Redis know what the next bot has to show, as far as it can be told in time."""
        if not self._live:
            return
        with contextlib.suppress(RedisError, TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN_S):
                await self._queue.owe(self._bot_id, self._live)

    def expect(self, job_id: str) -> None:
        """Announce a job that is about to be submitted, so that it is not taken for an orphan."""
        self._submitting.add(job_id)

    def take(self, job_id: str, origin: Origin, num_engines: int) -> None:
        """Show the reply to a job that was just admitted."""
        self._submitting.discard(job_id)
        self._watch.saw_engines(num_engines)
        self._start(job_id, origin, None, is_adopted=False)

    def drop(self, job_id: str) -> None:
        """Forget a job that was not admitted."""
        self._submitting.discard(job_id)

    def disown(self, job_id: str) -> None:
        """Forget a job whose admission is unknown and whose person was told to ask again.

        Should it turn out to be admitted, it is cancelled unseen.
        """
        self._submitting.discard(job_id)
        self._disowned.add(job_id)

    def wake(self, job_id: str) -> bool:
        """Let a live reply look at its job; False when this bot shows no such reply."""
        reply = self._live.get(job_id)
        if reply is not None:
            reply.wake()
        return reply is not None

    def _start(
        self, job_id: str, origin: Origin, record: JobRecord | None, *, is_adopted: bool
    ) -> None:
        if job_id in self._live or job_id in self._done or self._replies is None:
            return
        reply = LiveReply(
            job_id,
            origin,
            bot_id=self._bot_id,
            queue=self._queue,
            surface=self._surface_of(origin, job_id),
            pace=self._pace,
            metrics=self._metrics,
            num_engines=lambda: self._watch.num_engines,
            record=record,
            is_adopted=is_adopted,
            note=self._note,
        )
        self._live[job_id] = reply
        self._replies.create_task(self._show(reply))

    async def _show(self, reply: LiveReply) -> None:
        try:
            await self._show_or_tell(reply)
        except Exception:  # noqa: BLE001  # one broken reply must not end the others
            self._crashes[reply.job_id] += 1
            _log.exception("job=%s: showing its reply failed", reply.job_id)
        else:
            self._crashes.pop(reply.job_id, None)
        finally:
            del self._live[reply.job_id]

    async def _show_or_tell(self, reply: LiveReply) -> None:
        try:
            await reply.run()
        except DeniedError as error:
            _log.warning("job=%s: the bot may not answer there: %s", reply.job_id, error)
            self._done.add(reply.job_id)
            await self._tell_denied(reply.origin, error)
        else:
            self._done.add(reply.job_id)
            if reply.may_be_overwritten and self._replies is not None:
                self._replies.create_task(self._show_again(reply))

    async def _show_again(self, reply: LiveReply) -> None:
        await asyncio.sleep(COMPANY_S)
        try:
            await reply.show_again()
        except Exception:  # noqa: BLE001  # one broken reply must not end the others
            _log.exception("job=%s: showing its end again failed", reply.job_id)

    async def _follow_hints(self) -> None:
        after: str | None = None
        while True:
            self._turned_s[HINTS] = time.monotonic()
            try:
                if after is None:
                    after = await self._queue.follow(self._bot_id)
                    self._wake_all()
                hints = await self._queue.hints(self._bot_id, after)
            except RedisError as error:
                after = None
                await self._wait_for_redis(HINTS, error)
                continue
            self._watch.redis.read(HINTS)
            for hint in hints:
                after = hint.entry_id
                self.wake(hint.job_id)

    def _wake_all(self) -> None:
        for reply in self._live.values():
            reply.wake()

    async def _reconcile(self) -> None:
        while True:
            try:
                own = await self._queue.own(self._bot_id)
                if missing := self._live.keys() - own:
                    await self._queue.owe(self._bot_id, missing)
                for job_id in own:
                    await self._adopt(job_id)
            except RedisError as error:
                await self._wait_for_redis(RECONCILING, error)
            else:
                self._watch.redis.read(RECONCILING)
            self._turned_s[RECONCILING] = time.monotonic()
            await asyncio.sleep(RECONCILE_INTERVAL_S)

    async def _adopt(self, job_id: str) -> None:
        if job_id in self._live or job_id in self._submitting:
            return
        # What is done here was shown just now, or Redis has lost that it was.
        if job_id in self._done:
            await self._close(job_id)
            return
        try:
            record = await self._queue.snapshot(job_id)
            origin = load_origin(record.job.origin) if record else origin_of_lost_job(job_id)
        except ValueError:
            _log.warning("job=%s: a bot of another version wrote it", job_id)
            record, origin = None, origin_of_lost_job(job_id)
        # One that is shown already was taken in by another bot of this name.
        if job_id in self._disowned and not (record and record.message_ids):
            await self._close(job_id)
        elif origin is None:
            await self._close(job_id)
            self._log_end(job_id, Ending("lost", "no_place_to_tell"))
        elif self._crashes[job_id] < MAX_CRASHES:
            self._start(job_id, origin, record, is_adopted=True)
        else:
            await self._apologise(job_id, origin)

    async def _apologise(self, job_id: str, origin: Origin) -> None:
        try:
            await self._surface_of(origin, job_id).refuse(replies.FAILED_HERE)
        except UnreachableError as error:
            _log.info("job=%s: its end could not be told yet: %s", job_id, error)
            return
        except (DeniedError, GoneError) as error:
            _log.warning("job=%s: its end could not be told: %s", job_id, error)
        except Exception:  # noqa: BLE001  # what keeps one from being shown must not keep others
            _log.exception("job=%s: telling its end failed", job_id)
        await self._close(job_id)
        self._log_end(job_id, Ending("failed", "could_not_be_shown"))

    async def _close(self, job_id: str) -> None:
        await self._queue.cancel(job_id)
        await self._queue.shown(self._bot_id, job_id)
        self._crashes.pop(job_id, None)

    async def _wait_for_redis(self, doing: str, error: RedisError) -> None:
        self._watch.redis.failed(doing, error)
        await asyncio.sleep(OUTAGE_PAUSE_S)

    def _log_end(self, job_id: str, ending: Ending) -> None:
        log_facts(_log, ending.facts(job_id, attempt=None))
        self._metrics.ended(ending)

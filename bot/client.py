"""BotClient: the Discord client. Wires intake, replies and buttons; decides nothing by itself."""

import asyncio
import logging
from typing import Any

import discord
from redis.exceptions import RedisError

from bot import replies
from bot.ban import Ban
from bot.command_tree import CommandTree
from bot.commands import generate_command, insist, is_addressed, may_answer, request_of
from bot.details_button import DetailsButton
from bot.discord_api import bound_requests
from bot.discord_errors import DeniedError, discord_errors
from bot.follower import Follower
from bot.intake import Intake, Reception, Request
from bot.interaction_surface import surface_of
from bot.metrics import BotMetrics
from bot.origin import Origin, job_id_of, nonce
from bot.pace import Pace
from bot.queue_watch import QueueWatch
from bot.recent import Recent
from bot.stop_button import StopButton, StopResult
from bot.supervise import supervised
from bot.surface import NO_MENTIONS
from bot.unknown_button import UnknownButton
from bot.verify_commands import verify_commands
from wire.endings import Ending
from wire.log_lines import log_facts
from wire.queue import Bounds, JobQueue

_log = logging.getLogger(__name__)

IN_PRIVATE = "d"
"""What stands for the part's number in the nonce of a direct message about a reply."""
LEAVE_WITHIN_S = 5.0
"""How long what was just asked may keep the bot from stopping."""
GUILDS_TIMEOUT_S = 0.1
"""How long being ready waits for the list of servers; nothing here needs it."""
PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    read_message_history=True,
)
"""The least that lets the bot answer where it is mentioned."""


def invite_link(application_id: int) -> str:
    """Make the address at which somebody adds the bot to a server, with the least permissions."""
    scopes = ("bot", "applications.commands")
    return discord.utils.oauth_url(application_id, permissions=PERMISSIONS, scopes=scopes)


def least_intents() -> discord.Intents:
    """Ask the gateway for servers and messages only: no privileged intent."""
    return discord.Intents(guilds=True, guild_messages=True, dm_messages=True)


class BotClient(discord.AutoShardedClient):
    """The bot at Discord.

    Args:
        queue: The jobs.
        bounds: How many requests may wait.
        pace: The edit budget.
        note: The operator's line below every label.
        watch: Of the queue.
        metrics: Where it is counted what people ask for and get.
        ban: What earlier clients of this program have heard.
    """

    def __init__(
        self,
        queue: JobQueue,
        bounds: Bounds,
        pace: Pace | None = None,
        note: str = "",
        *,
        watch: QueueWatch,
        metrics: BotMetrics,
        ban: Ban | None = None,
    ) -> None:
        super().__init__(
            intents=least_intents(),
            allowed_mentions=NO_MENTIONS,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            guild_ready_timeout=GUILDS_TIMEOUT_S,
            http_trace=(ban or Ban()).trace(),
        )
        self._queue = queue
        self._bounds = bounds
        self._pace = pace or Pace()
        self._note = note
        self._watch = watch
        self._metrics = metrics
        self._seen = Recent()
        self._shards_in_session: set[int] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._registering: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[Any]] = set()
        self._reading: set[asyncio.Task[Any]] = set()
        self._tree = CommandTree(self, self._finish_before_leaving)
        self._tree.add_command(generate_command(self._answer, self._tell_too_late, self._models))
        for command in verify_commands(self._answer, self._refuse_to_read, self._reading):
            self._tree.add_command(command)
        self._follower: Follower | None = None
        self._intake: Intake

    async def setup_hook(self) -> None:
        """Start following the queue and registering commands, between login and gateway."""
        bound_requests(self)
        bot_id = str(self._own_id)
        self._follower = Follower(
            self._queue,
            bot_id,
            watch=self._watch,
            metrics=self._metrics,
            surface_of=lambda origin, job_id: surface_of(self, origin, job_id),
            tell_denied=self._tell_denied,
            pace=self._pace,
            note=self._note,
        )
        self._intake = Intake(self._queue, self._follower, bot_id, self._bounds)
        self.add_dynamic_items(StopButton, DetailsButton, UnknownButton)
        self._background.add(
            asyncio.create_task(supervised("following the queue", self._follower.run))
        )
        # Not waited for: mentions can be answered before commands are known.
        self._registering.add(asyncio.create_task(self._tree.register()))

    async def close(self) -> None:
        """Leave Discord. Replies that are not done go on when the bot starts again."""
        await self._finish_asking()
        if self._follower is not None:
            await self._follower.leave()
        ending = {*self._background, *self._registering}
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._background.clear()
        await super().close()

    async def on_ready(self) -> None:
        """Say so in the log."""
        _log.info("bot ready: %s in %d servers", self.user, len(self.guilds))

    async def on_message(self, message: discord.Message) -> None:
        """Answer people who speak to the bot; a repeated event is no new message."""
        if is_addressed(message, self._own_id) and self._seen.add(message.id):
            self._finish_before_leaving()
            origin, prompt = request_of(message, self._own_id)
            if may_answer(message, self._own_id):
                await self._answer(origin, Request(prompt))
            else:
                self._count_refused(origin, "generate", "may_not_write")
                await self._tell_in_private(origin, replies.cannot_write(origin.channel_id))

    async def on_shard_connect(self, shard_id: int) -> None:
        """Note that Discord has begun a session with a shard."""
        self._shards_in_session.add(shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        """Note that Discord goes on with a shard's session."""
        self._shards_in_session.add(shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """Note that a shard has no session until it is connected or resumed."""
        self._shards_in_session.discard(shard_id)

    @property
    def is_connected(self) -> bool:
        """Whether Discord's events arrive, on every shard."""
        shards = self.shards
        return bool(shards) and all(
            number in self._shards_in_session and not shard.is_closed()
            for number, shard in shards.items()
        )

    @property
    def is_following(self) -> bool:
        """Whether what has begun to work in the background still does."""
        follows = self._follower is None or self._follower.is_following
        return follows and not any(task.done() for task in self._background)

    @property
    def num_live(self) -> int:
        """How many replies are under way."""
        return self._follower.num_live if self._follower is not None else 0

    async def stop_reply(self, job_id: str) -> StopResult:
        """Stop a job, wherever it is."""
        try:
            was_open = await self._queue.cancel(job_id)
        except RedisError as error:
            _log.warning("job=%s: it could not be stopped: %r", job_id, error)
            return StopResult.UNREACHABLE
        is_live = self._follower is not None and self._follower.wake(job_id)
        return StopResult.STOPPING if was_open or is_live else StopResult.OVER

    @property
    def _own_id(self) -> int:
        if self.user is None:
            msg = "the client has not logged in yet"
            raise RuntimeError(msg)
        return self.user.id

    async def _models(self) -> tuple[str, ...]:
        return await self._intake.models()

    async def _answer(self, origin: Origin, request: Request) -> None:
        """Take a request in, or say in a sentence why not."""
        job_id = job_id_of(origin)
        try:
            reception = await self._intake.ask(origin, request)
        except Exception:  # noqa: BLE001  # the person must hear of it too
            _log.exception("job=%s: taking it in failed", job_id)
            reception = Reception("failed", replies.FAILED_HERE)
        await self._receive(origin, request.kind, reception)

    async def _refuse_to_read(self, origin: Origin, sentence: str) -> None:
        await self._receive(origin, "verify", Reception("unreadable", sentence))

    async def _receive(self, origin: Origin, kind: str, reception: Reception) -> None:
        if reception.refusal is None:
            self._metrics.asked(kind, reception.word)
            return
        self._count_refused(origin, kind, reception.word)
        job_id = job_id_of(origin)
        try:
            surface, said = surface_of(self, origin, job_id), reception.refusal
            await insist(lambda: surface.refuse(said), job_id)
        except DeniedError as error:
            _log.warning("job=%s: the bot may not answer there: %s", job_id, error)
            await self._tell_denied(origin, error)

    def _count_refused(self, origin: Origin, kind: str, reason: str) -> None:
        ending = Ending("refused", reason)
        log_facts(_log, ending.facts(job_id_of(origin), attempt=None))
        self._metrics.asked(kind, reason)
        self._metrics.ended(ending)

    async def _tell_denied(self, origin: Origin, denied: DeniedError) -> None:
        cannot_write = replies.cannot_write(origin.channel_id)
        said = cannot_write if denied.lacks_permission else replies.FAILED_HERE
        await self._tell_in_private(origin, said)

    async def _tell_in_private(self, origin: Origin, said: str) -> None:
        if origin.asker_id == 0:
            return
        job_id = job_id_of(origin)

        async def say() -> None:
            with discord_errors():
                channel = await self.create_dm(discord.Object(origin.asker_id))
                await channel.send(said, nonce=nonce(job_id, IN_PRIVATE))

        try:
            await insist(say, job_id)
        except DeniedError as error:
            _log.info("job=%s: telling so in private failed too: %s", job_id, error)

    async def _tell_too_late(self, origin: Origin) -> None:
        """Answer a command in the channel, unless another bot of this name answers it."""
        try:
            is_answered = await self._queue.snapshot(job_id_of(origin)) is not None
        except RedisError:
            is_answered = False
        except ValueError:
            # A bot of another version has written it.
            is_answered = True
        if not is_answered:
            await self._receive(origin, "generate", Reception("too_late", replies.TOO_LATE))

    def _finish_before_leaving(self) -> None:
        """Let the task that calls this end before the bot leaves, if it does soon."""
        task = asyncio.current_task()
        assert task is not None, "events come to tasks"
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _finish_asking(self) -> None:
        for reading in self._reading:
            reading.cancel()
        if self._asking:
            await asyncio.wait(self._asking, timeout=LEAVE_WITHIN_S)

"""BotClient: the Discord client. Wires intake, replies and buttons; decides nothing by itself."""

import asyncio
import logging
from typing import Any

import discord
from discord import app_commands
from redis.exceptions import RedisError

from bot import replies
from bot.commands import generate_command, is_addressed, refuse, request_of
from bot.details_button import DetailsButton
from bot.discord_errors import DeniedError, GoneError, UnreachableError, discord_errors
from bot.follower import Follower
from bot.intake import Intake, Request
from bot.origin import Origin, job_id_of
from bot.pace import Pace
from bot.recent import Recent
from bot.stop_button import StopButton, StopResult
from bot.supervise import supervised
from bot.surface import NO_MENTIONS, surface_of
from bot.verify_commands import verify_commands
from wire.queue import Bounds, JobQueue

_log = logging.getLogger(__name__)

SYNC_RETRY_S = 5.0
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
    """

    def __init__(
        self, queue: JobQueue, bounds: Bounds, pace: Pace | None = None, note: str = ""
    ) -> None:
        super().__init__(
            intents=least_intents(),
            allowed_mentions=NO_MENTIONS,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            guild_ready_timeout=GUILDS_TIMEOUT_S,
        )
        self._queue = queue
        self._bounds = bounds
        self._pace = pace or Pace()
        self._note = note
        self._seen = Recent()
        self._background: set[asyncio.Task[None]] = set()
        self._tree = app_commands.CommandTree(self)
        self._tree.error(self._on_command_error)
        self._tree.add_command(generate_command(self._answer, self._models))
        for command in verify_commands(self._answer, self._refuse):
            self._tree.add_command(command)
        self._follower: Follower
        self._intake: Intake

    async def setup_hook(self) -> None:
        """Start following the queue and register commands, between login and gateway."""
        bot_id = str(self._own_id)
        self._follower = Follower(
            self._queue,
            bot_id,
            surface_of=lambda origin, job_id: surface_of(self, origin, job_id),
            tell_denied=self._tell_denied,
            pace=self._pace,
            note=self._note,
        )
        self._intake = Intake(self._queue, self._follower, bot_id, self._bounds)
        self.add_dynamic_items(StopButton, DetailsButton)
        self._background.add(
            asyncio.create_task(supervised("following the queue", self._follower.run))
        )
        await self._register_commands()

    async def close(self) -> None:
        """Leave Discord. Replies that are not done go on when the bot starts again."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background.clear()
        await super().close()

    async def on_ready(self) -> None:
        """Say so in the log."""
        _log.info("bot ready: %s in %d servers", self.user, len(self.guilds))

    async def on_message(self, message: discord.Message) -> None:
        """Answer people who speak to the bot; a repeated event is no new message."""
        if is_addressed(message, self._own_id) and self._seen.add(message.id):
            origin, prompt = request_of(message, self._own_id)
            await self._answer(origin, Request(prompt))

    async def stop_reply(self, job_id: str) -> StopResult:
        """Stop a job, wherever it is."""
        try:
            was_open = await self._queue.cancel(job_id)
        except RedisError as error:
            _log.warning("job %s: it could not be stopped: %r", job_id, error)
            return StopResult.UNREACHABLE
        is_live = self._follower.wake(job_id)
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
            refusal = await self._intake.ask(origin, request)
        except Exception:  # noqa: BLE001  # the person must hear of it too
            _log.exception("job %s: taking it in failed", job_id)
            refusal = replies.FAILED_HERE
        if refusal is not None:
            await self._refuse(origin, refusal)

    async def _refuse(self, origin: Origin, sentence: str) -> None:
        job_id = job_id_of(origin)
        _log.info("job %s: refused", job_id)
        try:
            await refuse(surface_of(self, origin, job_id), job_id, sentence)
        except DeniedError as error:
            _log.warning("job %s: the bot may not answer there: %s", job_id, error)
            await self._tell_denied(origin, error)

    async def _tell_denied(self, origin: Origin, denied: DeniedError) -> None:
        if origin.asker_id == 0:
            return
        try:
            with discord_errors():
                channel = await self.create_dm(discord.Object(origin.asker_id))
                said = replies.cannot_write(origin.channel_id)
                await channel.send(said if denied.lacks_permission else replies.FAILED_HERE)
        except (DeniedError, GoneError, UnreachableError) as error:
            _log.info("%s: telling so in private failed too: %s", job_id_of(origin), error)

    async def _register_commands(self) -> None:
        while True:
            try:
                with discord_errors():
                    await self._tree.sync()
            except UnreachableError as error:
                _log.warning("commands could not be registered, trying again: %s", error)
                await asyncio.sleep(SYNC_RETRY_S)
            except (DeniedError, GoneError) as error:
                _log.error("commands could not be registered: %s", error)
                return
            else:
                return

    async def _on_command_error(
        self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError
    ) -> None:
        _log.error("interaction %d: the command failed", interaction.id, exc_info=error)
        try:
            if interaction.response.is_done():
                await interaction.edit_original_response(content=replies.FAILED_HERE)
            else:
                await interaction.response.send_message(replies.FAILED_HERE, ephemeral=True)
        except discord.HTTPException as failure:
            _log.info("interaction %d: it could not be told: %s", interaction.id, failure.status)

"""What people can say to the bot: mentions, direct messages, `/generate`. Reads Discord's objects.

Each becomes a plain request for `Intake`; a refusal becomes a message. No logic beyond that.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import app_commands

from bot.details_id import OPTION_DECIMALS
from bot.discord_errors import DeniedError, GoneError, UnreachableError, discord_errors
from bot.intake import Request
from bot.origin import InteractionOrigin, MessageOrigin, Origin
from bot.prompts import Names, build_prompt
from bot.supervise import Pauses
from wire.jobs import MAX_TOKENS_LIMIT, MAX_TOP_K, SamplingParams

_log = logging.getLogger(__name__)

MAX_PROMPT_CHARS = 4000
"""The longest message Discord lets anyone write; more than a context's worth of English."""
MAX_OPTION_INT = 2**53 - 1
"""Discord's integers are JSON numbers, exact up to here."""
ALREADY_ANSWERED = 40060
DEFER_TRIES = 3
SAY_FOR_S = 600.0
SAY_RETRY_MIN_S, SAY_RETRY_MAX_S = 0.5, 10.0
MAX_NAME_CHARS = 64
DEFAULTS = SamplingParams()
OPTIONS = {
    "prompt": "How the text begins. GPT-2 goes on from there; it follows no instructions.",
    "length": f"At most so many tokens, about 4 letters each (default {DEFAULTS.max_tokens})",
    "temperature": f"0 always takes the likeliest, 2 is wild (default {DEFAULTS.temperature:g})",
    "top_k": f"Choose among the k likeliest tokens, 0 among all (default {DEFAULTS.top_k})",
    "top_p": f"Choose among the likeliest that make up p (default {DEFAULTS.top_p:g}, all)",
    "seed": "The same seed gives the same text again (default: a new one)",
    "model": "Which model writes (default: the one that the engine was started with)",
}
"""What people are shown of each option of `/generate`."""

MAX_MODEL_NAME_CHARS = 64
MAX_CHOICES = 25
"""What Discord shows of a list to choose from."""

Answer = Callable[[Origin, Request], Awaitable[None]]
"""Answers a request; the origin is where the reply belongs."""
TooLate = Callable[[Origin], Awaitable[None]]
"""Says that Discord passed a command on too late."""
Models = Callable[[], Awaitable[tuple[str, ...]]]
"""Says which models there are, the usual one first."""

_WRITTEN_BY_PEOPLE = frozenset((discord.MessageType.default, discord.MessageType.reply))


def is_addressed(message: discord.Message, bot_id: int) -> bool:
    """Say whether a person spoke to the bot: in private, or by mentioning or replying to it.

    Bots, webhooks and Discord's own notices never do, nor does a role or `@everyone`. Of a server
    that the gateway has not told of yet, nothing but its message is known.
    """
    if message.author.bot or message.webhook_id is not None:
        return False
    if message.type not in _WRITTEN_BY_PEOPLE:
        return False
    return isinstance(message.channel, discord.DMChannel) or any(
        user.id == bot_id for user in message.mentions
    )


def may_answer(message: discord.Message, bot_id: int) -> bool:
    """Say whether the bot may write where a message stands; False only if the gateway told so."""
    channel = message.channel
    bot = message.guild.get_member(bot_id) if message.guild else None
    if bot is None or not isinstance(channel, (discord.abc.GuildChannel, discord.Thread)):
        return True
    if isinstance(channel, discord.Thread):
        # Its rights are those of its channel, which may not be known.
        return channel.parent is None or may_write(channel.permissions_for(bot), is_thread=True)
    return may_write(channel.permissions_for(bot), is_thread=False)


def may_write(rights: discord.Permissions, *, is_thread: bool) -> bool:
    """Say whether these rights are enough to write to a channel or thread."""
    may_send = rights.send_messages_in_threads if is_thread else rights.send_messages
    return may_send and rights.view_channel


def request_of(message: discord.Message, bot_id: int) -> tuple[MessageOrigin, str]:
    """Read a message as where the reply belongs, and the prompt."""
    origin = MessageOrigin(
        channel_id=message.channel.id,
        message_id=message.id,
        asker_id=message.author.id,
        locale=str(message.guild.preferred_locale) if message.guild else None,
    )
    names = Names(
        users={user.id: user.display_name for user in message.mentions},
        roles={role.id: role.name for role in message.role_mentions},
        channels={
            channel.id: channel.name
            for channel in message.channel_mentions
            if isinstance(channel, (discord.abc.GuildChannel, discord.Thread))
        },
    )
    return origin, build_prompt(message.content, bot_id, names)


async def insist(say: Callable[[], Awaitable[None]], job_id: str) -> None:
    """Say something that may be said twice without harm, for ten minutes if need be.

    Raises:
        DeniedError: The bot may not write there.
    """
    give_up_at_s = time.monotonic() + SAY_FOR_S
    pauses = Pauses(SAY_RETRY_MIN_S, SAY_RETRY_MAX_S)
    while True:
        try:
            await say()
        except GoneError:
            return
        except UnreachableError as error:
            if time.monotonic() > give_up_at_s:
                _log.warning("job=%s: a sentence could not be said: %s", job_id, error)
                return
            _log.info("job=%s: a sentence could not be said yet: %s", job_id, error)
        else:
            return
        await asyncio.sleep(pauses.after())


def generate_command(
    answer: Answer, too_late: TooLate, models: Models
) -> app_commands.Command[Any, Any, None]:
    """Make the command `/generate`, whose requests go to `answer`."""

    async def matching_models(
        _: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        names = [name for name in await models() if typed.casefold() in name.casefold()]
        return [app_commands.Choice(name=name, value=name) for name in names[:MAX_CHOICES]]

    @app_commands.command(name="generate", description="Let GPT-2 write a text")
    @app_commands.describe(**OPTIONS)
    @app_commands.autocomplete(model=matching_models)
    async def generate(
        interaction: discord.Interaction[Any],
        prompt: app_commands.Range[str, 0, MAX_PROMPT_CHARS] = "",
        length: app_commands.Range[int, 1, MAX_TOKENS_LIMIT] = DEFAULTS.max_tokens,
        temperature: app_commands.Range[float, 0.0, 2.0] = DEFAULTS.temperature,
        top_k: app_commands.Range[int, 0, MAX_TOP_K] = DEFAULTS.top_k,
        top_p: app_commands.Range[float, 0.01, 1.0] = DEFAULTS.top_p,
        seed: app_commands.Range[int, 0, MAX_OPTION_INT] | None = None,
        model: app_commands.Range[str, 1, MAX_MODEL_NAME_CHARS] | None = None,
    ) -> None:
        options = {
            "max_tokens": length,
            "temperature": round(temperature, OPTION_DECIMALS),
            "top_k": top_k,
            "top_p": round(top_p, OPTION_DECIMALS),
            "seed": seed,
        }
        origin = interaction_origin(interaction)
        if await defer(interaction):
            await answer(origin, Request(prompt.strip(), options, model))
        else:
            await too_late(origin)

    return generate


async def defer(interaction: discord.Interaction[Any], *, is_private: bool = False) -> bool:
    """Tell Discord within its three seconds that an answer will come; False if it is too late.

    With `is_private`, only who asked sees the answer.

    Of two bots with one token, and of two tries when an answer was lost, one is told that the
    other was first: that is as good.
    """
    for _ in range(DEFER_TRIES):
        try:
            with discord_errors():
                await interaction.response.defer(thinking=True, ephemeral=is_private)
        except DeniedError as error:
            return error.code == ALREADY_ANSWERED
        except GoneError as error:
            _log.warning("interaction %d: too late to answer it: %s", interaction.id, error)
            return False
        except UnreachableError as error:
            _log.info("interaction %d: deferring it failed: %s", interaction.id, error)
        else:
            break
    return True


def interaction_origin(
    interaction: discord.Interaction[Any], *, is_private: bool = False, looked_at: str = ""
) -> InteractionOrigin:
    """Read a command as where its reply belongs, with the origin's fields of these names."""
    in_guild = interaction.guild_id is not None
    is_thread = isinstance(interaction.channel, discord.Thread)
    may_send = may_write(interaction.app_permissions, is_thread=is_thread)
    may_post = may_send if in_guild else interaction.context.dm_channel
    return InteractionOrigin(
        channel_id=interaction.channel_id or 0,
        interaction_id=interaction.id,
        application_id=interaction.application_id,
        token=interaction.token,
        asker_id=interaction.user.id,
        asker_name=interaction.user.display_name[:MAX_NAME_CHARS],
        locale=str(interaction.guild_locale or interaction.locale),
        may_post=may_post and not is_private,
        is_private=is_private,
        looked_at=looked_at,
    )

"""`/verify` and "Was this machine-generated?": who asks whether a text is the bot's. No logic.

The answer is for who asked alone, so everything about it stays in the interaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import app_commands

from bot import replies
from bot.commands import Answer, defer, interaction_origin
from bot.intake import RefusedError, Request
from bot.origin import Origin
from bot.verify_source import from_message, from_options

MENU_NAME = "Was this machine-generated?"
MAX_TEXT_CHARS = 6000
"""The longest text that Discord takes in an option."""

Refuse = Callable[[Origin, str], Awaitable[None]]
"""Answers with a sentence why not."""
Interaction = discord.Interaction[Any]


def verify_commands(
    answer: Answer, refuse: Refuse, reading_now: set[asyncio.Task[Any]]
) -> tuple[app_commands.Command[Any, Any, None], app_commands.ContextMenu]:
    """Make `/verify` and the message command, whose requests go to `answer`.

    Whoever cancels a task in `reading_now` lets its person hear that the bot is being stopped.
    """

    async def look_at(interaction: Interaction, reading: Awaitable[tuple[Request, str]]) -> None:
        try:
            request, looked_at = await _read(reading, reading_now)
        except RefusedError as error:
            await refuse(interaction_origin(interaction, is_private=True), str(error))
        else:
            origin = interaction_origin(interaction, is_private=True, looked_at=looked_at)
            await answer(origin, request)

    @app_commands.command(name="verify", description="Ask whether this bot wrote a text")
    @app_commands.describe(
        text="The text, as long as you have it: a few words are too few to tell",
        file="Or a text file with it (UTF-8)",
    )
    async def verify(
        interaction: Interaction,
        text: app_commands.Range[str, 0, MAX_TEXT_CHARS] = "",
        file: discord.Attachment | None = None,
    ) -> None:
        if await defer(interaction, is_private=True):
            await look_at(interaction, from_options(text, file))

    async def was_this_machine_generated(
        interaction: Interaction, message: discord.Message
    ) -> None:
        if await defer(interaction, is_private=True):
            await look_at(interaction, from_message(message))

    menu = app_commands.ContextMenu(name=MENU_NAME, callback=was_this_machine_generated)
    return verify, menu


async def _read(
    reading: Awaitable[tuple[Request, str]], reading_now: set[asyncio.Task[Any]]
) -> tuple[Request, str]:
    task = asyncio.ensure_future(reading)
    reading_now.add(task)
    try:
        return await task
    except asyncio.CancelledError:
        raise RefusedError(replies.STOPPING_HERE) from None
    finally:
        reading_now.discard(task)

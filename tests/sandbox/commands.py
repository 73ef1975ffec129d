"""A bot's commands for the tests of interactions: one of each sort, with a button and a form."""

from typing import Any

import discord
from discord import app_commands

from tests.sandbox.clients import Bot


class Stop(discord.ui.View):
    """One button that takes itself away."""

    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Stop", custom_id="stop")
    async def stop_it(
        self, interaction: discord.Interaction, button: discord.ui.Button[discord.ui.View]
    ) -> None:
        await interaction.response.edit_message(content="stopped", view=None)


class Form(discord.ui.Modal, title="Report"):
    """One question."""

    reason: discord.ui.TextInput[discord.ui.Modal] = discord.ui.TextInput(
        label="Why?", custom_id="reason"
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"because {self.reason.value}", ephemeral=True)


@app_commands.command(description="Write on from a prompt")
async def generate(
    interaction: discord.Interaction,
    prompt: app_commands.Range[str, 1, 100],
    length: app_commands.Range[int, 1, 50] = 20,
    temperature: app_commands.Range[float, 0.0, 2.0] = 1.0,
) -> None:
    await interaction.response.defer(thinking=True)
    await interaction.edit_original_response(content=f"{prompt} {length} {temperature}")
    await interaction.followup.send("and more", ephemeral=True)


@app_commands.command(description="Ask for a private word")
async def privacy(interaction: discord.Interaction) -> None:
    await interaction.response.send_message("only for you", ephemeral=True, view=Stop())


@app_commands.command(description="Ask for a form")
async def report(interaction: discord.Interaction) -> None:
    await interaction.response.send_modal(Form())


@app_commands.command(description="Choose a model")
async def choose(interaction: discord.Interaction, model: str) -> None:
    await interaction.response.send_message(model)


@choose.autocomplete("model")
async def complete(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=typed.upper(), value=typed)]


settings = app_commands.Group(name="settings", description="Set", guild_only=True)


@settings.command(description="Set the mode")
async def mode(interaction: discord.Interaction, to: str) -> None:
    await interaction.response.send_message(f"mode {to}")


@app_commands.context_menu(name="Continue")
async def go_on(interaction: discord.Interaction, message: discord.Message) -> None:
    await interaction.response.send_message(f"after {message.content}", view=Stop())


def with_commands() -> Bot:
    """Make a bot that has one command of each sort."""
    bot = Bot()
    one_of_each: list[Any] = [generate, privacy, report, choose, settings, go_on]
    for command in one_of_each:
        bot.tree.add_command(command)
    return bot

"""Commands, buttons and forms, answered by a real discord.py client."""

import asyncio
from collections.abc import AsyncIterator

import discord
import pytest

from sandbox.interactions import ANSWER_WITHIN_S
from sandbox.model import Flags, Interaction
from sandbox.server import Sandbox
from sandbox.slash import PersonError
from tests.sandbox.clients import DEADLINE_S, Bot, connected
from tests.sandbox.commands import with_commands


@pytest.fixture
async def bot(sandbox: Sandbox) -> AsyncIterator[Bot]:
    async with connected(sandbox, with_commands()) as bot:
        async with asyncio.timeout(DEADLINE_S):
            await sandbox.bot_ready.wait()
        yield bot


async def test_a_deferred_command_is_answered_by_an_edit(sandbox: Sandbox, bot: Bot):
    options = {"prompt": "a herd", "length": 5, "temperature": 0.5}
    asked = await sandbox.slash(sandbox.alice, sandbox.general, "generate", options)
    await sandbox.wait_for(lambda: asked.followups)

    assert asked.answer_kind == 5
    assert asked.original is not None
    assert not asked.deferred
    assert [revision.content for revision in asked.original.revisions] == ["", "a herd 5 0.5"]
    assert asked.original.interaction is asked
    assert sandbox.messages(sandbox.general, seen_by=sandbox.bob) == [asked.original]


async def test_an_ephemeral_follow_up_is_for_one_person_only(sandbox: Sandbox, bot: Bot):
    asked = await sandbox.slash(sandbox.bob, sandbox.dm(sandbox.bob), "generate", {"prompt": "x"})
    await sandbox.wait_for(lambda: asked.followups)

    assert asked.original is not None
    [private] = asked.followups
    assert private.visible_to == sandbox.bob
    assert private.flags == Flags.EPHEMERAL
    assert private.reference is asked.original
    channel = sandbox.dm(sandbox.bob)
    assert private in sandbox.messages(channel, seen_by=sandbox.bob)
    assert private not in sandbox.messages(channel, seen_by=sandbox.alice)

    # What is written later is seen later: by then the private message would have come.
    later = await sandbox.say(sandbox.bob, channel, "later")
    await bot.until(lambda: bot.seen and bot.seen[-1].id == later.id)
    assert [message.id for message in bot.seen] == [asked.original.id, later.id]

    theirs = bot.get_partial_messageable(channel.id)
    assert private.id not in [message.id async for message in theirs.history()]
    with pytest.raises(discord.NotFound):
        await theirs.fetch_message(private.id)


async def test_a_button_changes_its_message(sandbox: Sandbox, bot: Bot):
    first = await sandbox.say(sandbox.bob, sandbox.general, "between us")
    asked = await sandbox.message_command(sandbox.alice, first, "Continue")
    await sandbox.wait_for(lambda: asked.original)
    assert asked.original is not None
    assert asked.original.content == "after between us"

    button = asked.original.button("Stop")
    assert button is not None
    pressed = await sandbox.press(sandbox.bob, asked.original, button.custom_id)
    await sandbox.wait_for(lambda: pressed.answered)

    assert pressed.original is asked.original
    assert (asked.original.content, asked.original.buttons) == ("stopped", [])
    with pytest.raises(PersonError, match="no button 'stop'; it has: none"):
        await sandbox.press(sandbox.bob, asked.original, "stop")


async def test_a_private_button_is_not_for_others(sandbox: Sandbox, bot: Bot):
    asked = await sandbox.slash(sandbox.alice, sandbox.general, "privacy")
    await sandbox.wait_for(lambda: asked.original)
    assert asked.original is not None

    with pytest.raises(PersonError, match="bob cannot see that message"):
        await sandbox.press(sandbox.bob, asked.original, "stop")
    pressed = await sandbox.press(sandbox.alice, asked.original, "stop")
    await sandbox.wait_for(lambda: pressed.answered)
    assert asked.original.content == "stopped"


async def test_a_form_is_filled_in_and_sent(sandbox: Sandbox, bot: Bot):
    asked = await sandbox.slash(sandbox.alice, sandbox.general, "report")
    await sandbox.wait_for(lambda: asked.modal)
    sent = await sandbox.submit(asked, {"reason": "it is dull"})
    await sandbox.wait_for(lambda: sent.original)
    assert sent.original is not None
    assert sent.original.content == "because it is dull"


async def test_the_bot_completes_what_is_typed(sandbox: Sandbox, bot: Bot):
    asked = await sandbox.autocomplete(sandbox.alice, sandbox.general, "choose", "model", "124m")
    await sandbox.wait_for(lambda: asked.answered)
    assert asked.choices == [{"name": "124M", "value": "124m"}]


async def test_a_sub_command_is_for_the_server_only(sandbox: Sandbox, bot: Bot):
    asked = await sandbox.slash(sandbox.alice, sandbox.general, "settings mode", {"to": "chat"})
    await sandbox.wait_for(lambda: asked.original)
    assert asked.original is not None
    assert asked.original.content == "mode chat"
    with pytest.raises(PersonError, match="no command 'settings' here"):
        await sandbox.slash(sandbox.alice, sandbox.dm(sandbox.alice), "settings mode", {"to": "x"})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "/generate needs the option 'prompt'"),
        ({"prompt": ""}, "prompt must have at least 1 characters, not 0"),
        ({"prompt": "x" * 101}, "prompt must have at most 100 characters, not 101"),
        ({"prompt": "x", "length": 51}, "length must be at most 50, not 51"),
        ({"prompt": "x", "length": 0}, "length must be at least 1, not 0"),
        ({"prompt": "x", "length": 2.5}, "length must be a whole number, not 2.5"),
        ({"prompt": "x", "length": True}, "length must be a whole number, not True"),
        ({"prompt": "x", "temperature": 2.1}, "temperature must be at most 2.0, not 2.1"),
        ({"prompt": 3}, "prompt must be a text, not 3"),
        ({"prompt": "x", "heat": 3}, "/generate has no option 'heat'"),
    ],
)
async def test_an_option_out_of_bounds_is_refused_by_name(
    sandbox: Sandbox, bot: Bot, options, sentence
):
    with pytest.raises(PersonError) as refused:
        await sandbox.slash(sandbox.alice, sandbox.general, "generate", options)
    assert str(refused.value).startswith(sentence)
    assert sandbox.world.interactions == {}


class Hands(Bot):
    """Keeps interactions and leaves the answering to the test."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: asyncio.Queue[discord.Interaction] = asyncio.Queue()

        @self.tree.command(description="Wait")
        async def wait(interaction: discord.Interaction) -> None:
            await self.asked.put(interaction)


async def ask(sandbox: Sandbox, bot: Hands) -> tuple[Interaction, discord.Interaction]:
    """Let Alice call the command; return both sides of the interaction."""
    mine = await sandbox.slash(sandbox.alice, sandbox.general, "wait")
    async with asyncio.timeout(DEADLINE_S):
        return mine, await bot.asked.get()


async def test_an_interaction_is_answered_once(sandbox: Sandbox):
    async with connected(sandbox, Hands()) as bot:
        _, theirs = await ask(sandbox, bot)
        await theirs.response.send_message("one")
        second = discord.InteractionResponse(theirs)
        with pytest.raises(discord.HTTPException) as refused:
            await second.send_message("two")
    assert refused.value.code == 40060
    assert [m.content for m in sandbox.bot_messages(sandbox.general)] == ["one"]


async def test_an_interaction_dies_after_three_seconds_and_its_token_after_a_quarter_hour(
    monkeypatch: pytest.MonkeyPatch,
):
    # Other tests are given more, as their clocks do not stand still.
    monkeypatch.setattr("sandbox.interactions.ANSWER_WITHIN_S", ANSWER_WITHIN_S)
    now_s = 0.0
    async with Sandbox(clock=lambda: now_s) as sandbox, connected(sandbox, Hands()) as bot:
        mine, late = await ask(sandbox, bot)
        now_s += 3.1
        with pytest.raises(discord.NotFound) as unknown:
            await late.response.send_message("too late")
        assert not mine.answered

        mine, timely = await ask(sandbox, bot)
        now_s += 2.9
        await timely.response.defer()
        now_s += 890
        await timely.edit_original_response(content="just in time")
        now_s += 10
        with pytest.raises(discord.HTTPException) as expired:
            await timely.edit_original_response(content="too late")

    assert unknown.value.code == 10062
    assert expired.value.code == 50027
    assert mine.original is not None
    assert mine.original.content == "just in time"


async def test_the_first_follow_up_becomes_a_deferred_answer(sandbox: Sandbox):
    async with connected(sandbox, Hands()) as bot:
        mine, theirs = await ask(sandbox, bot)
        await theirs.response.defer(ephemeral=True, thinking=True)
        assert mine.deferred
        first = await theirs.followup.send("one", wait=True)
        second = await theirs.followup.send("two", wait=True)
        await second.edit(content="two and a half")
        await theirs.delete_original_response()

    assert mine.original is not None
    assert (mine.original.id, mine.original.content) == (first.id, "one")
    assert mine.original.visible_to == sandbox.alice
    assert mine.original.deleted
    assert [m.content for m in mine.followups] == ["two and a half"]


async def test_a_follow_up_before_the_answer_finds_no_webhook(sandbox: Sandbox):
    async with connected(sandbox, Hands()) as bot:
        _, theirs = await ask(sandbox, bot)
        with pytest.raises(discord.NotFound) as refused:
            await theirs.followup.send("too early")
    assert refused.value.code == 10015


async def test_commands_keep_their_ids_when_they_are_registered_again(sandbox: Sandbox, bot: Bot):
    before = {each["name"]: each["id"] for each in sandbox.commands_in(sandbox.general)}
    bot.tree.remove_command("choose")
    await bot.tree.sync()
    after = {each["name"]: each["id"] for each in sandbox.commands_in(sandbox.general)}
    assert before.keys() - after.keys() == {"choose"}
    assert after.items() <= before.items()

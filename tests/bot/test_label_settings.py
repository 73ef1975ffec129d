"""An operator may add to the label and never take from it: every setting, every trick.

The settings are those that `BotSettings` has, so that a new one is tried without being named here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from bot import __main__ as program
from bot.client import BotClient
from bot.discord_api import use_discord_at
from bot.label import check_note, label
from bot.render import MIN_ROOM_UNITS, render
from bot.replies import asked_by
from bot.settings import BotSettings, explain_settings
from sandbox.model import Message
from sandbox.server import Sandbox
from tests.bot.support import DEADLINE_S, EARLY_LABEL, LABEL, Engine, until_over
from wire.queue import JobQueue

HOSTILE = (
    *("", "   ", "\n\n\n", "off", "1"),
    *(
        "-# ",
        "-# 🤖 Written by a person",
        "🤖",
        "\u200b",
        "\u202ekcab",
        "\ufeff",
        "a\nb",
        "⟨U+202E⟩",
    ),
    *("# **[x](https://example.com)** ||y|| ```", "<@1> @everyone"),
    *("🦋" * 200, "`" * 200, "x" * 201, "n" + "\u0303" * 150),
)
CONNECTION = {"discord_token", "redis_url", "discord_api", "discord_gateway", "log_level"}
"""Where the bot connects to and what it logs: taken from the sandbox instead."""
STORY = "-# small print\n" + "The old lighthouse keeper counted the ships again. " * 50


def variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"OVID_{name.upper()}"


@pytest.fixture(autouse=True)
def _without_dotenv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, BotSettings]]:
    """What the settings become for every hostile value of each; what is refused has a sentence."""
    found = [("nothing", BotSettings())]
    for name, field in BotSettings.model_fields.items():
        for value in HOSTILE:
            with monkeypatch.context() as environment:
                environment.setenv(variable(name, field), value)
                try:
                    found.append((name, BotSettings()))
                except ValidationError as error:
                    [sentence] = explain_settings(error)
                    assert sentence.startswith(f"{variable(name, field)}: ")
                    assert sentence.endswith(".")
    return found


async def test_no_setting_takes_the_label_away(
    accepted: list[tuple[str, BotSettings]],
    sandbox: Sandbox,
    redis_url: str,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
):
    distinct = {repr(settings): settings for name, settings in accepted if name not in CONNECTION}
    assert len(distinct) > 6
    for settings in distinct.values():
        at_sandbox = settings.model_copy(update={"redis_url": SecretStr(redis_url)})
        async with asyncio.timeout(DEADLINE_S):
            await see_a_reply(at_sandbox, sandbox, engine, queue, monkeypatch)


async def see_a_reply(
    settings: BotSettings,
    sandbox: Sandbox,
    engine: Engine,
    queue: JobQueue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Run the bot as `python -m bot run` does, and look at all that a long reply says."""
    clients: list[BotClient] = []

    async def at_sandbox(
        client: BotClient, _: BotSettings, work: Callable[..., Awaitable[None]]
    ) -> bool:
        clients.append(client)
        use_discord_at(sandbox.api_url, sandbox.gateway_url)
        async with client:
            await client.login(sandbox.token)
            await work(client)
        return True

    monkeypatch.setattr(program, "at_discord", at_sandbox)
    sandbox.bot_ready.clear()
    before = set(sandbox.bot_messages(sandbox.general))
    running = asyncio.create_task(program.run(settings))
    try:
        await sandbox.bot_ready.wait()
        asked = await sandbox.say(
            sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} Once"
        )
        await engine.end(await engine.take(), STORY)
        await sandbox.wait_for_reply(asked)
        [client] = clients
        await until_over(queue, client)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    parts = [each for each in sandbox.bot_messages(sandbox.general) if each not in before]
    assert len(parts) >= 2
    all_are_labelled(parts, settings.label_note)


def all_are_labelled(parts: list[Message], note: str) -> None:
    heads = tuple(f"{label(name, 'en-US', note)}\n" for name in (None, "124M"))
    for part in parts:
        for revision in part.revisions:
            assert revision.content.startswith(heads)
            assert revision.content.partition("\n")[0] in {LABEL, EARLY_LABEL}


@pytest.mark.parametrize(
    "note", ["🦋" * 200, "`" * 200, "\u0303" * 4, "none", "{model}", "-# ", "# a", "> ", "\\"]
)
def test_a_note_is_one_inert_line_below_the_label_and_leaves_room_for_the_text(note: str):
    lines = label("x" * 99, "tr", check_note(note))
    first, second = lines.split("\n")
    assert first.startswith("-# 🤖 ")
    assert second.startswith("-# ")
    introduction = asked_by("`" * 99, "`" * 999)
    parts = render("`" * 9999, lines, introduction=introduction)
    assert all(part.startswith(f"{lines}\n") for part in parts)
    assert parts[0].count("\\`") > MIN_ROOM_UNITS / 2


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("x" * 201, "at most 200 characters long, it is 201"),
        ("a\nb", "one line"),
        ("a\u2028b", "one line"),
        ("🤖 Written by a person", "should not contain 🤖"),
        ("a\u200bb", "characters that cannot be seen"),
        ("\u202ekcab", "characters that cannot be seen"),
        ("n" + "\u0303" * 5, "characters that cannot be seen"),
        ("⟨U+202E⟩", "should not contain ⟨"),
    ],
)
def test_a_note_that_could_hide_or_imitate_the_label_is_refused_with_a_sentence(
    note: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OVID_LABEL_NOTE", note)
    with pytest.raises(ValidationError) as caught:
        BotSettings()
    [sentence] = explain_settings(caught.value)
    assert sentence.startswith("OVID_LABEL_NOTE: input should ")
    assert reason in sentence

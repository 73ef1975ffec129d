"""What doctor's tests share: its findings about a sandbox, and the one that a test is about."""

import time

from bot.doctor import check_discord
from bot.settings import BotSettings
from wire.findings import Finding, Level, exit_status


async def at_discord(settings: BotSettings, ahead_s: float = 0) -> list[Finding]:
    return [each async for each in check_discord(settings, lambda: time.time() + ahead_s)]


def only(found: list[Finding], level: Level) -> str:
    """The one line of its level, and there is nothing worse."""
    assert exit_status(found) == exit_status([Finding(level, "", "")])
    [line] = [each.line() for each in found if each.level is level]
    return line

"""Discord's many ways to refuse, made into three: it is gone, it is not allowed, or try later."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import discord

UNKNOWN_WEBHOOK = 10015
"""What an interaction that was never answered has in place of an answer."""
INVALID_WEBHOOK_TOKEN = 50027
"""What an interaction's token is answered with when its 15 minutes are over."""


class GoneError(Exception):
    """The message, its channel, or the right to answer an interaction no longer exists.

    Attributes:
        lacks_token: Whether it is that right, and the message may still stand.
    """

    def __init__(self, said: str, *, lacks_token: bool = False) -> None:
        super().__init__(said)
        self.lacks_token = lacks_token


class DeniedError(Exception):
    """Discord does not take it, now or later.

    Attributes:
        code: Discord's own.
        lacks_permission: Whether the bot may not, rather than what it sent being unwelcome.
    """

    def __init__(self, said: str, code: int, *, lacks_permission: bool) -> None:
        super().__init__(said)
        self.code = code
        self.lacks_permission = lacks_permission


class UnreachableError(Exception):
    """Discord could not be reached or is out of order; what was asked may or may not be done."""


@contextmanager
def discord_errors() -> Iterator[None]:
    """Turn what discord.py and its transport raise into the three.

    Only numbers are kept of an answer, since its words may quote a message.
    """
    try:
        yield
    except discord.HTTPException as error:
        said = f"Discord answered {error.status}, code {error.code}"
        lacks_token = error.code in {UNKNOWN_WEBHOOK, INVALID_WEBHOOK_TOKEN}
        if error.status == 404 or lacks_token:
            raise GoneError(said, lacks_token=lacks_token) from error
        # 401 is a bot's token that was reset: with the new one it goes on.
        if error.status in {401, 429} or error.status >= 500:
            raise UnreachableError(said) from error
        raise DeniedError(said, error.code, lacks_permission=error.status == 403) from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(type(error).__name__) from error


@contextmanager
def failure_logged(log: logging.Logger, message: str, *args: object) -> Iterator[None]:
    """Log which of the three became of a call that nothing depends on.

    Args:
        log: Whose line it is.
        message: Has a `%s` for each of `args`, and one more at the end for what Discord said.
        args: What goes before that.
    """
    try:
        with discord_errors():
            yield
    except (DeniedError, GoneError, UnreachableError) as error:
        log.info(message, *args, error)

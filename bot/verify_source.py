"""The text that a person wants looked at: theirs, a message's, or a file's. Knows no queue.

A file is read up to a bound, from the address that Discord gave and from no other.
"""

import asyncio
import codecs
import json
import logging

import aiohttp
import discord

from bot import replies
from bot.intake import RefusedError, Request
from wire.jobs import MAX_VERIFY_BYTES

_log = logging.getLogger(__name__)

MAX_FILE_BYTES = 48 * 1024
"""More of a file is not looked at: some 8,000 words, of which a few hundred are enough."""
MAX_JSON_BYTES = MAX_VERIFY_BYTES - 4 * 1024
"""A job's text as JSON, where some characters take six bytes; the rest of the job needs room."""
DOWNLOAD_WITHIN_S = 10.0
TEXT_SUFFIXES = (".txt", ".md")

# Unpacked by nobody, so that a few bytes never become many.
_AS_IT_IS = {"Accept-Encoding": "identity"}


async def from_options(text: str, file: discord.Attachment | None) -> tuple[Request, str]:
    """Read what was given to `/verify`.

    Returns:
        The request, and small print that says what it looks at; empty where that is plain.

    Raises:
        RefusedError: There is nothing to look at, or it can't be read.
    """
    if file is None:
        return _request(text), ""
    if text.strip():
        raise RefusedError(replies.ONE_OF_TWO)
    # Without what Discord knows of it the library gives its bare id.
    if not isinstance(file, discord.Attachment):
        raise RefusedError(replies.FILE_AWAY)
    return await _from_file(file)


async def from_message(message: discord.Message) -> tuple[Request, str]:
    """Read a message: its own text, else its first text file. As for `from_options`.

    A forwarded message has neither; what it brings along has.
    """
    written: list[discord.Message | discord.MessageSnapshot] = [message, *message.message_snapshots]
    text = "\n".join(each.content for each in written if each.content)
    if text.strip():
        return _request(text), replies.looked_at(link=message.jump_url)
    files = [file for each in written for file in each.attachments if _is_text(file)]
    if not files:
        raise RefusedError(replies.MESSAGE_WITHOUT_TEXT)
    return await _from_file(files[0], link=message.jump_url)


def _is_text(file: discord.Attachment) -> bool:
    kind = file.content_type or ""
    return kind.startswith("text/") or file.filename.lower().endswith(TEXT_SUFFIXES)


def _request(text: str) -> Request:
    if not text.strip():
        raise RefusedError(replies.NOTHING_TO_VERIFY)
    return Request(text, kind="verify")


async def _from_file(file: discord.Attachment, *, link: str = "") -> tuple[Request, str]:
    try:
        start = await read_start(file.url, MAX_FILE_BYTES + 1)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        # Without its words: the address in them lets its holder read the file.
        _log.info("attachment %d could not be read: %s", file.id, type(error).__name__)
        raise RefusedError(replies.FILE_AWAY) from None
    whole = read_text(start[:MAX_FILE_BYTES], is_cut=len(start) > MAX_FILE_BYTES)
    text = fitting(whole)
    is_cut = len(start) > MAX_FILE_BYTES or len(text) < len(whole)
    num_kib = max(1, round(len(text.encode()) / 1024)) if is_cut else None
    return _request(text), replies.looked_at(link=link, file=file.filename, num_kib=num_kib)


async def read_start(url: str, num_bytes: int, within_s: float | None = None) -> bytes:
    """Read the first bytes at an address, and follow it nowhere else.

    Args:
        url: As Discord gave it.
        num_bytes: At most so many.
        within_s: How long all of it may take; `DOWNLOAD_WITHIN_S` if left out.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: It could not be read, or in time.
    """
    start = bytearray()
    async with (
        asyncio.timeout(within_s or DOWNLOAD_WITHIN_S),
        aiohttp.ClientSession(headers=_AS_IT_IS, auto_decompress=False) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            msg = f"answered {response.status}"
            raise aiohttp.ClientPayloadError(msg)
        while len(start) < num_bytes:
            piece = await response.content.read(num_bytes - len(start))
            if not piece:
                break
            start += piece
    return bytes(start)


def read_text(data: bytes, *, is_cut: bool) -> str:
    r"""Read UTF-8, with or without a byte order mark.

    Args:
        data: A file, or the beginning of one.
        is_cut: Whether there is more, so that the last character may be broken.

    Raises:
        RefusedError: It is something else.

    >>> read_text(b"\xef\xbb\xbfna\xc3\xafve \xc3", is_cut=True)
    'naïve '
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        text = decoder.decode(data, final=not is_cut)
    except UnicodeDecodeError:
        raise RefusedError(replies.NOT_A_TEXT_FILE) from None
    # Text in two bytes a letter, and many a picture, can pass for UTF-8; no text holds these.
    if "\0" in text:
        raise RefusedError(replies.NOT_A_TEXT_FILE)
    return text


def fitting(text: str, max_bytes: int = MAX_JSON_BYTES) -> str:
    r"""Return as much of a text as fits into a job, where it stands as JSON.

    >>> fitting("\x01\x02\x03", max_bytes=14)
    '\x01\x02'
    """
    while (size_bytes := len(json.dumps(text, ensure_ascii=False).encode())) > max_bytes:
        text = text[: len(text) * max_bytes // size_bytes]
    return text

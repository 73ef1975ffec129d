"""Owns how a chat export of DiscordChatExporter becomes transcripts. Knows no files and no tokens.

Source: Tyrrrz/DiscordChatExporter:DiscordChatExporter.Core/Exporting/JsonMessageWriter.cs.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

NOTICE = (
    "This is an export of Discord messages: everybody who wrote there must have agreed to it, and "
    "Discord forbids training on data from its API without its permission."
)
MARKS = {"guild", "channel", "messages"}
"""What every export has at its top, and no other JSON that people keep beside their notes."""
SPOKEN = {"Default", "Reply"}
"""Kinds of messages that a person typed; all others tell of joins, calls, pins and commands."""
PAUSE = timedelta(minutes=30)
"""After so long a silence, what is said next seldom answers what was said before."""


class Author(BaseModel):
    """Who wrote a message; all that the export says beside this is left alone."""

    name: str
    nickname: str | None = None
    isBot: bool = False  # noqa: N815 - the exporter's spelling

    @property
    def shown_name(self) -> str:
        """Return the name that others saw, on one line."""
        return " ".join((self.nickname or self.name).split()) or "Someone"


class Message(BaseModel):
    """One message."""

    type: str
    timestamp: datetime
    content: str
    author: Author

    @property
    def sent(self) -> datetime:
        """Return when it was sent; an export without time zones is taken for UTC."""
        known = self.timestamp.tzinfo is not None
        return self.timestamp if known else self.timestamp.replace(tzinfo=UTC)


class ChatExport(BaseModel):
    """One channel's export."""

    messages: list[Message]


@dataclass(frozen=True, slots=True)
class Transcripts:
    """What was said, and by whom."""

    texts: list[str]
    people: set[str]


def is_chat_export(fields: Any) -> bool:
    """Return whether parsed JSON is such an export, by what it holds."""
    return isinstance(fields, dict) and fields.keys() >= MARKS


def transcripts(fields: Any) -> Transcripts:
    """Write the conversations of an export as a chat bot's prompts are: `Name: text` lines.

    Bots, notices of the system and messages without text are left out. A long pause begins a new
    conversation.

    Raises:
        ValueError: a message lacks what is needed here. What people wrote is not quoted.
    """
    try:
        export = ChatExport.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        msg = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        raise ValueError(msg) from error
    messages = [
        message
        for message in export.messages
        if message.type in SPOKEN and not message.author.isBot and message.content.strip()
    ]
    messages.sort(key=lambda message: message.sent)
    conversations: list[list[Message]] = []
    for message in messages:
        if not conversations or message.sent - conversations[-1][-1].sent > PAUSE:
            conversations.append([])
        conversations[-1].append(message)
    return Transcripts(
        texts=["\n".join(map(_line, conversation)) for conversation in conversations],
        people={message.author.shown_name for message in messages},
    )


def _line(message: Message) -> str:
    return f"{message.author.shown_name}: {message.content.strip()}"

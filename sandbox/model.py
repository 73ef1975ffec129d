"""The nouns of the sandbox (users, channels, messages, interactions); knows no JSON and no HTTP."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, IntFlag
from typing import Any

Json = dict[str, Any]

EVERYONE = "everyone"
"""What a message's `pings` holds for `@everyone` and `@here`."""


class MessageKind(IntEnum):
    """Discord's message types that occur here."""

    DEFAULT = 0
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    CONTEXT_MENU_COMMAND = 23


class Flags(IntFlag):
    """Discord's message flags that occur here."""

    SUPPRESS_EMBEDS = 1 << 2
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    COMPONENTS_V2 = 1 << 15


NO_FLAGS = Flags(0)


class InteractionKind(IntEnum):
    """Discord's interaction types that people can cause here."""

    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


@dataclass(frozen=True, slots=True)
class User:
    """A person or a bot; `locale` is the language of their client."""

    id: int
    name: str
    bot: bool = False
    locale: str = "en-US"

    @property
    def mention(self) -> str:
        """The text that mentions this user."""
        return f"<@{self.id}>"


@dataclass(frozen=True, slots=True)
class Guild:
    """A server. Its `@everyone` role has the guild's own id."""

    id: int
    name: str
    owner: User
    bot_role_id: int
    locale: str = "en-US"


@dataclass(frozen=True, slots=True)
class Channel:
    """A text channel of the guild, or the bot's direct messages with `recipient`."""

    id: int
    name: str
    guild: Guild | None
    recipient: User | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on a message."""

    id: int
    filename: str
    content_type: str
    data: bytes
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Button:
    """A button as a person sees it."""

    custom_id: str
    label: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class Revision:
    """What a message said from `at_s` (the sandbox's monotonic clock) on."""

    content: str
    components: list[Json]
    at_s: float


@dataclass(slots=True)
class Draft:
    """The checked content of a message that is about to be posted or changed."""

    content: str = ""
    components: list[Json] = field(default_factory=list)
    embeds: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    flags: Flags = NO_FLAGS
    pings: set[int | str] = field(default_factory=set)


@dataclass(slots=True, eq=False, repr=False)
class Message:
    """A message and all it ever said. Only `World` changes it."""

    id: int
    channel: Channel
    author: User
    draft: Draft
    kind: MessageKind = MessageKind.DEFAULT
    reference: "Message | None" = None
    nonce: str | int | None = None
    webhook_id: int | None = None
    interaction: "Interaction | None" = None
    """The interaction that this message answers."""
    forwarded: "Message | None" = None
    """What this message forwards; it has no words of its own then."""
    visible_to: User | None = None
    """Set on ephemeral messages: nobody else sees them."""
    pings: set[int | str] = field(default_factory=set)
    """Ids of users and roles, and EVERYONE, that any revision of the message could ping."""
    revisions: list[Revision] = field(default_factory=list)
    reactions: dict[str, list[User]] = field(default_factory=dict)
    edited_at: datetime | None = None
    deleted: bool = False

    def __repr__(self) -> str:
        return f"<Message {self.id} in {self.channel.name}, {self.author.name}: {self.content!r}>"

    @property
    def content(self) -> str:
        """What the message says now."""
        return self.draft.content

    @property
    def components(self) -> list[Json]:
        """The component rows as Discord's JSON."""
        return self.draft.components

    @property
    def attachments(self) -> list[Attachment]:
        """The files on the message now."""
        return self.draft.attachments

    @property
    def flags(self) -> Flags:
        """The message's flags now."""
        return self.draft.flags

    @property
    def buttons(self) -> list[Button]:
        """The buttons in reading order, links left out."""
        return [
            Button(part["custom_id"], part.get("label", ""), part.get("disabled", False))
            for part in walk_components(self.components)
            if part["type"] == 2 and "custom_id" in part
        ]

    def button(self, label: str) -> Button | None:
        """Find the button whose label holds `label`, or None."""
        return next((button for button in self.buttons if label in button.label), None)


@dataclass(slots=True, eq=False, repr=False)
class Interaction:
    """A command, a button press or a form, and what the bot answered. Only `World` changes it."""

    id: int
    token: str
    kind: InteractionKind
    user: User
    channel: Channel
    data: Json
    """Discord's `data` field: the command with its options, or the component."""
    created_s: float
    files: list[Attachment] = field(default_factory=list)
    """What a person put into options that take files; only the bot and they know of them."""
    message: Message | None = None
    """The message whose component was pressed."""
    opened_by: "Interaction | None" = None
    """What opened the form that a MODAL sends."""
    answer_kind: int | None = None
    """Discord's callback type of the answer; None until there is one."""
    original: Message | None = None
    """What `@original` names; None for an answer without a message."""
    followups: list[Message] = field(default_factory=list)
    choices: list[Json] = field(default_factory=list)
    """The answer to an AUTOCOMPLETE."""
    modal: Json | None = None
    """The form that was opened."""

    def __repr__(self) -> str:
        return f"<Interaction {self.kind.name} of {self.user.name}: {self.original!r}>"

    @property
    def answered(self) -> bool:
        """Whether the bot has acknowledged the interaction."""
        return self.answer_kind is not None

    @property
    def deferred(self) -> bool:
        """Whether the person still sees "thinking"."""
        return self.original is not None and bool(self.original.flags & Flags.LOADING)


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody was seen typing at `at_s` (monotonic)."""

    user: User
    channel: Channel
    at_s: float


@dataclass(frozen=True, slots=True)
class Reaction:
    """An emoji that a user put on a message, or took off."""

    user: User
    message: Message
    emoji: str


def walk_components(components: list[Json]) -> list[Json]:
    """List all components, containers before what they hold.

    >>> [part["type"] for part in walk_components([{"type": 1, "components": [{"type": 2}]}])]
    [1, 2]
    """
    found: list[Json] = []
    for part in components:
        found.append(part)
        found += walk_components(part.get("components", []))
        if "accessory" in part:
            found += walk_components([part["accessory"]])
    return found

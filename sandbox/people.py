"""What people do and see in the sandbox; knows no HTTP and nothing of how a bot is connected."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sandbox.commands import MESSAGE_MENU
from sandbox.model import (
    Attachment,
    Channel,
    Draft,
    Guild,
    Interaction,
    InteractionKind,
    Json,
    Message,
    Typing,
    User,
)
from sandbox.rules import CONTENT_CHARS, Upload, pings
from sandbox.slash import PersonError, available, fill, find_command, find_options
from sandbox.world import World

T = TypeVar("T")


class People:
    """Alice, who owns the server, Bob, and whoever joins; each can also write to the bot alone."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def alice(self) -> User:
        """The owner of the server."""
        return self.world.alice

    @property
    def bob(self) -> User:
        """A member without special rights, whose client speaks German."""
        return self.world.bob

    def join(self, name: str) -> User:
        """Let one more person without special rights join the server."""
        return self.world.join(name)

    def open_channel(self, name: str) -> Channel:
        """Open one more text channel, in which everybody may write."""
        return self.world.open_channel(name)

    @property
    def bot_user(self) -> User:
        """The bot that is connected."""
        return self.world.bot

    @property
    def other_bot(self) -> User:
        """A bot of somebody else, moved with `say`."""
        return self.world.other_bot

    @property
    def guild(self) -> Guild:
        """The server."""
        return self.world.guild

    @property
    def general(self) -> Channel:
        """The first text channel."""
        return self.world.general

    @property
    def random(self) -> Channel:
        """The second text channel."""
        return self.world.random

    def dm(self, user: User) -> Channel:
        """Find the direct messages between a person and the bot."""
        return self.world.dms[user.id]

    def messages(self, channel: Channel, seen_by: User | None = None) -> list[Message]:
        """List a channel's messages, oldest first.

        Args:
            channel: Where to look.
            seen_by: Leave out what this person cannot see; None shows everything.
        """
        return [
            message
            for message in self.world.history(channel)
            if seen_by is None or message.visible_to in {None, seen_by}
        ]

    def bot_messages(self, channel: Channel) -> list[Message]:
        """List our bot's messages in a channel, oldest first."""
        return [m for m in self.world.history(channel) if m.author == self.world.bot]

    @property
    def typing(self) -> list[Typing]:
        """Every time that somebody was seen typing, oldest first."""
        return self.world.typing

    async def wait_for(self, predicate: Callable[[], T | None], timeout_s: float = 60.0) -> T:
        """Wait until `predicate()` is true, looking again at each change, and return its value.

        Raises:
            TimeoutError: after `timeout_s`, with the last messages that exist.
        """
        return await self.world.wait_for(predicate, timeout_s)

    async def wait_for_reply(self, message: Message, timeout_s: float = 60.0) -> Message:
        """Wait for the bot's reply to a message."""

        def reply() -> Message | None:
            mine = self.bot_messages(message.channel)
            return next((each for each in mine if each.reference is message), None)

        return await self.world.wait_for(reply, timeout_s)

    async def say(
        self,
        user: User,
        channel: Channel,
        text: str,
        reply_to: Message | None = None,
        *,
        ping: bool = True,
        files: Sequence[Upload] = (),
    ) -> Message:
        """Let a user write a message.

        Args:
            user: Who writes: a person, or `other_bot`.
            channel: Where.
            text: What; `user.mention` mentions somebody.
            reply_to: The message that it replies to.
            ping: Whether a reply pings the author it replies to.
            files: What is attached; with a file the text may be empty.

        Raises:
            PersonError: when the text is empty or too long, or the channel is somebody else's.
        """
        self._check_may_see(user, channel)
        if not (0 if files else 1) <= len(text.strip()) <= CONTENT_CHARS:
            msg = f"a message has 1 to {CONTENT_CHARS} characters, not {len(text.strip())}"
            raise PersonError(msg)
        allowed = {"parse": ["users", "roles"], "replied_user": ping}
        replied_to = reply_to.author.id if reply_to else None
        draft = Draft(
            text.strip(),
            attachments=[self._uploaded(file) for file in files],
            pings=pings(text, allowed, replied_to, by_default=[]),
        )
        return self.world.post(user, channel, draft, reference=reply_to)

    async def forward(self, user: User, message: Message, channel: Channel) -> Message:
        """Let a user forward a message, without a word of their own, as Discord does it."""
        self._check_may_see(user, channel)
        return self.world.post(user, channel, Draft(), forwarded=message)

    def _uploaded(self, file: Upload) -> Attachment:
        return Attachment(self.world.new_id(), file.filename, file.content_type, file.data)

    async def say_as_webhook(self, channel: Channel, name: str, text: str) -> Message:
        """Let a webhook called `name` write a message."""
        author = User(self.world.new_id(), name, bot=True)
        draft = Draft(text, pings=pings(text, {"parse": ["users"]}, None, by_default=[]))
        return self.world.post(author, channel, draft, webhook_id=author.id)

    def _check_may_see(self, user: User, channel: Channel) -> None:
        if channel.recipient is not None and user not in {channel.recipient, self.world.bot}:
            msg = f"{user.name} cannot see the direct messages of {channel.recipient.name}"
            raise PersonError(msg)

    async def edit(self, user: User, message: Message, text: str) -> None:
        """Let a user change their own message.

        Raises:
            PersonError: when it is somebody else's.
        """
        if message.author != user:
            msg = f"{user.name} cannot edit a message of {message.author.name}"
            raise PersonError(msg)
        allowed = {"parse": ["users", "roles"]}
        draft = Draft(text.strip(), pings=pings(text, allowed, None, by_default=[]))
        self.world.edit(message, draft)

    async def delete(self, user: User, message: Message) -> None:
        """Let a user delete their own message, or the owner any in the server.

        Raises:
            PersonError: when they may not.
        """
        manages = message.channel.guild is not None and user == message.channel.guild.owner
        if message.author != user and not manages:
            msg = f"{user.name} cannot delete a message of {message.author.name}"
            raise PersonError(msg)
        self.world.delete(message)

    async def react(self, user: User, message: Message, emoji: str) -> None:
        """Let a user put an emoji on a message."""
        self.world.react(user, message, emoji)

    def commands_in(self, channel: Channel) -> list[Json]:
        """List the registered commands that people see in a channel, as Discord's JSON."""
        return available(self.world.commands, in_guild=channel.guild is not None)

    async def slash(
        self, user: User, channel: Channel, name: str, options: Mapping[str, object] | None = None
    ) -> Interaction:
        """Let a user call a slash command; `settings show` is a sub-command.

        Args:
            user: Who calls it.
            channel: Where.
            name: Of the command.
            options: What is put into its options; a file as an `Upload`.

        Raises:
            PersonError: when the command is not there, or naming the option, its bound and the
                value that it does not take.
        """
        self._check_may_see(user, channel)
        first, *path = name.split()
        command = find_command(self.commands_in(channel), first)
        given = {
            option: self._uploaded(value) if isinstance(value, Upload) else value
            for option, value in (options or {}).items()
        }
        data = fill(command, path, given)
        files = [value for value in given.values() if isinstance(value, Attachment)]
        return self.world.interact(InteractionKind.COMMAND, user, channel, data, files=files)

    async def autocomplete(
        self, user: User, channel: Channel, name: str, option: str, typed: str
    ) -> Interaction:
        """Let a user type into an option that the bot completes; see the answer's `choices`.

        Raises:
            PersonError: when the option is not there or is not completed.
        """
        first, *path = name.split()
        command = find_command(self.commands_in(channel), first)
        known = {each["name"]: each for each in find_options(command, path)}
        if not known.get(option, {}).get("autocomplete"):
            msg = f"/{name} completes no option {option!r}"
            raise PersonError(msg)
        focused = {
            "name": option,
            "type": known[option]["type"],
            "value": typed,
            "focused": True,
        }
        data = fill({**command, "options": []}, [], {}) | {"options": [focused]}
        return self.world.interact(InteractionKind.AUTOCOMPLETE, user, channel, data)

    async def message_command(self, user: User, message: Message, name: str) -> Interaction:
        """Let a user choose a command from a message's menu.

        Raises:
            PersonError: when the command is not there.
        """
        command = find_command(self.commands_in(message.channel), name, MESSAGE_MENU)
        data = {
            "id": command["id"],
            "name": name,
            "type": MESSAGE_MENU,
            "target_id": str(message.id),
        }
        return self.world.interact(InteractionKind.COMMAND, user, message.channel, data)

    async def press(self, user: User, message: Message, custom_id: str) -> Interaction:
        """Let a user press a button of a message.

        Raises:
            PersonError: when there is no such button for them, or it is greyed out.
        """
        if message.deleted or message.visible_to not in {None, user}:
            msg = f"{user.name} cannot see that message"
            raise PersonError(msg)
        button = next((each for each in message.buttons if each.custom_id == custom_id), None)
        if button is None:
            there = ", ".join(each.label for each in message.buttons) or "none"
            msg = f"the message has no button {custom_id!r}; it has: {there}"
            raise PersonError(msg)
        if button.disabled:
            msg = f"the button {button.label!r} is greyed out"
            raise PersonError(msg)
        data = {"component_type": 2, "custom_id": custom_id}
        return self.world.interact(InteractionKind.COMPONENT, user, message.channel, data, message)

    async def submit(self, form: Interaction, values: Mapping[str, str]) -> Interaction:
        """Let a user fill in and send the form that answered `form`.

        Args:
            form: The interaction whose `modal` was opened.
            values: Text for each `custom_id` of the form.

        Raises:
            PersonError: when no form was opened.
        """
        if form.modal is None:
            msg = "the bot opened no form"
            raise PersonError(msg)
        rows = [_filled_in(row, values) for row in form.modal["components"]]
        data = {"custom_id": form.modal["custom_id"], "components": rows}
        return self.world.interact(
            InteractionKind.MODAL, form.user, form.channel, data, form.message, opened_by=form
        )


def _filled_in(part: Json, values: Mapping[str, str]) -> Json:
    filled: Json = {"type": part["type"], "id": part.get("id", 1)}
    if "custom_id" in part:
        filled |= {"custom_id": part["custom_id"], "value": values.get(part["custom_id"], "")}
    if "components" in part:
        filled["components"] = [_filled_in(inside, values) for inside in part["components"]]
    if "component" in part:
        filled["component"] = _filled_in(part["component"], values)
    return filled

"""What people do in the sandbox; knows no HTTP and nothing of how a bot is connected."""

from collections.abc import Mapping, Sequence

from sandbox.commands import MESSAGE_MENU
from sandbox.model import (
    Attachment,
    Channel,
    Draft,
    Interaction,
    InteractionKind,
    Json,
    Message,
    User,
)
from sandbox.rights import May
from sandbox.rules import CONTENT_CHARS, Upload, pings
from sandbox.scene import Scene
from sandbox.slash import PersonError, available, fill, find_command, find_options


class People(Scene):
    """Alice, who owns the server, Bob, and whoever joins; each can also write to the bot alone."""

    def open_channel(self, name: str) -> Channel:
        """Open one more text channel, in which everybody may write."""
        return self.world.open_channel(name)

    def delete_channel(self, channel: Channel) -> None:
        """Let the owner delete a channel of the server, with all that was said in it."""
        self.world.delete_channel(channel)

    def deny_bot(self, channel: Channel, denied: May) -> None:
        """Let the owner set what our bot may not do in a channel, in place of what it was."""
        self.world.deny_bot(channel, denied)

    def kick_bot(self) -> None:
        """Let the owner remove our bot from the server."""
        self.world.remove_bot()

    def block_bot(self, user: User) -> None:
        """Let a person take no more direct messages from our bot."""
        self.world.rights.blocked_by.add(user)

    def join(self, name: str) -> User:
        """Let one more person without special rights join the server."""
        return self.world.join(name)

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

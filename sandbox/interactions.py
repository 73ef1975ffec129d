"""What a bot answers to commands, buttons and forms: callbacks, @original, follow-ups.

It knows the rules of time (3 s to answer, 15 min for the token) and no socket. Source:
discord.com/developers/docs, "Receiving and Responding to Interactions".
"""

from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum

from sandbox.calls import Call, Route
from sandbox.errors import DiscordError, Refusal, invalid_form
from sandbox.model import (
    Draft,
    Flags,
    Interaction,
    InteractionKind,
    Json,
    Message,
    MessageKind,
)
from sandbox.payloads import View
from sandbox.rules import SETTABLE, Setting, read_draft
from sandbox.world import World

ANSWER_WITHIN_S = 3.0
TOKEN_LIVES_S = 15 * 60.0

_WEBHOOK = "/webhooks/{webhook_id}/{webhook_token}"


class Callback(IntEnum):
    """Discord's interaction callback types."""

    PONG = 1
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    AUTOCOMPLETE = 8
    MODAL = 9


SHOWN_AT_ONCE = {Callback.MESSAGE, Callback.UPDATE}


class Interactions:
    """The handlers, over one world as our bot sees it."""

    def __init__(self, world: World, view: Callable[[], View]) -> None:
        self._world = world
        self._view = view

    def routes(self) -> list[Route]:
        """List what is served; the interaction's token is the only key that is asked for."""
        callback = "/interactions/{interaction_id}/{interaction_token}/callback"
        message = f"{_WEBHOOK}/messages/{{message_id}}"
        original = f"{_WEBHOOK}/messages/@original"
        return [
            Route("POST", callback, self.answer, open=True),
            Route("POST", _WEBHOOK, self.follow_up, open=True),
            Route("GET", original, self.get_message, open=True),
            Route("PATCH", original, self.edit_message, open=True),
            Route("DELETE", original, self.delete_message, open=True),
            Route("GET", message, self.get_message, open=True),
            Route("PATCH", message, self.edit_message, open=True),
            Route("DELETE", message, self.delete_message, open=True),
        ]

    def answer(self, call: Call) -> Json | None:
        """Take the one answer to an interaction, within 3 s of it."""
        interaction = self._world.interactions.get(call.params["interaction_token"])
        if interaction is None or interaction.id != call.snowflake("interaction_id"):
            raise DiscordError(Refusal.UNKNOWN_INTERACTION)
        if interaction.answered:
            raise DiscordError(Refusal.ALREADY_ANSWERED)
        if self._world.clock() - interaction.created_s > ANSWER_WITHIN_S:
            raise DiscordError(Refusal.UNKNOWN_INTERACTION)
        body = call.json()
        kind = _callback(body, interaction)
        self._apply(kind, interaction, body.get("data") or {}, call)
        interaction.answer_kind = int(kind)
        self._world.wake()
        if call.query.get("with_response") in {"1", "true"}:
            return _callback_response(self._view(), interaction, kind)
        return None

    def _apply(self, kind: Callback, interaction: Interaction, data: Json, call: Call) -> None:
        match kind:
            case Callback.MESSAGE:
                interaction.original = self._post(interaction, data, call)
            case Callback.DEFERRED_MESSAGE:
                wanted = Flags(data.get("flags") or 0) & Flags.EPHEMERAL
                draft = Draft(flags=Flags.LOADING | wanted)
                interaction.original = self._put(interaction, draft)
            case Callback.UPDATE if interaction.message is not None:
                self._edit(interaction.message, data, call)
                interaction.original = interaction.message
            case Callback.DEFERRED_UPDATE:
                interaction.original = interaction.message
            case Callback.AUTOCOMPLETE:
                interaction.choices = data.get("choices") or []
            case Callback.MODAL:
                interaction.modal = data
            case _:
                raise _bad_type(kind)

    def _post(self, interaction: Interaction, body: Json, call: Call) -> Message:
        setting = Setting(
            self._world.new_id, by_default=["users"], settable=SETTABLE | Flags.EPHEMERAL
        )
        return self._put(interaction, read_draft(body, call.files, setting))

    def _put(
        self, interaction: Interaction, draft: Draft, reference: Message | None = None
    ) -> Message:
        return self._world.post(
            self._world.bot,
            interaction.channel,
            draft,
            reference=reference or interaction.message,
            interaction=interaction,
            webhook_id=self._world.bot.id,
            visible_to=interaction.user if Flags.EPHEMERAL in draft.flags else None,
            kind=None if reference else _kind_of_answer(interaction),
        )

    def _edit(self, message: Message, body: Json, call: Call) -> None:
        setting = Setting(self._world.new_id, before=message.draft, by_default=["users"])
        draft = read_draft(body, call.files, setting)
        self._world.edit(message, replace(draft, flags=draft.flags & ~Flags.LOADING))

    def follow_up(self, call: Call) -> Json | None:
        """Post a further message; the first one after a deferred answer becomes that answer."""
        interaction = self._by_token(call)
        if not interaction.answered:
            raise DiscordError(Refusal.UNKNOWN_WEBHOOK)
        if interaction.deferred and interaction.original is not None:
            message = interaction.original
            self._edit(message, call.json(), call)
        else:
            setting = Setting(
                self._world.new_id, by_default=["users"], settable=SETTABLE | Flags.EPHEMERAL
            )
            draft = read_draft(call.json(), call.files, setting)
            message = self._put(interaction, draft, reference=interaction.original)
            interaction.followups.append(message)
        # Discord answers a webhook of an application with the message, asked to `wait` or not.
        return self._view().message(message)

    def get_message(self, call: Call) -> Json:
        """Return the answer or a follow-up."""
        return self._view().message(self._message(call))

    def edit_message(self, call: Call) -> Json:
        """Change the fields that the body names."""
        message = self._message(call)
        self._edit(message, call.json(), call)
        return self._view().message(message)

    def delete_message(self, call: Call) -> None:
        """Delete the answer or a follow-up."""
        self._world.delete(self._message(call))

    def _by_token(self, call: Call) -> Interaction:
        interaction = self._world.interactions.get(call.params["webhook_token"])
        if interaction is None or call.snowflake("webhook_id") != self._world.bot.id:
            raise DiscordError(Refusal.UNKNOWN_WEBHOOK)
        if self._world.clock() - interaction.created_s > TOKEN_LIVES_S:
            raise DiscordError(Refusal.INVALID_WEBHOOK_TOKEN)
        return interaction

    def _message(self, call: Call) -> Message:
        interaction = self._by_token(call)
        if not interaction.answered:
            raise DiscordError(Refusal.UNKNOWN_WEBHOOK)
        mine = interaction.followups
        if "message_id" not in call.params:
            wanted = interaction.original
        else:
            wanted_id = call.snowflake("message_id")
            mine = [*mine, interaction.original] if interaction.original else mine
            wanted = next((message for message in mine if message.id == wanted_id), None)
        if wanted is None or wanted.deleted:
            raise DiscordError(Refusal.UNKNOWN_MESSAGE)
        return wanted


def _callback(body: Json, interaction: Interaction) -> Callback:
    """Read the callback type, which must suit what is answered."""
    number = body.get("type")
    if number not in set(Callback):
        raise _bad_type(number)
    kind = Callback(number)
    updates = kind in {Callback.DEFERRED_UPDATE, Callback.UPDATE}
    completes = kind is Callback.AUTOCOMPLETE
    if updates and interaction.message is None:
        raise _bad_type(number)
    if completes != (interaction.kind is InteractionKind.AUTOCOMPLETE):
        raise _bad_type(number)
    return kind


def _callback_response(view: View, interaction: Interaction, kind: Callback) -> Json:
    """Make an InteractionCallbackResponse; a deferred answer has no message in it yet."""
    about: Json = {"id": str(interaction.id), "type": int(interaction.kind)}
    original = interaction.original
    if original is None:
        return {"interaction": about}
    about |= {
        "response_message_id": str(original.id),
        "response_message_loading": Flags.LOADING in original.flags,
        "response_message_ephemeral": Flags.EPHEMERAL in original.flags,
    }
    if kind not in SHOWN_AT_ONCE:
        return {"interaction": about}
    resource = {"type": int(kind), "message": view.message(original)}
    return {"interaction": about, "resource": resource}


def _kind_of_answer(interaction: Interaction) -> MessageKind | None:
    """Tell the message type of an answer; None leaves it to the message's reference."""
    if interaction.kind is not InteractionKind.COMMAND:
        return None
    by_menu = "target_id" in interaction.data
    return MessageKind.CONTEXT_MENU_COMMAND if by_menu else MessageKind.CHAT_INPUT_COMMAND


def _bad_type(number: object) -> DiscordError:
    return invalid_form("type", "BASE_TYPE_CHOICES", f"Value {number} cannot answer this.")

"""Discord's REST as a judge: it takes and keeps whatever the bot sends, and sees that it may be."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

from discord.http import Route
from discord.utils import _from_json, _to_json

from tests.bot.label_cases import markup_in, undo, units
from wire.jobs import Usage
from wire.label import WORDINGS
from wire.provenance import Mark, Provenance

Json = dict[str, Any]

BOT_ID, ASKER_ID, OTHER_ID = 1, 2, 3
GUILD_ID, CHANNEL_ID, ROLE_ID = 10, 11, 12
MODEL = "124M"
MAX_UNITS = 2000
LABELLED = re.compile(
    "|".join(
        re.escape(f"-# {each}").replace(r"\{model\}", r"GPT-2(?: [^\n]+?)?") + r"(?:\n|$)"
        for each in WORDINGS.values()
    )
)
"""A whole label in any language is the first line."""
SENTENCES = (
    *("⚠️", "⏳", "-# ⏳", "-# ⏹", "Only the person who asked", "**Model** GPT-2 `"),
    *("This bot wrote it", "No sign that this bot wrote it", "Too short to tell"),
)
"""How everything begins that the bot says itself."""
NO_PINGS: Json = {"parse": []}
USAGE = Usage(prompt_tokens=1, completion_tokens=2, queue_ms=3, first_token_ms=4, total_ms=5)
PROVENANCE = Provenance(
    weights="0123456789abcdef",
    version="1.2.3",
    device="cpu",
    precision="float32",
    mark=Mark.MARKED,
    key="01234567",
)
USER: Json = {"username": "x", "discriminator": "0", "avatar": None, "global_name": None}
BOT_USER: Json = {**USER, "id": str(BOT_ID), "username": "Ovid", "bot": True}
APPLICATION: Json = {
    "id": str(BOT_ID),
    "name": "Ovid",
    "icon": None,
    "description": "",
    "owner": {**USER, "id": "3"},
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "flags": 0,
}
GUILD: Json = {
    "id": str(GUILD_ID),
    "name": "Tomis",
    "owner_id": str(OTHER_ID),
    "unavailable": False,
    "preferred_locale": "de",
    "roles": [
        {"id": str(each), "name": f"role {each}", "permissions": "0", "position": 0, "color": 0}
        for each in (GUILD_ID, ROLE_ID)
    ],
    "channels": [{"id": str(CHANNEL_ID), "type": 0, "name": "general", "position": 0}],
}


class Discord:
    """What stands in the channels by now, made by what the bot sent. Takes the place of REST."""

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        """Contents of the bot's messages by id; `@original` with an interaction's token before."""
        self.wrong: list[str] = []
        """What may not be sent, and was."""
        self.acknowledged = 0
        """Interactions that got a first answer."""
        self._ids = itertools.count(10**6)
        self._asked: dict[str, str] = {}
        self._posted: dict[str, str] = {}

    @property
    def answers(self) -> dict[str, str]:
        """Return what is said by now to each message that asked, by its id."""
        return {self._asked[key]: said for key, said in self.shown.items() if key in self._asked}

    def clear(self) -> None:
        """Forget what was sent."""
        self.shown.clear()
        self._asked.clear()
        self._posted.clear()
        self.wrong.clear()
        self.acknowledged = 0

    async def rest(self, route: Route, **sent: Any) -> Any:
        """Answer a request of the bot."""
        return self._answer(route, sent.get("json"))

    async def webhook(self, route: Route, *_: Any, payload: Json | None = None, **__: Any) -> Any:
        """Answer a request that an interaction's token allows."""
        return self._answer(route, payload)

    def _answer(self, route: Route, sent: Json | None) -> Any:
        body = None if sent is None else _from_json(_to_json(sent))
        *_, last = route.url.split("?")[0].split("/")
        if last == "callback" and body is not None:
            self.acknowledged += 1
            if body["type"] == 4:
                self._say(f"private {next(self._ids)}", body["data"])
            return {"interaction": {"id": "1", "type": 2}}
        if last == "@me":
            return APPLICATION if "applications" in route.path else BOT_USER
        if last == "typing" or body is None or isinstance(body, list):
            return []
        if route.method == "DELETE":
            del self.shown[last]
            return None
        message_id = str(next(self._ids)) if route.method == "POST" else last
        if "nonce" in body:
            earlier_id = self._posted.setdefault(body["nonce"], message_id)
            if earlier_id != message_id:
                return message(earlier_id, content=self.shown[earlier_id])
        if "message_reference" in body:
            self._asked[message_id] = str(body["message_reference"]["message_id"])
        key = f"{route.webhook_token} {last}" if last == "@original" else message_id
        if "content" in body:
            self._say(key, body)
        shown = {name: body[name] for name in ("content", "components") if name in body}
        return message(message_id if message_id.isdigit() else "999", **shown)

    def _say(self, key: str, body: Json) -> None:
        self.wrong += (f"{what}: {body!a}" for what in _wrong_in(body))
        self.shown[key] = body["content"]


def _wrong_in(body: Json) -> Iterator[str]:
    content, pings = body["content"], body.get("allowed_mentions")
    if not content.strip() or content.encode(errors="ignore").decode() != content:
        yield "Discord takes no empty message, and no halves of characters"
    if units(content.encode(errors="replace").decode()) > MAX_UNITS:
        yield f"Discord takes at most {MAX_UNITS} units"
    if pings not in (NO_PINGS, NO_PINGS | {"replied_user": False}):
        yield "it could ping"
    if not LABELLED.match(content) and not content.startswith(SENTENCES):
        yield "it is neither labelled nor a sentence of the bot's own"


def message(message_id: str, **fields: Any) -> Json:
    """Make a message of the bot, by its id; `fields` say what is different about it."""
    return {
        "id": message_id,
        "channel_id": str(CHANNEL_ID),
        "type": 0,
        "author": BOT_USER,
        "content": "",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "pinned": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "components": [],
        **fields,
    }


def check_reply(contents: list[str], text: str) -> None:
    """See that messages are labelled, and their words exactly the text, all of it inert."""
    written = []
    for content in contents:
        label = LABELLED.match(content)
        assert label, ascii(content)
        lines = content[label.end() :].split("\n")
        # No line of a text can begin like these, which quote who asked for it.
        while lines[0].startswith(("-# ", "> ")) or lines[0] == ">":
            del lines[0]
        body = "\n".join(lines)
        assert not (found := markup_in(body)), ascii(found)
        written.append(undo(body))
    assert "".join(written) == text

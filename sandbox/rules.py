"""What Discord accepts in a message body, and whom it would ping; knows no HTTP and no state.

Sources: discord.com/developers/docs, "Create Message", "Embed limits", "Component reference",
"Allowed mentions object".
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sandbox.errors import DiscordError, Refusal, invalid_form
from sandbox.model import EVERYONE, Attachment, Draft, Flags, Json, walk_components

CONTENT_CHARS = 2000
COMPONENTS = 40
ROWS = 5
ROW_BUTTONS = 5
CUSTOM_ID_CHARS = 100
LABEL_CHARS = 80
EMBEDS = 10
EMBED_TOTAL_CHARS = 6000
EMBED_FIELDS = 25
ATTACHMENTS = 10
ATTACHMENT_BYTES = 10 * 1024 * 1024

SETTABLE = Flags.SUPPRESS_EMBEDS | Flags.SUPPRESS_NOTIFICATIONS | Flags.COMPONENTS_V2
"""The flags that a bot may set on any message; EPHEMERAL only answers to interactions have."""

_USER_MENTION = re.compile(r"<@!?(\d+)>")
_ROLE_MENTION = re.compile(r"<@&(\d+)>")
_EVERYONE_MENTION = re.compile(r"@(everyone|here)\b")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a multipart body."""

    filename: str
    content_type: str
    data: bytes


def check_content(content: object) -> str:
    """Return the text of a body's `content`, None being no text.

    Raises:
        DiscordError: 50035 when it is no text or longer than 2000 characters.
    """
    if content is None:
        return ""
    if not isinstance(content, str):
        raise invalid_form("content", "STRING_TYPE_CONVERT", "Could not interpret as string.")
    # Discord trims messages, so leading and trailing white space never counts or shows.
    content = content.strip()
    _check_chars("content", content, CONTENT_CHARS)
    return content


def _check_chars(path: str, text: object, limit: int) -> int:
    if text is None:
        return 0
    if not isinstance(text, str):
        raise invalid_form(path, "STRING_TYPE_CONVERT", "Could not interpret as string.")
    if len(text) > limit:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")
    return len(text)


def _check_count(path: str, items: Collection[object], limit: int) -> None:
    if len(items) > limit:
        raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {limit} or fewer in length.")


def check_embeds(embeds: list[Json] | None) -> list[Json]:
    """Return the embeds as Discord would show them.

    Raises:
        DiscordError: 50035 naming the first embed, field or sum that is too long.
    """
    embeds = embeds or []
    _check_count("embeds", embeds, EMBEDS)
    chars = 0
    for at, embed in enumerate(embeds):
        fields = embed.get("fields") or []
        _check_count(f"embeds.{at}.fields", fields, EMBED_FIELDS)
        chars += _check_chars(f"embeds.{at}.title", embed.get("title"), 256)
        chars += _check_chars(f"embeds.{at}.description", embed.get("description"), 4096)
        footer = embed.get("footer") or {}
        chars += _check_chars(f"embeds.{at}.footer.text", footer.get("text"), 2048)
        for number, part in enumerate(fields):
            path = f"embeds.{at}.fields.{number}"
            chars += _check_chars(f"{path}.name", part.get("name"), 256)
            chars += _check_chars(f"{path}.value", part.get("value"), 1024)
    if chars > EMBED_TOTAL_CHARS:
        message = f"Embed size exceeds maximum size of {EMBED_TOTAL_CHARS}"
        raise invalid_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", message)
    return [{"type": "rich", **_without_nulls(embed)} for embed in embeds]


def check_components(components: list[Json] | None) -> list[Json]:
    """Return the components, each with an id, as Discord keeps them.

    Raises:
        DiscordError: 50035 for too many, an empty row, a bad label, or a custom_id that is
            missing, too long or used twice.
    """
    components = components or []
    parts = walk_components(components)
    _check_count("components", parts, COMPONENTS)
    rows = [part for part in components if part.get("type") == 1]
    _check_count("components", rows, ROWS)
    for at, row in enumerate(rows):
        inside = row.get("components") or []
        if not 1 <= len(inside) <= ROW_BUTTONS:
            message = f"Must be between 1 and {ROW_BUTTONS} in length."
            raise invalid_form(f"components.{at}.components", "BASE_TYPE_BAD_LENGTH", message)
    used: set[str] = set()
    for part in parts:
        _check_component(part, used)
    numbers = iter(range(1, len(parts) + 1))
    return [_numbered(part, numbers) for part in components]


def _check_component(part: Json, used: set[str]) -> None:
    _check_chars("components.label", part.get("label"), LABEL_CHARS)
    custom_id = part.get("custom_id")
    needs_id = part.get("type") in {3, 5, 6, 7, 8} or (
        part.get("type") == 2 and part.get("style") not in {5, 6}
    )
    if needs_id and not custom_id:
        raise invalid_form("components.custom_id", "BASE_TYPE_REQUIRED", "This field is required")
    _check_chars("components.custom_id", custom_id, CUSTOM_ID_CHARS)
    if custom_id in used:
        message = "Component custom id cannot be duplicated"
        raise invalid_form("components.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", message)
    if custom_id:
        used.add(custom_id)


def _numbered(part: Json, numbers: Iterator[int]) -> Json:
    kept = _without_nulls(part)
    kept["id"] = kept.get("id") or next(numbers)
    if "components" in kept:
        kept["components"] = [_numbered(inside, numbers) for inside in kept["components"]]
    return kept


def _without_nulls(part: Json) -> Json:
    return {key: value for key, value in part.items() if value is not None}


def pings(
    content: str, allowed: Json | None, replied_to: int | None, *, by_default: Collection[str]
) -> set[int | str]:
    """Tell whom a message pings: ids of users and roles, and EVERYONE.

    Mentions inside code count too, so the answer errs on the side of a ping.

    Args:
        content: The text.
        allowed: The body's `allowed_mentions`; None where it was left out.
        replied_to: The author of the message that is replied to.
        by_default: What is parsed where `allowed` is None: `users`, `roles`, `everyone`.

    >>> sorted(pings("<@5> <@&7>", None, 9, by_default=["users"]))
    [5, 9]
    >>> pings("<@5> @everyone", {"parse": []}, 9, by_default=["users"])
    set()
    >>> pings("<@5> <@6>", {"users": ["6"]}, 9, by_default=["users"])
    {6}

    Raises:
        DiscordError: 50035 when `allowed` both parses users (or roles) and lists some.
    """
    if allowed is None:
        allowed = {"parse": list(by_default), "replied_user": True}
    parse = allowed.get("parse") or []
    found: set[int | str] = set()
    for kind, pattern in (("users", _USER_MENTION), ("roles", _ROLE_MENTION)):
        listed = {int(each) for each in allowed.get(kind) or []}
        if kind in parse and listed:
            message = f"{kind}:[] and parse: [{kind}] are mutually exclusive."
            path = f"allowed_mentions.{kind}"
            raise invalid_form(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)
        named = {int(each) for each in pattern.findall(content)}
        found |= named if kind in parse else named & listed
    if "everyone" in parse and _EVERYONE_MENTION.search(content):
        found.add(EVERYONE)
    if allowed.get("replied_user") and replied_to is not None:
        found.add(replied_to)
    return found


@dataclass(frozen=True, slots=True)
class Setting:
    """What a body is checked against: where it is used, and what was there before."""

    new_id: Callable[[], int]
    before: Draft = field(default_factory=Draft)
    replied_to: int | None = None
    by_default: Collection[str] = ("users", "roles", "everyone")
    settable: Flags = SETTABLE


def read_draft(body: Json, files: Mapping[int, Upload], setting: Setting) -> Draft:
    """Turn a request's body into a checked draft; fields that are left out stay as before.

    Raises:
        DiscordError: 50035 for a field that breaks a limit, 50006 for a message without any
            content, 40005 for a file over 10 MiB.
    """
    before = setting.before
    draft = replace(before, attachments=_attachments(body, files, setting))
    if "content" in body:
        draft.content = check_content(body["content"])
        draft.pings = pings(
            draft.content,
            body.get("allowed_mentions"),
            setting.replied_to,
            by_default=setting.by_default,
        )
    if "embeds" in body:
        draft.embeds = check_embeds(body["embeds"])
    if "components" in body:
        draft.components = check_components(body["components"])
    if body.get("flags") is not None:
        wanted = Flags(int(body["flags"])) & setting.settable
        draft.flags = (before.flags & ~setting.settable) | wanted
    _refuse_empty(draft)
    return draft


def _refuse_empty(draft: Draft) -> None:
    if Flags.COMPONENTS_V2 in draft.flags:
        if draft.content or draft.embeds:
            message = "The 'content' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            raise invalid_form("content", "MESSAGE_CANNOT_USE_LEGACY_FIELDS", message)
        shown = bool(draft.components)
    else:
        shown = bool(draft.content or draft.embeds or draft.attachments or draft.components)
    if not shown:
        raise DiscordError(Refusal.EMPTY_MESSAGE)


def _attachments(body: Json, files: Mapping[int, Upload], setting: Setting) -> list[Attachment]:
    listed: list[Json] | None = body.get("attachments")
    described = {str(each["id"]): each for each in listed or []}
    kept = [
        each for each in setting.before.attachments if listed is None or str(each.id) in described
    ]
    for number, upload in sorted(files.items()):
        if len(upload.data) > ATTACHMENT_BYTES:
            raise DiscordError(Refusal.TOO_LARGE)
        about = described.get(str(number), {})
        kept.append(
            Attachment(
                id=setting.new_id(),
                filename=about.get("filename") or upload.filename,
                content_type=upload.content_type,
                data=upload.data,
                description=about.get("description"),
            )
        )
    _check_count("attachments", kept, ATTACHMENTS)
    return kept

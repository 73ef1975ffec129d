"""Owns how a record reaches the disk, and how lists of records are paged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel

from engine.http_api.errors import ApiError

DEFAULT_PAGE = 20
LONGEST_PAGE = 10_000


class Listed(Protocol):
    """What stands in a list."""

    @property
    def id(self) -> str:
        """Return its name."""
        ...


Item = TypeVar("Item", bound=Listed)


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record so that a reader sees either the old one or the new one, whole."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(record.model_dump_json(), encoding="utf-8")
    unfinished.replace(path)


def page(request: web.Request, items: Sequence[Item], *, default: int) -> tuple[list[Item], bool]:
    """Return the part of a list that a query asks for (`after`, `limit`), and whether more follow.

    Raises:
        ApiError: `limit` is no number in its bounds, or `after` is not in the list.
    """
    asked = request.query.get("limit", str(default))
    limit = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0
    if not 1 <= limit <= LONGEST_PAGE:
        msg = f"limit must be a whole number from 1 to {LONGEST_PAGE}, not {asked[:20]!r}."
        raise ApiError(400, msg, param="limit")
    after = request.query.get("after")
    start = 0
    if after is not None:
        place = next((place for place, item in enumerate(items) if item.id == after), None)
        if place is None:
            msg = f"after names {after[:80]!r}, which is not in the list."
            raise ApiError(400, msg, param="after")
        start = place + 1
    chosen = list(items[start : start + limit])
    return chosen, start + limit < len(items)


def as_list(items: Sequence[dict[str, Any]], *, has_more: bool) -> web.Response:
    """Return OpenAI's answer for a list."""
    answer: dict[str, Any] = {"object": "list", "data": list(items), "has_more": has_more}
    if items:
        answer |= {"first_id": items[0]["id"], "last_id": items[-1]["id"]}
    return web.json_response(answer)

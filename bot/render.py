"""Model text in, message contents out: labelled, inert, each within Discord's limit. Pure.

Knows neither jobs nor Discord's API. A part is `label`, then on the first part whatever introduces
the reply, then the text. A text that grows never changes the parts before its last one: a cut is
chosen from what fits into the part alone, and the running mark's room is always kept free.
"""

from bot.inert import count_units, inert_pieces

MAX_UNITS = 2000
"""Discord's limit for a message. Counted in UTF-16 code units, which are never fewer than
characters, so the limit holds whichever of the two is meant."""
RUNNING_MARK = " ▌"
MIN_ROOM_UNITS = 400
"""What introduction and label must leave for the text of a part."""


def render(
    text: str,
    label: str,
    *,
    introduction: str = "",
    notice: str = "",
    is_running: bool = False,
) -> tuple[str, ...]:
    r"""Lay out model text as the contents of one or more messages.

    Args:
        text: What the model wrote, untouched. It is made inert here.
        label: The line each part begins with.
        introduction: Goes between the label and the text of the first part. Must be inert.
        notice: The bot's own last line. Must be inert. Where it does not fit, it gets a part.
        is_running: Whether more text may come: the last part then ends with a mark.

    Raises:
        ValueError: Label and introduction leave less than `MIN_ROOM_UNITS`.

    >>> render("Once", "-# label", is_running=True)
    ('-# label\nOnce ▌',)
    """
    head = f"{label}\n"
    first_head = f"{head}{introduction}\n" if introduction else head
    bodies = _split(text, _room(first_head), _room(head))
    parts = [first_head + bodies[0], *(head + body for body in bodies[1:])]
    if is_running:
        parts[-1] += RUNNING_MARK
    if notice:
        joint = "" if parts[-1].endswith("\n") else "\n"
        with_notice = parts[-1] + joint + notice
        if count_units(with_notice) <= MAX_UNITS:
            parts[-1] = with_notice
        else:
            parts.append(head + notice)
    return tuple(parts)


def _room(head: str) -> int:
    room = MAX_UNITS - count_units(head) - count_units(RUNNING_MARK)
    if room < MIN_ROOM_UNITS:
        msg = (
            f"label and introduction leave {room} units for text, at least {MIN_ROOM_UNITS} needed"
        )
        raise ValueError(msg)
    return room


def _split(text: str, first_room: int, room: int) -> list[str]:
    body, start = _fill(text, 0, first_room)
    bodies = [body]
    while start < len(text):
        body, start = _fill(text, start, room)
        bodies.append(body)
    return bodies


def _fill(text: str, start: int, room: int) -> tuple[str, int]:
    """Escape as much of `text[start:]` as fits, and say where it ends.

    The cut is after the last empty line in the second half of the room; else after the last line
    there; else after the last white space there; else between two characters as people see them.
    """
    pieces: list[str] = []
    used, position = 0, start
    cuts: dict[str, tuple[int, int]] = {}
    for piece, end in inert_pieces(text, start):
        used += count_units(piece)
        if used > room:
            break
        pieces.append(piece)
        position = end
        if used >= room // 2:
            cuts[_kind_of_cut(text, start, end)] = (len(pieces), end)
    else:
        return "".join(pieces), len(text)
    best = next((cuts[kind] for kind in ("paragraph", "line", "word") if kind in cuts), None)
    num_pieces, cut = best or (len(pieces), position)
    return "".join(pieces[:num_pieces]), cut


def _kind_of_cut(text: str, start: int, end: int) -> str:
    if text[end - 1] == "\n":
        return "paragraph" if end - 1 > start and text[end - 2] == "\n" else "line"
    return "word" if text[end - 1].isspace() else "character"

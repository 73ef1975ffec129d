"""The door of buttons: any `custom_id`, most of them nearly one of ours, to a press's answer."""

from typing import Any

from hypothesis import strategies as st

from bot.button import details_button
from tests.fuzz.discord_cut import CutBot, at_cut_bot
from tests.fuzz.door import UNHURRIED, Door
from tests.fuzz.interactions import COMPONENT, interaction
from tests.fuzz.json_cases import ANY_TEXT
from tests.fuzz.played_discord import MODEL, PROVENANCE, USAGE, message
from tests.wire.support import make_job
from wire.details import Details
from wire.jobs import FinishReason, SamplingParams

MAX_ID_CHARS = 100
BUTTON = 2
DETAILS = Details(
    model=MODEL,
    provenance=PROVENANCE,
    usage=USAGE,
    params=SamplingParams(seed=7),
    finish_reason=FinishReason.LENGTH,
)
RIGHT = (
    *("stop:m11.4:2", "stop:i11.4:2", "stop:p11.4:99", details_button(DETAILS).custom_id),
    *("stop:", "details:", "again:m11.4:2", "stop:v2:m11.4:2", ":", "x", "details", "STOP:m11.4:2"),
)

edits = st.lists(st.tuples(st.integers(0, MAX_ID_CHARS), st.integers(0, 3), ANY_TEXT), max_size=4)


def _edited(custom_id: str, edits: list[tuple[int, int, str]]) -> str:
    for place, num_lost, put_in in edits:
        at = place % (len(custom_id) + 1)
        custom_id = custom_id[:at] + put_in + custom_id[at + num_lost :]
    return custom_id[:MAX_ID_CHARS]


def _flipped(custom_id: str, bits: list[int]) -> str:
    data = bytearray(custom_id.encode())
    for bit in bits:
        if data:
            data[bit // 8 % len(data)] ^= 1 << bit % 8
    return data.decode(errors="replace")[:MAX_ID_CHARS]


near_misses = st.one_of(
    st.builds(_edited, st.sampled_from(RIGHT), edits),
    st.builds(_flipped, st.sampled_from(RIGHT), st.lists(st.integers(0, 800), max_size=4)),
)
anything = st.text(st.characters(), max_size=MAX_ID_CHARS)
CASES = st.tuples(st.one_of(near_misses, near_misses, near_misses, anything), st.booleans())


async def _try(bot: CutBot, case: tuple[str, bool]) -> None:
    await bot.begin()
    await bot.queue.submit(make_job("m11.4", bot_id="1"))
    custom_id, in_guild = case[0] or "x", case[1]
    data: dict[str, Any] = {"custom_id": custom_id, "component_type": BUTTON, "values": ["x"]}
    pressed = interaction(bot, COMPONENT, data, in_guild=in_guild)
    button = {"type": BUTTON, "custom_id": custom_id, "style": 2, "label": "x"}
    row = {"type": 1, "components": [button]}
    pressed["message"] = message("6", channel_id="11", components=[row])
    await bot.hear("interaction_create", pressed)
    bot.check_posts()
    bot.check_logs()
    assert bot.discord.acknowledged == 1, "Discord would say: this interaction failed"


ONCE_FAILED = (("again:m11.4:2", True), ("stop:", False), ("stop:v2:m11.4:2", True))
"""Buttons of other versions got no answer."""
DOOR = Door("buttons", CASES, at_cut_bot(_try), ONCE_FAILED)


@UNHURRIED
def test_whatever_a_button_names_its_press_is_answered():
    DOOR.try_cases()

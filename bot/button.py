"""A reply's button as plain data: what it says, and what pressing it names. Knows no Discord.

All that a press needs is in the `custom_id`, so buttons work after a restart and without Redis.
"""

from dataclasses import dataclass

from bot import replies
from bot.details_id import pack_details
from bot.details_words import DETAILS_BUTTON
from wire.details import Details


@dataclass(frozen=True, slots=True)
class Button:
    """A button as it is shown."""

    label: str
    custom_id: str
    """At most 100 characters."""


def stop_button(job_id: str, asker_id: int) -> Button:
    """Make the button that stops a reply.

    >>> stop_button("m1.3", 2)
    Button(label='Stop', custom_id='stop:m1.3:2')
    """
    return Button(replies.STOP_BUTTON, f"stop:{job_id}:{asker_id}")


def details_button(details: Details) -> Button:
    """Make the button that tells how a text was made."""
    return Button(DETAILS_BUTTON, pack_details(details))

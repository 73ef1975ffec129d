"""The base of everything that crosses the wire. Knows no message."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]

QUOTES_NOTHING = ConfigDict(hide_input_in_errors=True)
"""For what may hold a person's words: an error that is logged must not quote them."""


class Message(BaseModel):
    """The base of everything that crosses the wire: frozen and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, **QUOTES_NOTHING)

"""The base of everything that crosses the wire. Knows no message."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$")]


class Message(BaseModel):
    """The base of everything that crosses the wire: frozen and closed to unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # A logged error must not quote what a person wrote.
        hide_input_in_errors=True,
    )

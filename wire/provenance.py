"""What wrote a text: the part of its details that the engine knows. Knows no job."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wire.base import Message

WEIGHTS_DIGITS = 16
"""Of the SHA-256, as many as tell any two models apart."""

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class Mark(StrEnum):
    """Whether a text carries the watermark, and if not, why."""

    MARKED = "marked"
    OFF = "off"
    """OVID_WATERMARK=off, or this one text was wanted without."""
    GREEDY = "greedy"
    """Nothing is drawn at temperature 0, so there is nothing to mark."""


class Provenance(Message):
    """What wrote a text. With another value of any of these, the same seed may write another."""

    weights: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{WEIGHTS_DIGITS}}}$")]
    """The first digits of a SHA-256 over the model's tensors, whatever file format they are in."""
    version: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9.+\-]+$")]
    """Of Ovid."""
    device: Device
    precision: Precision
    """Of weights and arithmetic."""
    mark: Mark
    key: Fingerprint | None = None
    """Fingerprint of the key that marked the text; None: it is not marked."""

    @model_validator(mode="after")
    def _has_a_key_if_marked(self) -> Self:
        if (self.mark is Mark.MARKED) != (self.key is not None):
            msg = f"a text that is {self.mark} {'has no' if self.key else 'has a'} key"
            raise ValueError(msg)
        return self

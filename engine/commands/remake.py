"""Owns how a text is written again: its details read, taken as settings, held against what is here.

Knows no engine and no file.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from pydantic import BaseModel, SecretStr, ValidationError

from engine.errors import InvalidRequestError, ModelError
from engine.watermark import WatermarkKey
from wire.details import Details
from wire.jobs import explain
from wire.provenance import Mark, Provenance


class _Line(BaseModel):
    """What of a line of `sample --json` counts."""

    details: Details
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A text that is to be written again.

    Attributes:
        details: how it was made.
        prompt: what it continues; None where the details came without.
    """

    details: Details
    prompt: str | None

    @classmethod
    def parse(cls, text: str, origin: str) -> Self:
        """Read details as Discord's button shows them, or a line that `sample --json` wrote.

        Args:
            text: JSON.
            origin: where it comes from, for the error.

        Raises:
            InvalidRequestError: it is something else.
        """
        try:
            found = json.loads(text)
            is_whole = isinstance(found, dict) and "details" in found
            line = _Line.model_validate(found if is_whole else {"details": found})
        except ValidationError as error:
            reason = explain(error)
        except (ValueError, RecursionError) as error:
            reason = f"{error}."
        else:
            return cls(line.details, line.prompt)
        msg = f"{origin} holds no details of one text: {reason}"
        raise InvalidRequestError(msg)

    def settings(self) -> dict[str, Any]:
        """Return what `sample` has to be set to, but for model and key."""
        params = self.details.params
        names = ("temperature", "top_k", "top_p", "repetition_penalty", "seed", "stop")
        return {name: getattr(params, name) for name in names} | {"length": self.details.max_tokens}

    @property
    def model(self) -> str:
        """Return the name of the model that wrote the text.

        Raises:
            InvalidRequestError: the details hold only the beginning of it.
        """
        if self.details.is_model_cut:
            msg = (
                f"the details had no room for the model's name, {self.details.model}: give --model"
            )
            raise InvalidRequestError(msg)
        return self.details.model

    @property
    def is_marked(self) -> bool:
        """Return whether a key decided over the text."""
        return self.details.provenance.mark is Mark.MARKED

    def own_key(self, keys: tuple[WatermarkKey, ...]) -> dict[str, Any]:
        """Return the settings that mark with the text's own key, be it an old one.

        Args:
            keys: all that are here; where the text's is not among them, nothing is set.
        """
        wanted = self.details.provenance.key
        own = next((key for key in keys if key.fingerprint == wanted), None)
        return {"watermark_key": SecretStr(own.secret.hex())} if own else {}

    def check_weights(self, here: Provenance, model: str) -> None:
        """See that the model is the one that wrote the text.

        Raises:
            ModelError: it is another.
        """
        made = self.details.provenance
        if here.weights != made.weights:
            msg = (
                f"The model {model} has the weights {here.weights}, but {made.weights} of "
                f"{self.details.model} wrote the text: with others it would be another one. Give "
                f"its model with --model, or have another text with --force."
            )
            raise ModelError(msg)

    def differences(self, here: Provenance) -> Iterator[str]:
        """Yield, in a few words each, what may make the text another one here."""
        made = self.details.provenance
        for name, there, now in (
            ("weights", made.weights, here.weights),
            ("version", made.version, here.version),
            ("device", made.device, here.device),
            ("precision", made.precision, here.precision),
            ("watermark key", made.key or "none", here.key or "none"),
        ):
            if there != now:
                yield f"{name} {now} and not {there}"

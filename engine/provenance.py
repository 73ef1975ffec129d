"""Owns what all texts of one running model have in common: what wrote them. Knows no tensors."""

from dataclasses import dataclass

from wire.jobs import SamplingParams
from wire.provenance import Device, Mark, Precision, Provenance
from wire.version import VERSION


@dataclass(frozen=True, slots=True)
class Maker:
    """A model as it runs.

    Attributes:
        weights: the hash of its tensors.
        device: that it runs on.
        precision: of weights and arithmetic.
        key: fingerprint of the key that marks its texts; None: none does.
    """

    weights: str
    device: Device
    precision: Precision
    key: str | None

    def provenance(self, params: SamplingParams) -> Provenance:
        """Return what is to be said of a text that is written with some parameters."""
        mark = Mark.MARKED
        if self.key is None or not params.watermark:
            mark = Mark.OFF
        elif params.temperature == 0:
            mark = Mark.GREEDY
        return Provenance(
            weights=self.weights,
            version=VERSION,
            device=self.device,
            precision=self.precision,
            mark=mark,
            key=self.key if mark is Mark.MARKED else None,
        )

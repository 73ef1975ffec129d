"""Owns which texts are written and how many, for a whole run and for a quick one."""

from dataclasses import dataclass

from bench.watermark.writing import Manner

LENGTHS = (25, 50, 100, 200, 400)
"""Tokens of the texts that are looked at, each the beginning of the longest."""
DAMAGED_LENGTHS = (100, 200, 400)
TARGET_LENGTH = 200
CONTEXTS = (1, 2, 3, 4, 5)
TEMPERATURES = (1.0, 0.7, 0.5)
COOL_CONTEXTS = (2, 3, 4)

MARKED = Manner("marked", max(LENGTHS))
UNMARKED = Manner("unmarked", TARGET_LENGTH, marked=False)
VARIANTS = {
    (temperature, count): Manner(
        f"temperature-{temperature:g}",
        TARGET_LENGTH,
        temperature=temperature,
        context_tokens=count,
    )
    for temperature in TEMPERATURES
    for count in (CONTEXTS if temperature == 1 else COOL_CONTEXTS)
}
"""By temperature and h."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; every count of texts is a multiple of `ROWS`.

    Attributes:
        texts: of the demo model, marked and unmarked.
        variants: of the demo model, for each h, temperature and peer.
        random_texts: of the 124M shape.
        stride: tokens between the windows of human text; their lengths average 187.
        keys: fresh ones that each window is tried with.
        resamples: of each bootstrap.
        human_windows: of each length, for each scheme that is compared.
        rounds: of which the median time is taken.
    """

    texts: int
    variants: int
    random_texts: int
    stride: int
    keys: int
    resamples: int
    human_windows: int
    rounds: int


WHOLE = Plan(
    texts=768,
    variants=160,
    random_texts=32,
    stride=60,
    keys=2,
    resamples=4000,
    human_windows=1000,
    rounds=15,
)
QUICK = Plan(
    texts=64,
    variants=32,
    random_texts=0,
    stride=600,
    keys=1,
    resamples=400,
    human_windows=100,
    rounds=5,
)

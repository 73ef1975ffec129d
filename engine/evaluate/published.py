"""Owns what was published for the released models. Knows nothing of what we measure.

Source: Radford et al. 2019, table 3 (zero-shot) and, for Winograd, section 3.4, which gives the
largest model's figure in words. The paper calls the sizes 117M, 345M, 762M and 1542M.
"""

from collections.abc import Mapping

from engine.config import RELEASED_SHAPES, ModelConfig

SIZES = tuple(RELEASED_SHAPES)


def _row(*figures: float) -> Mapping[str, float]:
    return dict(zip(SIZES, figures, strict=True))


PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "lambada": {
        "accuracy_filtered": _row(45.99, 55.48, 60.12, 63.24),
        "perplexity": _row(35.13, 15.60, 10.87, 8.63),
    },
    "cbt-cn": {"accuracy": _row(87.65, 92.35, 93.45, 93.30)},
    "cbt-ne": {"accuracy": _row(83.4, 87.1, 88.0, 89.05)},
    "wikitext2": {"perplexity": _row(29.41, 22.76, 19.93, 18.34)},
    "wikitext103": {"perplexity": _row(37.50, 26.37, 22.05, 17.48)},
    "ptb": {"perplexity": _row(65.85, 47.33, 40.31, 35.76)},
    "enwik8": {"bits_per_byte": _row(1.16, 1.01, 0.97, 0.93)},
    "text8": {"bits_per_character": _row(1.17, 1.06, 1.02, 0.98)},
    "winograd": {"accuracy_partial": {"1558M": 70.70}},
}
"""By task and metric: the figure of each size."""


def released_size(config: ModelConfig) -> str | None:
    """Return which of the released models has this shape; None: none of them.

    >>> released_size(ModelConfig(n_layer=12, n_head=12, n_embd=768, n_vocab=50257))
    '124M'
    """
    return next((size for size, shape in RELEASED_SHAPES.items() if shape == config), None)


def comparable(task: str, metric: str, size: str | None) -> Mapping[str, float]:
    """Return the published figures to show beside a metric: of that size, or of all four."""
    figures = PUBLISHED[task].get(metric, {})
    return figures if size is None else {name: figures[name] for name in figures if name == size}

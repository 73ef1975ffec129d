"""Owns the pictures of the results, as docs/watermark.md shows them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.watermark.attacks import ATTACKS, INTACT, ONE_IN_FIVE
from bench.watermark.figures import Share
from bench.watermark.plan import DAMAGED_LENGTHS, LENGTHS
from bench.watermark.results import CONTEXT_CASES, Results

COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#5b5b7b")
DOTS_PER_INCH = 110
POINTS = 400
"""Of a line through many p-values: more cannot be seen."""


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every picture and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "watermark-length": _by_length(results),
        "watermark-damage": _by_damage(results),
        "watermark-human": _human(results),
        "watermark-context": _by_context(results),
    }
    paths = []
    for name, figure in pictures.items():
        path = folder / f"{name}.png"
        # Without the date, so that the same results are the same file.
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
        paths.append(path)
    return paths


def _by_length(results: Results) -> Figure:
    figure, axes = _canvas(2)
    for axis, attack, lengths in zip(
        axes, (INTACT, ONE_IN_FIVE), (LENGTHS, DAMAGED_LENGTHS), strict=True
    ):
        for name, colour in zip(results.compared, COLOURS, strict=False):
            shares = [results.compared[name][attack, length].surely for length in lengths]
            _line(axis, lengths, shares, name, colour)
        axis.set_xscale("log", base=2)
        axis.set_xticks(lengths, [str(length) for length in lengths])
        axis.set(xlabel="tokens", ylabel="found at p < 1e-6, %", ylim=(-3, 103), title=attack)
        axis.legend(frameon=False, loc="lower right")
    return figure


def _by_damage(results: Results) -> Figure:
    figure, (axis,) = _canvas(1, height=5.6)
    names = list(ATTACKS)[::-1]
    for row, (length, colour) in enumerate(zip(DAMAGED_LENGTHS, COLOURS, strict=False)):
        shares = [results.cases[name, length] for name in names]
        places = [place + 0.27 * (1 - row) for place in range(len(names))]
        axis.barh(
            places,
            _percent(shares),
            xerr=_errors(shares),
            height=0.25,
            color=colour,
            ecolor="#333333",
            label=f"{length} tokens",
        )
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="found at p < 1e-6, %", xlim=(0, 103))
    # Where there is room: beside the bars of what the mark does not survive.
    axis.legend(loc="center", bbox_to_anchor=(0.68, 0.69), ncols=3, framealpha=1)
    return figure


def _human(results: Results) -> Figure:
    figure, (axis,) = _canvas(1)
    measured = results.false_positives
    lowest = 1 / len(measured.told)
    axis.plot([lowest, 1], [lowest, 1], color="#999999", label="as it has to be", linewidth=1)
    for values, name, colour in (
        (measured.exact, "one subkey, no windows: exact", COLOURS[2]),
        (measured.told, "as people are told: too high", COLOURS[0]),
    ):
        ordered = np.sort(np.asarray(values))
        places = np.unique(np.geomspace(1, len(ordered), POINTS).astype(int))
        axis.plot(places / len(ordered), ordered[places - 1], ".", label=name, color=colour)
    axis.set(xscale="log", yscale="log", xlabel="share of human texts", ylabel="p-value at most")
    axis.set_title(f"{measured.windows} windows of human text, {len(measured.told)} trials")
    axis.legend(frameon=False)
    return figure


def _by_context(results: Results) -> Figure:
    figure, (axis,) = _canvas(1)
    counts = list(results.contexts)
    cases = [case for case in CONTEXT_CASES if case[0] != INTACT]
    for case, colour in zip([CONTEXT_CASES[0], *cases], COLOURS, strict=True):
        shares = [results.contexts[count].found[case] for count in counts]
        _line(axis, counts, shares, f"{case[1]} tokens, {case[0]}", colour)
    label = "h, tokens that key a draw"
    axis.set(xlabel=label, ylabel="found at p < 1e-6, %", xticks=counts, ylim=(-3, 103))
    axis.legend(frameon=False, fontsize="small", loc="lower left")
    return figure


def _canvas(columns: int, height: float = 3.8) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(7.5, height), layout="constrained")
    axes = [figure.add_subplot(1, columns, column + 1) for column in range(columns)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def _line(
    axis: Axes, places: Sequence[int], shares: Sequence[Share], name: str, colour: str
) -> None:
    errors = _errors(shares)
    axis.errorbar(
        places, _percent(shares), yerr=errors, label=name, color=colour, marker="o", capsize=2
    )


def _percent(shares: Sequence[Share]) -> list[float]:
    return [100 * share.value for share in shares]


def _errors(shares: Sequence[Share]) -> list[list[float]]:
    return [
        [100 * (share.value - share.low) for share in shares],
        [100 * (share.high - share.value) for share in shares],
    ]

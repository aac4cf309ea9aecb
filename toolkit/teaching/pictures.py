"""Pictures of a lesson: a cell says what it draws, and these say how it looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from toolkit import figures
from toolkit.laws import Estimate

GREY = "#777777"
BLUE, RED, GREEN, PINK, ORANGE, SKY, PALE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#bbbbbb",
)  # fmt: skip
_BESIDE = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
_BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 2}
_PLACES: dict[str, dict[str, Any]] = {"beside": _BESIDE, "below": _BELOW}


def begin() -> None:
    """The look of all figures, wide tables, and one thread: such small decoders gain by no more."""
    import matplotlib.pyplot as plt
    import pandas as pd
    import torch

    settings: Any = figures.look()
    plt.rcParams.update(settings)
    plt.switch_backend(plt.get_backend())  # loaded now, so that any Figure is shown
    pd.set_option("display.max_colwidth", None)
    torch.set_num_threads(1)


def canvas(width: float = 7.4, height: float = 4) -> Axes:
    """An empty panel, in inches; the cell's last figure is shown."""
    return grid(1, width, height)[0]


def grid(
    columns: int, width: float = 9.6, height: float = 4, *, rows: int = 1, **share: Any
) -> list[Axes]:
    """Panels side by side, in inches of all together; `sharex` and `sharey` as pyplot has them."""
    import matplotlib.pyplot as plt

    size = (width, height)
    figure, _ = plt.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, **share
    )
    return list(figure.axes)


def dress(
    ax: Axes,
    title: str = "",
    x: str = "",
    y: str = "",
    *,
    log: str = "",
    base: int = 10,
    percent: str = "",
    show: Mapping[str, Callable[[float], str]] | None = None,
    legend: str = "",
    **limits: Any,
) -> None:
    """Title, labels, scales and legend of a panel; numbers are written out.

    Args:
        ax, title: The panel and what it shows. x, y: What its axes are.
        log, percent: Which axes are logarithmic, and which are shares: "x", "y" or "xy".
        base: Of x's logarithm, for its ticks. show: By axis, how its numbers are written.
        legend: Where: a place of matplotlib's, "beside", "below"; none where empty.
        limits: Of the axes, as `Axes.set` has them.
    """
    for name in "xy":
        axis = ax.xaxis if name == "x" else ax.yaxis
        if name in log:
            getattr(ax, f"set_{name}scale")("log", base=base if name == "x" else 10)
            axis.set_minor_formatter(NullFormatter())
        usual = _percent if name in percent else "{:g}".format if name in log else None
        if written := (show or {}).get(name, usual):
            axis.set_major_formatter(_formatter(written))
    ax.set(title=title, xlabel=x, ylabel=y, **limits)
    if legend:
        ax.legend(**_PLACES.get(legend, {"loc": legend}))


def _formatter(written: Callable[[float], str]) -> FuncFormatter:
    return FuncFormatter(lambda value, _: written(value))


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def limit(
    ax: Axes, words: str, *, x: float | None = None, y: float | None = None, below: bool = False
) -> None:
    """A dotted line at x or at y, with words on it, or below."""
    if y is not None:
        ax.axhline(y, color=GREY, lw=1, ls=":")
        place = ax.get_yaxis_transform()
        side = "top" if below else "bottom"
        ax.text(0.99, y, words, color=GREY, ha="right", va=side, transform=place)
    if x is not None:
        ax.axvline(x, color=GREY, lw=1, ls=":")
        ax.text(x, 0.97, f" {words}", color=GREY, va="top", transform=ax.get_xaxis_transform())


def predicted(ax: Axes, x: float | None, y: float | None) -> None:
    """The reader's prediction as a star; nothing where there is none."""
    if x is not None and y is not None:
        ax.plot(x, y, "*", ms=16, color=RED, label="your prediction", ls="")


def interval(ax: Axes, estimate: Estimate, y: float, colour: str = BLUE, mark: str = "|") -> None:
    """An estimate's interval as a bar at height y, with a mark at its value."""
    ax.plot([estimate.low, estimate.high], [y, y], color=colour, lw=6, alpha=0.35)
    ax.plot(estimate.value, y, mark, color=colour, ms=20 if mark == "|" else 11, mew=3)


def compare(ax: Axes, labels: list[str], bars: Mapping[str, Any], *, lying: bool = False) -> None:
    """Bars of several parts, stacked, one a label; the whole is written at its end.

    Args:
        bars: By part, a number a label: the first in grey, the second in blue.
        lying: Bars go from left to right, and numbers are shares.
    """
    end = np.zeros(len(labels))
    for (part, size), shade in zip(bars.items(), (PALE, SKY), strict=False):
        if lying:
            drawn = ax.barh(labels, size, left=end, color=shade, label=part)
        else:
            drawn = ax.bar(labels, size, bottom=end, color=shade, label=part)
        end = end + np.asarray(size)
    ax.bar_label(drawn, [_percent(round(e, 2)) if lying else f"{e:g}" for e in end], padding=3)

"""One look for all figures: colours, markers, axes and legends.

A method has one colour and marker everywhere, budgets share one sequential palette; both stay
apart for colour-blind readers and in grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from toolkit.errors import ToolkitError
from toolkit.laws.optimiser import Array
from toolkit.methods import METHODS
from toolkit.recipe.study import Study
from toolkit.text import count, scientific
from toolkit.words import method_name

COLOURS = {name: method.colour for name, method in METHODS.items()}
MARKERS = {name: method.marker for name, method in METHODS.items()}
OTHER_COLOUR, OTHER_MARKER = "#555555", "P"
INK, QUIET, FAINT, BAND = "#222222", "#777777", "#e9e9e9", "#F0E442"
RING: dict[str, Any] = {"mfc": "none", "mec": INK, "mew": 1.1, "zorder": 5}
STAR: dict[str, Any] = {"marker": "*", "mec": INK, "mew": 0.8, "zorder": 6}
REACH = 4.0  # Laws are drawn so far beyond the budgets tried.
LOSS = "held-out loss (nats)"
BUDGET = "budget (FLOP)"


def look(*, slide: bool = False) -> dict[str, Any]:
    """Matplotlib's settings for these figures; larger type for a slide."""
    return {
        **sns.axes_style("ticks"),
        **sns.plotting_context("talk" if slide else "notebook", font_scale=1 if slide else 0.9),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "text.parse_math": False,  # Names come from data.
        "figure.dpi": 100,
        "savefig.dpi": 200,
    }


def style(*, slide: bool = False) -> Any:
    """A context in which figures are drawn: `with style(): …`."""
    settings: Any = look(slide=slide)
    return mpl.rc_context(settings)


def write(draw: Callable[[], Figure], path: str | Path) -> None:
    """A figure in this style as a file, whose ending says of which kind.

    Raises:
        ToolkitError: It cannot be written, or there is no such kind.
    """
    with style():
        figure = draw()
        try:
            figure.savefig(path)
        except (OSError, ValueError) as error:
            raise ToolkitError(f"{path} cannot be written: {error}") from error


def colour(method: str) -> str:
    """The method's colour, the same in every figure."""
    return COLOURS.get(method, OTHER_COLOUR)


def marker(method: str) -> str:
    """The method's marker, the same in every figure."""
    return MARKERS.get(method, OTHER_MARKER)


def budget_colours(budgets: Iterable[float]) -> dict[float, Any]:
    """A colour for each budget, light to dark with the budget."""
    ordered = sorted(budgets)
    shades = sns.color_palette("viridis_r", 100)[12:]
    if len(ordered) == 1:
        return {ordered[0]: shades[len(shades) // 2]}
    step = (len(shades) - 1) / (len(ordered) - 1)
    return {budget: shades[round(i * step)] for i, budget in enumerate(ordered)}


def budget_legend(
    place: Figure | Axes, shades: Mapping[float, Any], *, marks: str = "", **where: Any
) -> None:
    """A legend of budgets, written 3×10¹¹, and of marks: of a "law", or of "parabolas"."""
    lines: list[Line2D] = [
        Line2D([], [], color=shade, marker="o", ms=4.5, lw=1.6, label=scientific(budget))
        for budget, shade in sorted(shades.items())
    ]
    if marks:
        lines.append(Line2D([], [], ls="", ms=9, mfc="#bbbbbb", label="minimum, 95 %", **STAR))
    if marks == "law":
        lines.append(Line2D([], [], color=QUIET, lw=1.8, label="law"))
        lines.append(Line2D([], [], color=QUIET, lw=1.4, ls=":", label="parabola"))
    if marks == "parabolas":
        ring = Line2D([], [], ls="", marker="o", ms=10, label="best tried,\nno minimum", **RING)
        lines.append(ring)
    place.legend(handles=lines, title=BUDGET, alignment="left", **where)


def method_legend(
    ax: Axes, methods: Sequence[str],
    *, frontier: bool = False, inside: bool = False, room: float = 0,
) -> None:  # fmt: skip
    """A legend of methods in their fixed order, at the lower left of the panel or beside it.

    Args:
        room: Left beside the panel for something else, as a share of its width.
    """
    lines = [
        Line2D([], [], color=colour(m), marker=marker(m), label=method_name(m)) for m in methods
    ]
    if frontier:
        lines.append(Line2D([], [], color=INK, lw=7, alpha=0.13, label="frontier"))
    if inside:
        ax.legend(handles=lines, loc="lower left", fontsize="small")
    else:
        ax.legend(handles=lines, loc="upper left", bbox_to_anchor=(1 + room, 1))


def scale() -> float:
    """By how much figures grow with the type of the current style: 1 in print, 1.3 on a slide."""
    return math.sqrt(mpl.rcParams["font.size"] / 10.8)


def single(*, legend: bool = True) -> tuple[Figure, Axes]:
    """A figure of one panel, with room for a legend beside it."""
    figure = Figure(figsize=((7.6 if legend else 6) * scale(), 4.2 * scale()), layout="constrained")
    return figure, figure.subplots()


def alone(
    draw: Callable[..., object], what: object, *, legend: bool = True, **options: Any
) -> Figure:
    """A figure of one panel, drawn by `draw(what, ax, **options)`."""
    figure, ax = single(legend=legend)
    draw(what, ax, **options)
    return figure


def panels(
    number: int, *, width: float, height: float, most: int, share: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels in rows about as long as there are rows, room for a legend.

    Args:
        width, height: Of a panel, in inches. most: Panels in a row.
        share: Whether the vertical axis is the same in all, as the horizontal one is.
    """
    columns = min(most, math.ceil(math.sqrt(number)))
    rows = math.ceil(number / columns)
    inches = ((1.7 + width * columns) * scale(), (0.6 + height * rows) * scale())
    figure = Figure(figsize=inches, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=share, squeeze=False)
    for ax in axes.flat[number:]:
        ax.remove()
    return figure, list(axes.flat[:number])


def gather(
    figure: Figure, axes: Sequence[Axes], shades: Mapping[float, Any], *, marks: str = ""
) -> Figure:
    """The figure of `panels` once they are drawn: labels at its edges only, one legend for all."""
    columns = axes[0].get_gridspec().ncols  # type: ignore[union-attr]
    for i, ax in enumerate(axes):
        lowest = i + columns >= len(axes)
        ax.tick_params(labelbottom=lowest)
        if not lowest:
            ax.set_xlabel("")
        if i % columns:
            ax.set_ylabel("")
    budget_legend(figure, shades, marks=marks, loc="outside right upper")
    return figure


def log_axis(axis: Axis, show: Callable[[float], str]) -> None:
    """A log axis whose labels are readable however few decades it spans."""
    if axis is axis.axes.xaxis:
        axis.axes.set_xscale("log")
    else:
        axis.axes.set_yscale("log")
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if low > 0 else 3
    subs = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_formatter(NullFormatter())


def log_axes(
    ax: Axes, x: Array, y: Array | None = None, *, show: Callable[[float], str] | None = None
) -> None:
    """Log axes with readable labels, around the values given."""
    for axis, values, limits in ((ax.xaxis, x, ax.set_xlim), (ax.yaxis, y, ax.set_ylim)):
        if values is None:
            continue
        low, high = float(np.min(values)), float(np.max(values))
        margin = 1.6 if high == low else max((high / low) ** 0.06, 1.02)
        limits(low / margin, high * margin)
        log_axis(axis, show or _show(high))


def _show(high: float) -> Callable[[float], str]:
    return scientific if high >= 1e10 else count if high >= 1e3 else lambda value: f"{value:g}"


def law_line(
    ax: Axes, x: Array, law: tuple[Array, ...], shade: Any,
    *, tried: tuple[float, float] = (0, math.inf), labels: tuple[str, str] = ("", ""),
) -> None:  # fmt: skip
    """A law with its band: solid where it was tried, dashed beyond.

    Args:
        x: Of shape (n,). law: Its values there, and, for a band, the ends of their intervals.
        tried: From where to where. labels: Of line and band, for a legend.
    """
    (first, last), value = tried, law[0]
    inside = (x >= first) & (x <= last)
    for part, line in ((x <= first, "--"), (inside, "-"), (x >= last, "--")):
        if part.sum() > 1:
            label = labels[0] if line == "-" else ""
            ax.plot(x[part], value[part], line, lw=2, color=shade, zorder=3, label=label)
    if len(law) == 3 and np.isfinite(law[1:]).any():
        ax.fill_between(x, law[1], law[2], color=shade, alpha=0.15, lw=0, zorder=2, label=labels[1])


def note(
    ax: Axes, words: str, place: tuple[float, float], off: tuple[float, float],
    coordinates: Any = "data", **look: Any,
) -> None:  # fmt: skip
    """Small words so many points (right, up) off a place."""
    look = {"fontsize": "small", "xycoords": coordinates, **look}
    ax.annotate(words, place, xytext=off, textcoords="offset points", **look)


def budget_label(study: Study) -> str:
    return BUDGET if study.convention == "unstated" else f"budget ({study.convention} FLOP)"

"""What a recipe predicted beside what runs at its budget gave."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toolkit.figures.style import FAINT, INK, LOSS, RING, colour, marker, scale
from toolkit.recipe.trial import Trial, Tried
from toolkit.text import count, scientific
from toolkit.words import method_name


def predicted_and_measured(trial: Trial) -> Figure:
    """A line a configuration, best at the top: the loss predicted with its interval, and measured.

    The ring is the configuration that the recipe recommends.
    """
    lines = trial.tried[::-1]
    size = (8.2 * scale(), (1.4 + 0.46 * len(lines)) * scale())
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    for y, one in enumerate(lines):
        shade = colour(one.method)
        low, high = one.predicted.low, one.predicted.high
        if math.isfinite(low + high):
            ax.plot([low, high], [y, y], color=shade, lw=7, alpha=0.3, solid_capstyle="butt")
        ax.plot(one.predicted.value, y, "|", color=shade, ms=15, mew=2.5)
        ax.plot(one.measured, y, marker(one.method), color=INK, ms=7)
        if one.followed:
            ax.plot(one.measured, y, "o", ms=15, **RING)
    ax.set_yticks(range(len(lines)), [_name(one) for one in lines])
    ax.set(xlabel=LOSS, ylim=(-0.6, len(lines) - 0.4))
    ax.set_title(f"Predicted and measured at {scientific(trial.recipe.budget_flop, 3)} FLOP")
    ax.grid(axis="x", color=FAINT)
    ax.set_axisbelow(True)
    shade = colour(trial.recipe.method)
    handles = [
        Line2D([], [], color=shade, lw=7, alpha=0.3, label="predicted, 95 %"),
        Line2D([], [], color=INK, marker="o", ls="", label="measured"),
        Line2D([], [], ls="", marker="o", ms=12, label="the recipe", **RING),
    ]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _name(one: Tried) -> str:
    """Method and decoder; settings on a second line."""
    words = f"{method_name(one.method)}, {one.decoder or count(one.params)}"
    return f"{words}\n{one.settings_in_words}" if one.settings else words

"""Loss against parameters at each budget: the poster's first two panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path

from toolkit.figures.style import (
    INK,
    LOSS,
    RING,
    STAR,
    budget_colours,
    budget_legend,
    log_axis,
    outer_labels,
    panels,
)
from toolkit.laws import IsoFlopFit, Minimum
from toolkit.recipe.study import Study
from toolkit.recipe.wording import method_name
from toolkit.text import count


def loss_by_params_panels(study: Study, methods: Sequence[str] | None = None) -> Figure:
    """The poster's first panels: loss against parameters at each budget, a panel a method."""
    chosen = [m for m in (methods or study.methods) if m in study.fits]
    shades = budget_colours(study.budgets)
    figure, axes = panels(len(chosen), width=3.9, height=3.1, most=2, share=True)
    for ax, method in zip(axes, chosen, strict=True):
        loss_by_params(study.fits[method], ax, title=method_name(method), colours=shades)
    outer_labels(axes)
    budget_legend(figure, shades, minima=True, loc="outside right upper")
    return figure


def loss_by_params(
    fit: IsoFlopFit, ax: Axes, *, title: str = "", colours: Mapping[float, Any] | None = None
) -> Axes:
    """Loss against parameters (or tokens) of one method: runs, parabolas and their minima.

    A bracketed minimum is a filled star with its intervals. Where the sizes tried do not bracket
    one, the best of them is ringed, and an arrowhead points to where better ones may lie.
    """
    shades = colours or budget_colours([m.budget_flop for m in fit.minima])
    for minimum in fit.minima:
        _parabola(minimum, fit.x, ax, shades[minimum.budget_flop])
    sizes = [size for minimum in fit.minima for size in minimum.parabola.sizes]
    room = max(max(sizes) / min(sizes), 4) ** 0.08
    ax.set_xlim(min(sizes) / room, max(sizes) * room)
    log_axis(ax.xaxis, count)
    label = "tokens" if fit.x == "tokens" else "non-embedding parameters"
    ax.set(xlabel=label, ylabel=LOSS, title=title)
    return ax


def _parabola(minimum: Minimum, size: str, ax: Axes, shade: Any) -> None:
    fitted = minimum.parabola
    sizes = np.exp(fitted.z + fitted.centre)
    losses = np.exp(fitted.y) if fitted.log_loss else fitted.y
    ax.plot(sizes, losses, "o", color=shade, ms=4.5, alpha=0.75, mew=0)
    if fitted.curved:
        grid = np.geomspace(fitted.sizes[0], fitted.sizes[-1], 80)
        ax.plot(grid, fitted.curve(grid), "-", color=shade, lw=1.6)
    if minimum.status == "interior":
        x, y = getattr(minimum, size), minimum.loss
        if math.isfinite(x.low + x.high + y.low + y.high):
            ax.plot([x.low, x.high], [y.value] * 2, color=INK, lw=1.3, zorder=5)
            ax.plot([x.value] * 2, [y.low, y.high], color=INK, lw=1.3, zorder=5)
        ax.plot(x.value, y.value, ms=9, mfc=shade, **STAR)
        return
    best = (getattr(minimum, f"best_{size}"), minimum.best_loss)
    ax.plot(*best, "o", ms=10, **RING)
    if minimum.status in ("edge-low", "edge-high"):
        side = -1 if minimum.status == "edge-low" else 1
        ax.plot(*best, marker=_arrowhead(side), ms=17, mfc=INK, mec="none", zorder=5)


def _arrowhead(side: int) -> Any:
    """A marker: a small triangle beside the point, away from it to the left or right."""

    return Path([(side * 0.5, -0.4), (side * 1.0, 0), (side * 0.5, 0.4), (side * 0.5, -0.4)])

"""What a budget buys: optimal loss with the frontier over methods, and optimal size and data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit import decoders
from toolkit.figures.style import (
    BAND,
    FAINT,
    INK,
    LOSS,
    MARKERS,
    OTHER_MARKER,
    REACH,
    STAR,
    budget_label,
    colour,
    log_axis,
    method_legend,
    scale,
)
from toolkit.laws import Crossover, Estimate, PowerLaw
from toolkit.recipe.recommendation import Recipe
from toolkit.recipe.study import Study
from toolkit.recipe.wording import method_name
from toolkit.text import count, scientific


def loss_by_budget(
    study: Study, ax: Axes, *, labels: bool = True, ends: tuple[float, float] | None = None
) -> Axes:
    """Optimal loss against budget for all methods, the frontier, and where it changes hands.

    Bands are of 95 %. Solid where budgets were tried, dashed on grey where the law extrapolates.
    Points are the losses that the laws were fitted to, hollow where the best size tried stands in.
    `ends` are the budgets between which laws are drawn.
    """
    low, high = study.budgets[0], study.budgets[-1]
    ends = ends or (low / REACH, high * REACH)
    for method, fit in study.fits.items():
        _law(fit.loss_law, method, ax, ends)
    grid = np.geomspace(*ends, 200)
    laws = [f.loss_law for f in study.fits.values() if f.loss_law.usable]
    if laws:
        best = np.min([[law.predict(c).value for c in grid] for law in laws], axis=0)
        ax.plot(grid, best, color=INK, lw=7, alpha=0.13, solid_capstyle="round", zorder=1)
    _extrapolated(ax, (low, high), ends)
    for row, crossing in enumerate(frontier_crossovers(study)):
        _crossover(crossing, ax, ends, row)
    log_axis(ax.xaxis, scientific)
    ax.set(xlabel=budget_label(study), ylabel="optimal " + LOSS, xlim=ends)
    if labels:
        method_legend(ax, study.methods, frontier=bool(laws))
    return ax


def mark_recipe(recipe: Recipe, ax: Axes) -> Axes:
    """The recommendation on a `loss_by_budget` figure: its budget, loss and interval."""
    loss = recipe.methods[0].loss
    if math.isfinite(loss.low + loss.high):
        ax.plot([recipe.budget_flop] * 2, [loss.low, loss.high], color=INK, lw=1.5, zorder=6)
    ax.plot(recipe.budget_flop, loss.value, ms=16, mfc=colour(recipe.method), **STAR)
    return ax


def frontier_crossovers(study: Study) -> tuple[Crossover, ...]:
    """The crossovers at which the best method of all changes."""
    laws = {m: f.loss_law for m, f in study.fits.items() if f.loss_law.usable}
    found = []
    for crossing in study.crossovers:
        if crossing.status in ("crosses", "undecided"):
            at = crossing.budget.value
            losses = {m: law.predict(at).value for m, law in laws.items()}
            if min(losses[crossing.first], losses[crossing.second]) <= min(losses.values()) + 1e-6:
                found.append(crossing)
    return tuple(found)


def _crossover(crossing: Crossover, ax: Axes, ends: tuple[float, float], row: int) -> None:
    """A dotted line where the frontier changes hands, its interval, and who takes over."""
    at = crossing.budget
    if not ends[0] < at.value < ends[1]:
        return
    ax.axvline(at.value, color=INK, lw=1, ls=":", zorder=1)
    sure = crossing.status == "crosses"
    if sure:
        low, high = max(at.low, ends[0]), min(at.high, ends[1])
        ax.axvspan(low, high, color=BAND, alpha=0.28, lw=0, zorder=0)
    right = math.log(at.value / ends[0]) > 0.6 * math.log(ends[1] / ends[0])
    since = f"from {scientific(at.value)}" + ("" if sure else ", undecided")
    ax.annotate(
        f"{method_name(crossing.better_above)} best\n{since}",
        (at.value, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, -2 - row * 2.7 * float(ax.xaxis.label.get_fontsize())),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        fontsize="small",
        color=INK,
    )


def laws_panels(study: Study) -> Figure:
    """N*(C) and D*(C) side by side."""
    figure = Figure(figsize=(12.4 * scale(), 4.2 * scale()), layout="constrained")
    left, right = figure.subplots(1, 2)
    law_by_budget(study, "params", left, labels=False)
    law_by_budget(study, "tokens", right)
    return figure


def law_by_budget(
    study: Study,
    quantity: str,
    ax: Axes,
    *,
    labels: bool = True,
    ends: tuple[float, float] | None = None,
) -> Axes:
    """N*(C) or D*(C): compute-optimal `params` or `tokens` against budget, every method.

    Fitted through bracketed minima only, which are the points shown.
    """
    low, high = study.budgets[0], study.budgets[-1]
    ends = ends or (low / REACH, high * REACH)
    for method, fit in study.fits.items():
        law = fit.params_law if quantity == "params" else fit.tokens_law
        _law(law, method, ax, ends)
        for minimum in fit.minima:
            at: Estimate = getattr(minimum, quantity)
            if math.isfinite(at.low + at.high):
                place = [minimum.budget_flop] * 2
                ax.plot(place, [at.low, at.high], color=colour(method), lw=1.2, alpha=0.8)
    _extrapolated(ax, (low, high), ends)
    if ax.lines:
        log_axis(ax.yaxis, count)
    else:
        _say(ax, "no minimum is bracketed by the sizes tried:\nthere is no law to draw")
        ax.set_yticks([])
    log_axis(ax.xaxis, scientific)
    names = {"params": "optimal non-embedding\nparameters", "tokens": "optimal tokens"}
    ax.set(xlabel=budget_label(study), ylabel=names[quantity], xlim=ends)
    if quantity == "params":
        _decoder_lines(study, ax)
    if labels:
        method_legend(ax, study.methods)
    return ax


def _decoder_lines(study: Study, ax: Axes) -> None:
    """The decoders tried, as thin lines with their names at the right edge."""
    low, high = ax.get_ylim()
    names = set(study.best["decoder"]) if "decoder" in study.best.columns else set()
    for decoder in filter(None, map(decoders.catalogued, names)):
        if low < (params := decoder.params) < high:
            ax.axhline(params, color="#cccccc", lw=0.6, zorder=0)
            ax.annotate(
                decoder.name,
                (1, params),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize="x-small",
                color="#777777",
                annotation_clip=False,
            )
    ax.set_ylim(low, high)


def _say(ax: Axes, words: str) -> None:
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="#777777")


def _law(law: PowerLaw, method: str, ax: Axes, ends: tuple[float, float]) -> None:
    """One law: its points, its curve (dashed beyond them) and its band."""
    look: dict[str, Any] = {"color": colour(method), "zorder": 3}
    marker = MARKERS.get(method, OTHER_MARKER)
    for budget, value, source in zip(law.budgets, law.values, law.sources, strict=True):
        face = "white" if source == "best-tried" else colour(method)
        ax.plot(budget, value, marker, ms=6, mfc=face, mec=colour(method), zorder=4)
    if not law.usable:
        return
    inside = (min(law.budgets), max(law.budgets))
    for low, high, line in ((ends[0], inside[0], "--"), (*inside, "-"), (inside[1], ends[1], "--")):
        if high > low:
            grid = np.geomspace(low, high, 60)
            ax.plot(grid, [law.predict(c).value for c in grid], line, lw=2, **look)
    grid = np.geomspace(*ends, 60)
    band = [law.predict(c) for c in grid]
    lows, highs = [e.low for e in band], [e.high for e in band]
    if np.isfinite(lows).all() and np.isfinite(highs).all():
        ax.fill_between(grid, lows, highs, color=colour(method), alpha=0.15, lw=0, zorder=2)


def _extrapolated(ax: Axes, tried: tuple[float, float], ends: tuple[float, float]) -> None:
    """Grey where no budget was tried."""
    for low, high in ((ends[0], tried[0]), (tried[1], ends[1])):
        ax.axvspan(low, high, color=FAINT, alpha=0.7, lw=0, zorder=0)
    ax.annotate(
        "extrapolated",
        (1, 0),
        xycoords="axes fraction",
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        fontsize="x-small",
        color="#777777",
    )

"""Loss against parameters at each budget: the poster's first two panels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.ticker import LogLocator

from toolkit.figures.budget import budget_range
from toolkit.figures.scene import Answer, Part, Scene, canvas
from toolkit.figures.style import (
    BAND,
    INK,
    LOSS,
    RING,
    STAR,
    budget_colours,
    budget_legend,
    colour,
    gather,
    law_line,
    log_axis,
    panels,
)
from toolkit.laws import Estimate, IsoFlopFit, Minimum
from toolkit.laws.optimiser import Array
from toolkit.recipe.question import Question
from toolkit.recipe.study import Study
from toolkit.text import count
from toolkit.words import method_name

SIZES = "non-embedding parameters"
POINTS = 48  # Of a curve that moves.


def loss_by_params_panels(study: Study, methods: Sequence[str] | None = None) -> Figure:
    """The poster's first panels: loss against parameters at each budget, a panel a method."""
    chosen = methods or study.methods
    shades = budget_colours(study.budgets)
    figure, axes = panels(len(chosen), width=3.9, height=3.1, most=2, share=True)
    for ax, method in zip(axes, chosen, strict=True):
        loss_by_params(study, method, ax, title=method_name(method))
    axes[0].set_xlim(_ends(study.best))  # Of all methods: the axis is shared.
    return gather(figure, axes, shades, marks="law")


def loss_by_params(
    study: Study, method: str, ax: Axes, *, title: str = "", bands: bool = True
) -> Axes:
    """One method's loss against parameters at each budget: its runs, and the study's law.

    A curve, perhaps with its band (95 %), is the smooth law, which knows no single decoder; a star
    its lowest point, with the interval of its place. The dotted parabola, through the runs of its
    own budget alone, is a second opinion where they bracket its minimum.
    """
    shades = budget_colours(study.budgets)
    runs = study.best[study.best["method"] == method]
    ends = _ends(runs)
    grid = np.geomspace(*ends, 60)
    for budget in sorted(set(runs["budget_flop"])):
        some, shade = runs[runs["budget_flop"] == budget], shades[budget]
        asked = Question(study, budget)
        ax.plot(some["params"], some["loss"], "o", color=shade, ms=4.5, mew=0, zorder=4)
        law = _law(asked, method, grid)
        law_line(ax, grid, law if bands else law[:1], shade)
        ideal = asked.ideal(method)
        _star(ideal.params, Estimate(ideal.loss.value), ax, shade, ends)
    for minimum in study.fits[method].minima:
        if minimum.status == "interior":
            fitted = minimum.parabola
            inside = np.geomspace(fitted.sizes[0], fitted.sizes[-1], 60)
            shade = shades[minimum.budget_flop]
            ax.plot(inside, fitted.curve(inside), ":", color=shade, lw=1.4, zorder=2)
    ax.set_xlim(ends)
    log_axis(ax.xaxis, count)
    ax.set(xlabel=SIZES, ylabel=LOSS, title=title)
    return ax


def _ends(runs: pd.DataFrame) -> tuple[float, float]:
    """From where to where sizes are drawn, so that all of these runs are seen."""
    return runs["params"].min() / 1.6, runs["params"].max() * 1.6


class SizesScene(Scene[Answer]):
    """A panel a method, side by side as `arrange` says: its runs and laws, and the law asked."""

    def __init__(self, study: Study) -> None:
        figure = canvas()
        self.panels = {m: _Panel(figure.add_subplot(), study, m) for m in study.methods}
        lows, highs = zip(*(p.ax.get_ylim() for p in self.panels.values()), strict=True)
        most = Answer(study, budget_range(study)[1])  # Whose marks are the lowest of all.
        marks = [at.loss.value for m in study.methods for at in (most.ideal(m), most.best[m])]
        low = min(*lows, *marks)
        for panel in self.panels.values():
            panel.ax.set_ylim(low - 0.03 * (max(highs) - low), max(highs))
        budget_legend(
            figure, budget_colours(study.budgets), marks="law", loc="upper left",
            bbox_to_anchor=(0.835, 0.97), fontsize="small",
        )  # fmt: skip
        figure.text(0.4435, 0.02, SIZES, ha="center", va="bottom")
        super().__init__(figure, [a for p in self.panels.values() for a in p.moving])

    def arrange(self, chosen: Sequence[str]) -> None:
        """Show some methods only; what does not move is to be drawn again."""
        left, right, gap = 0.062, 0.825, 0.022
        width = (right - left + gap) / max(1, len(chosen)) - gap
        for method, panel in self.panels.items():
            for artist in (panel.ax, *panel.moving):
                artist.set_visible(method in chosen)
            if method in chosen:
                place = chosen.index(method)
                panel.ax.set_position((left + place * (width + gap), 0.14, width, 0.77))
                panel.ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if width > 0.2 else (1,)))
                panel.ax.tick_params(labelleft=place == 0)
                panel.ax.yaxis.label.set_visible(place == 0)

    def move(self, answer: Answer) -> None:
        for panel in self.panels.values():
            if panel.ax.get_visible():
                panel.move(answer)


class _Panel(Part[Answer]):
    """One method's runs and laws, and over them the law at the budget asked."""

    def __init__(self, ax: Axes, study: Study, method: str) -> None:
        self.ax, self.method = ax, method
        loss_by_params(study, method, ax, title=method_name(method), bands=False).set_xlabel("")
        ax.set_autoscale_on(False)
        self.grid = np.geomspace(*ax.get_xlim(), POINTS)
        self.band = ax.fill_between(self.grid, 1, 1, color=BAND, alpha=0.3, lw=0)
        (self.curve,) = ax.plot([], [], "--", color=INK, lw=1.8)
        (self.interval,) = ax.plot([], [], color=INK, lw=1.5)
        (self.decoder,) = ax.plot([], [], "D", ms=8, mfc="white", mec=INK)
        (self.star,) = ax.plot([], [], ls="", ms=15, mfc=colour(method), **STAR)
        self.moving = [self.band, self.curve, self.interval, self.decoder, self.star]

    def move(self, answer: Answer) -> None:
        middle, *band = _law(answer.question, self.method, self.grid)
        ideal, best = answer.ideal(self.method), answer.best[self.method]
        self.band.set_data(self.grid, *band)
        self.curve.set_data(self.grid, middle)
        self.star.set_data([ideal.params.value], [ideal.loss.value])
        self.interval.set_data([best.params] * 2, [best.loss.low, best.loss.high])
        self.decoder.set_data([best.params], [best.loss.value])


def _law(asked: Question, method: str, sizes: Array) -> tuple[Array, Array, Array]:
    """The smooth law at sizes (q,): its expectation, and the ends of its band (95 %)."""
    draws = asked.curve(method, sizes)
    ends = np.quantile(draws, (0.025, 0.975), axis=0)
    middle, low, high = asked.told(np.stack((np.exp(np.log(draws).mean(axis=0)), *ends)))
    return middle, low, high


def parabolas(
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
    ax.set(xlabel="tokens" if fit.x == "tokens" else SIZES, ylabel=LOSS, title=title)
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
        _star(getattr(minimum, size), minimum.loss, ax, shade, (0, math.inf))
        return
    best = (getattr(minimum, f"best_{size}"), minimum.best_loss)
    ax.plot(*best, "o", ms=10, **RING)
    if minimum.status in ("edge-low", "edge-high"):
        side = -1 if minimum.status == "edge-low" else 1
        ax.plot(*best, marker=_arrowhead(side), ms=17, mfc=INK, mec="none", zorder=5)


def _star(x: Estimate, y: Estimate, ax: Axes, shade: Any, ends: tuple[float, float]) -> None:
    """A minimum with its intervals, as far as it lies within what is drawn."""
    if not ends[0] < x.value < ends[1]:
        return
    ax.plot([max(x.low, ends[0]), min(x.high, ends[1])], [y.value] * 2, color=INK, lw=1.3, zorder=5)
    ax.plot([x.value] * 2, [y.low, y.high], color=INK, lw=1.3, zorder=5)
    ax.plot(x.value, y.value, ms=9, mfc=shade, **STAR)


def _arrowhead(side: int) -> Any:
    """A marker: a small triangle beside the point, away from it to the left or right."""

    return Path([(side * 0.5, -0.4), (side * 1.0, 0), (side * 0.5, 0.4), (side * 0.5, -0.4)])

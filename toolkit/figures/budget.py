"""What a budget buys: loss with the frontier over methods, and ideal size and data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit.figures.scene import Answer, Part, Scene, canvas
from toolkit.figures.style import (
    BAND,
    FAINT,
    INK,
    LOSS,
    QUIET,
    REACH,
    STAR,
    budget_label,
    colour,
    law_line,
    log_axis,
    marker,
    method_legend,
    note,
    scale,
)
from toolkit.laws import Estimate
from toolkit.laws.optimiser import Array
from toolkit.recipe.crossing import Crossing
from toolkit.recipe.frontier import best_choices, budgets_between, frontier_crossings, ideals
from toolkit.recipe.recommendation import Recipe
from toolkit.recipe.study import Study
from toolkit.text import count, scientific
from toolkit.words import method_name

ROOM = 3.0  # Ideal sizes are drawn so many times beyond what was tried.
QUANTITIES = {"loss": LOSS, "params": "ideal non-embedding\nparameters", "tokens": "ideal tokens"}


def loss_by_budget(
    study: Study, ax: Axes, *, labels: bool = True, ends: tuple[float, float] | None = None
) -> Axes:
    """Each method's loss with its best decoder at hand against the budget, and the frontier.

    Lines and bands (95 %) are of the study's law, dashed on grey where no budget was tried; points
    are the lowest losses of the runs. `ends` are the budgets between which they are drawn.
    """
    ends = ends or _reach(study)
    choices = best_choices(study, *ends)
    losses = {method: [choice.loss for choice in choices[method]] for method in study.methods}
    best = np.min([[loss.value for loss in row] for row in losses.values()], axis=0)
    grid = budgets_between(study, *ends)
    ax.plot(grid, best, color=INK, lw=7, alpha=0.13, solid_capstyle="round", zorder=1)
    for row, crossing in enumerate(frontier_crossings(study)):
        _crossing(crossing, ax, ends, row)
    _laws(study, ax, "loss", losses, ends)
    if labels:
        method_legend(ax, study.methods, frontier=True)
    return ax


def mark_recipe(recipe: Recipe, ax: Axes) -> Axes:
    """The recommendation on a `loss_by_budget` figure: its budget, loss and interval."""
    RecipeMark(ax).move(recipe)
    ax.update_datalim([(recipe.budget_flop, end) for end in (recipe.loss.low, recipe.loss.high)])
    ax.autoscale_view()
    return ax


class RecipeMark(Part[Recipe]):
    """A star with its interval on a `loss_by_budget` figure, and a line at its budget.

    Args:
        ends: Budgets beyond which it does not go.
    """

    def __init__(self, ax: Axes, ends: tuple[float, float] = (0, math.inf)) -> None:
        self.ends = ends
        self.line = ax.axvline(1, color=INK, lw=1, zorder=6)
        (self.interval,) = ax.plot([], [], color=INK, lw=2, zorder=6)
        (self.star,) = ax.plot([], [], ls="", ms=16, **STAR)
        self.moving = [self.line, self.interval, self.star]

    def move(self, answer: Recipe) -> None:
        at, loss = min(max(answer.budget_flop, self.ends[0]), self.ends[1]), answer.loss
        self.line.set_xdata([at, at])
        self.interval.set_data([at, at], [loss.low, loss.high])
        self.star.set_data([at], [loss.value])
        self.star.set_markerfacecolor(colour(answer.method))


class BudgetScene(Scene[Answer]):
    """A law of every method against the budget: a line and a point each mark the budget asked.

    Args:
        quantity: `loss`, or the ideal `params` or `tokens`.
    """

    def __init__(self, study: Study, quantity: str) -> None:
        self.quantity, self.ends = quantity, budget_range(study)
        figure = canvas()
        width = 0.62 if quantity == "params" else 0.69  # Names of decoders stand beside it.
        ax = figure.add_axes((0.1, 0.14, width, 0.83))
        if quantity == "loss":
            loss_by_budget(study, ax, ends=self.ends)
        else:
            law_by_budget(study, quantity, ax, ends=self.ends)
        ax.set_autoscale_on(False)
        self.line = ax.axvline(1, color=INK, lw=1)
        self.points = {
            m: ax.plot([], [], "o", ms=11, mfc=colour(m), mec=INK)[0] for m in study.methods
        }
        super().__init__(figure, [self.line, *self.points.values()])

    def told(self, answer: Answer) -> dict[str, Estimate]:
        """What is shown of each method, best first."""
        if self.quantity == "loss":
            return {method: choice.loss for method, choice in answer.best.items()}
        return {m: getattr(answer.ideal(m), self.quantity) for m in answer.best}

    def move(self, answer: Answer) -> None:
        at = min(max(answer.budget_flop, self.ends[0]), self.ends[1])
        self.line.set_xdata([at, at])
        for method, told in self.told(answer).items():
            self.points[method].set_data(([at], [told.value]) if told.is_told else ([], []))


def budget_range(study: Study) -> tuple[float, float]:
    """The budgets that a slider offers: half a decade below those tried to two above."""
    return study.budgets[0] / 10**0.5, study.budgets[-1] * 100


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
    """N*(C) or D*(C): ideal `params` or `tokens` against budget, every method.

    A line is drawn where the law tells the ideal size within the sizes searched; points are the
    best sizes of the runs.
    """
    ends = ends or _reach(study)
    found = ideals(study, *ends).items()
    told = {method: [_told(getattr(i, quantity)) for i in each] for method, each in found}
    tried = _laws(study, ax, quantity, told, ends)
    if tried.size:
        ax.set_ylim(tried.min() / ROOM, tried.max() * ROOM)
    log_axis(ax.yaxis, count)
    if quantity == "params":
        _decoder_lines(study, ax)
    if labels:
        method_legend(ax, study.methods, room=0.12 if quantity == "params" else 0)
    return ax


def _reach(study: Study) -> tuple[float, float]:
    return study.budgets[0] / REACH, study.budgets[-1] * REACH


def _told(estimate: Estimate) -> Estimate:
    """An ideal that may lie beyond all that was searched has no line."""
    return estimate if estimate.is_told else Estimate(math.nan, math.nan, math.nan)


def _laws(
    study: Study, ax: Axes, quantity: str, told: Mapping[str, Sequence[Estimate]],
    ends: tuple[float, float],
) -> Array:  # fmt: skip
    """Every method's law against the budget, and the best runs, whose values come back."""
    grid = np.array(budgets_between(study, *ends))
    tried = (study.budgets[0], study.budgets[-1])
    for method, estimates in told.items():
        value, low, high = np.array([(e.value, e.low, e.high) for e in estimates]).T
        law_line(ax, grid, (value, low, high), colour(method), tried=tried)
    points = _points(study, ax, quantity)
    _extrapolated(ax, study, ends)
    log_axis(ax.xaxis, scientific)
    ax.set(xlabel=budget_label(study), ylabel=QUANTITIES[quantity], xlim=ends)
    return points


def _points(study: Study, ax: Axes, quantity: str) -> Array:
    """Of the best size of each budget, hollow where it is the smallest or largest tried there."""
    found: list[float] = []
    if quantity not in study.best.columns:
        return np.array(found)
    for method in study.methods:
        runs = study.best[study.best["method"] == method]
        shade = colour(method)
        sizes = runs.assign(size=runs["params"]).groupby(["budget_flop", "size"])
        told = sizes[sorted({"loss", quantity})].mean()
        for budget in sorted(set(runs["budget_flop"])):
            means = told.loc[[budget]]
            place = int(means["loss"].to_numpy().argmin())
            face = shade if 0 < place < len(means) - 1 else "white"
            found.append(float(means[quantity].iloc[place]))
            ax.plot(budget, found[-1], marker(method), ms=6, mfc=face, mec=shade, zorder=4)
    return np.array(found)


def _crossing(crossing: Crossing, ax: Axes, ends: tuple[float, float], row: int) -> None:
    """A dotted line where the frontier changes hands, its interval, and who takes over."""
    at = crossing.budget_flop
    if not ends[0] < at.value < ends[1]:
        return
    ax.axvline(at.value, color=INK, lw=1, ls=":", zorder=1)
    sure = crossing.status == "crosses"
    if sure:
        low, high = max(at.low, ends[0]), min(at.high, ends[1])
        ax.axvspan(low, high, color=BAND, alpha=0.28, lw=0, zorder=0)
    right = math.log(at.value / ends[0]) > 0.6 * math.log(ends[1] / ends[0])
    since = f"from {scientific(at.value)}" + ("" if sure else ", undecided")
    down = -2 - row * 2.7 * float(ax.xaxis.label.get_fontsize())
    note(
        ax, f"{method_name(crossing.upper)} best\n{since}", (at.value, 1),
        (-4 if right else 4, down), ("data", "axes fraction"),
        ha="right" if right else "left", va="top", color=INK,
    )  # fmt: skip


def _decoder_lines(study: Study, ax: Axes) -> None:
    """The decoders at hand, as thin lines with their names at the right edge."""
    low, high = ax.get_ylim()
    for decoder in study.hand:
        if low < decoder.params < high:
            ax.axhline(decoder.params, color="#cccccc", lw=0.6, zorder=0)
            note(
                ax, decoder.name, (1, decoder.params), (3, 0), ("axes fraction", "data"),
                va="center", fontsize="x-small", color=QUIET, annotation_clip=False,
            )  # fmt: skip


def _extrapolated(ax: Axes, study: Study, ends: tuple[float, float]) -> None:
    """Grey where no budget was tried."""
    for low, high in ((ends[0], study.budgets[0]), (study.budgets[-1], ends[1])):
        ax.axvspan(low, high, color=FAINT, alpha=0.7, lw=0, zorder=0)
    where = "axes fraction"
    note(ax, "extrapolated", (1, 0), (-4, 4), where, ha="right", fontsize="x-small", color=QUIET)

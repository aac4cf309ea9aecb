"""The recipe tab: four answers, the point on the frontier, near-optimal sizes and regrets."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from toolkit import decoders
from toolkit.explorer import words
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.view import Ask, View, figure, styled
from toolkit.figures import colour, log_axis, loss_by_budget, method_legend
from toolkit.figures.style import INK, REACH, STAR
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.study import Study
from toolkit.recipe.wording import method_name, signed
from toolkit.text import count

LEAST_REGRET = 0.05  # The regret axis shows at least so many nats.


class RecipeView(View):
    """What to do with the budget, and what anything else would cost."""

    title = "Recipe"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=404)
        self.warnings = widgets.HTML(layout=widgets.Layout(height="120px", overflow="auto"))
        self.copy = widgets.HTML(layout=widgets.Layout(min_height="36px"))
        self.widget.children = (self.picture, self.readout, self.copy, self.warnings)
        self.recipe: Recipe | None = None

    @styled
    def load(self, study: Study) -> None:
        self.study = study
        drawn = figure()
        self.frontier = _Frontier(drawn, study)
        self.sizes = _Sizes(drawn, study)
        self.regrets = _Regrets(drawn, study)
        parts = (self.frontier, self.sizes, self.regrets)
        shades = [colour(method) for method in study.methods]
        self.drawing = Drawing(drawn, [a for part in parts for a in part.moving], shades)
        data = study.runs["data"] if "data" in study.runs.columns else ["docstrings"]
        self.data = str(next(iter(data)))

    def show(self, ask: Ask) -> None:
        recipe = recommend_from(
            self.study,
            budget_flop=ask.budget_flop,
            max_pairs=ask.max_pairs,
            max_params=ask.max_params,
        )
        self.recipe = recipe
        self.frontier.show(recipe)
        self.sizes.show(recipe)
        self.regrets.show(recipe)
        self.paint(words.recipe_in_words(recipe, ask.in_words), words.recipe_html(recipe))
        self.warnings.value = words.warnings_html(recipe)
        self.copy.value = words.copy_html(recipe, self.data)


class _Frontier:
    """Optimal loss against budget; a star and its interval move along the frontier."""

    def __init__(self, drawn: Figure, study: Study) -> None:
        ax = drawn.add_axes((0.062, 0.135, 0.5, 0.83))
        ends = budget_range(study)
        loss_by_budget(study, ax, labels=False, ends=ends)
        method_legend(ax, study.methods, frontier=True, inside=True)
        (self.budget,) = ax.plot(
            [1, 1], [0, 1], color=INK, lw=1, transform=ax.get_xaxis_transform()
        )
        (self.interval,) = ax.plot([], [], color=INK, lw=2)
        (self.star,) = ax.plot([], [], ls="", ms=16, **STAR)
        self.ends = ends
        self.moving = [self.budget, self.interval, self.star]

    def show(self, recipe: Recipe) -> None:
        at, loss = min(max(recipe.budget_flop, self.ends[0]), self.ends[1]), recipe.methods[0].loss
        self.budget.set_xdata([at, at])
        self.interval.set_data([at, at], [loss.low, loss.high])
        self.star.set_data([at], [loss.value])
        self.star.set_markerfacecolor(colour(recipe.method))


class _Sizes:
    """Best size with its interval, and the range within 1 % of the best loss."""

    def __init__(self, drawn: Figure, study: Study) -> None:
        ax = drawn.add_axes((0.625, 0.72, 0.36, 0.17))
        tried = study.runs["params"]
        ends = (tried.min() / 4, tried.max() * 10)
        _decoder_ticks(ax, ends)
        ax.set(ylim=(-1, 1), yticks=[], title="best size, and within 1 % of its loss")
        ax.title.set_fontsize("medium")
        ax.spines["left"].set_visible(False)
        (self.near,) = ax.plot([], [], lw=13, alpha=0.3, solid_capstyle="butt")
        (self.interval,) = ax.plot([], [], color=INK, lw=2)
        (self.star,) = ax.plot([], [], ls="", ms=14, **STAR)
        self.ends = ends
        self.moving = [self.near, self.interval, self.star]

    def show(self, recipe: Recipe) -> None:
        size, shade = recipe.size, colour(recipe.method)
        low, high = size.near_optimal
        wider = 1.03 if low == high else 1.0
        self.near.set_data([low / wider, high * wider], [0, 0])
        self.near.set_color(shade)
        sure = size.source != "best-tried" and math.isfinite(size.params.low)
        ends = np.clip([size.params.low, size.params.high], *self.ends)
        self.interval.set_data(ends if sure else [], [0, 0] if sure else [])
        self.star.set_data([size.params.value], [0])
        self.star.set_markerfacecolor(shade)


class _Regrets:
    """A bar a method: how much higher its loss would be."""

    def __init__(self, drawn: Figure, study: Study) -> None:
        ax = drawn.add_axes((0.735, 0.135, 0.245, 0.34))
        methods = study.methods
        ax.set_yticks(range(len(methods)), [method_name(m) for m in methods])
        self.limit = _most_regret(study)  # Bars and whiskers end here; beyond is room for numbers.
        ax.set(ylim=(len(methods) - 0.5, -0.5), xlim=(0, 1.3 * self.limit))
        ax.set_title("expected regret (nats)", x=0)
        ax.title.set_fontsize("medium")
        ax.tick_params(left=False)
        self.bars: dict[str, tuple[Any, Any, Any]] = {}
        for row, method in enumerate(methods):
            (bar,) = ax.plot([], [], lw=12, color=colour(method), solid_capstyle="butt")
            (whisker,) = ax.plot([], [], lw=1.5, color=INK)
            text = ax.text(0, row, "", va="center", fontsize="small")
            self.bars[method] = (bar, whisker, text)
        self.moving = [artist for parts in self.bars.values() for artist in parts]

    def show(self, recipe: Recipe) -> None:
        for choice in recipe.methods:
            bar, whisker, text = self.bars[choice.method]
            row = text.get_position()[1]
            value = choice.regret.value
            if not math.isfinite(value):
                bar.set_data([], [])
                whisker.set_data([], [])
                text.set_text(" unknown")
                text.set_x(0)
                continue
            ends = [min(max(e, 0), self.limit) for e in (choice.regret.low, choice.regret.high)]
            known = math.isfinite(choice.regret.low) and choice.method != recipe.method
            bar.set_data([0, min(max(value, 0), self.limit)], [row, row])
            whisker.set_data(ends if known else [], [row, row] if known else [])
            text.set_x(max(ends[1] if known else 0, min(max(value, 0), self.limit)))
            text.set_text(" best" if choice.method == recipe.method else f" {signed(value)}")


def budget_range(study: Study) -> tuple[float, float]:
    """The budgets that the explorer offers: half a decade below those tried to two above."""
    return study.budgets[0] / REACH, study.budgets[-1] * REACH**4


def _decoder_ticks(ax: Axes, ends: tuple[float, float]) -> None:
    """Decoders that exist as ticks of a size axis, named where there is room."""
    log_axis(ax.xaxis, count)
    ax.set_xlim(ends)
    width = math.log(ends[1] / ends[0])
    inside = sorted(
        (d.params, n) for n, d in decoders.KNOWN.items() if ends[0] < d.params < ends[1]
    )
    ticks, names, last = [], [], 0.0
    for params, name in inside:
        ticks.append(params)
        room = math.log(params / last) > 0.09 * width if last else True
        names.append(name.split("-")[-1] if room else "")
        last = params if room else last
    ax.set_xticks(ticks, names, fontsize="small")
    ax.set_xticks([], minor=True)


def _most_regret(study: Study) -> float:
    """Above every regret at the budgets that were tried."""
    budgets = np.geomspace(study.budgets[0], study.budgets[-1], 7)
    most = LEAST_REGRET
    for budget in budgets:
        for choice in recommend_from(study, budget_flop=float(budget)).methods:
            if math.isfinite(choice.regret.value):
                most = max(most, choice.regret.value)
    return 1.1 * most

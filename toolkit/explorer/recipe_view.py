"""The recipe tab: four answers, the point on the frontier, decoders at hand and regrets."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from toolkit.explorer import words
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.view import Ask, View, budget_range, figure, styled
from toolkit.figures import colour, log_axis, loss_by_budget, method_legend
from toolkit.figures.style import INK, STAR
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.study import Study
from toolkit.text import count
from toolkit.words import method_name, signed

LEAST_REGRET = 0.05  # The regret axis shows at least so many nats.
BEYOND = 4.0  # Sizes are shown so many times beyond the decoders at hand.
APART = 0.085  # Names of decoders stand at least so far apart, as a share of the axis.


class RecipeView(View):
    """What to do with the budget, and what anything else would cost."""

    title = "Recipe"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=468)
        self.warnings = widgets.HTML(layout=widgets.Layout(height="150px", overflow="auto"))
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
        recipe = self.recipe = ask.recipe(self.study)
        self.frontier.show(recipe)
        self.sizes.show(recipe)
        self.regrets.show(recipe)
        self.paint(words.recipe_in_words(recipe, ask.in_words), words.recipe_html(recipe))
        self.warnings.value = words.warnings_html(recipe)
        self.copy.value = words.copy_html(recipe, self.data)


class _Frontier:
    """Loss against budget; a star and its interval move along the frontier."""

    def __init__(self, drawn: Figure, study: Study) -> None:
        ax = drawn.add_axes((0.062, 0.135, 0.5, 0.83))
        self.ends = budget_range(study)
        loss_by_budget(study, ax, labels=False, ends=self.ends)
        ax.set_autoscale_on(False)
        method_legend(ax, study.methods, frontier=True, inside=True)
        (self.budget,) = ax.plot(
            [1, 1], [0, 1], color=INK, lw=1, transform=ax.get_xaxis_transform()
        )
        (self.interval,) = ax.plot([], [], color=INK, lw=2)
        (self.star,) = ax.plot([], [], ls="", ms=16, **STAR)
        self.moving = [self.budget, self.interval, self.star]

    def show(self, recipe: Recipe) -> None:
        at, loss = min(max(recipe.budget_flop, self.ends[0]), self.ends[1]), recipe.loss
        self.budget.set_xdata([at, at])
        self.interval.set_data([at, at], [loss.low, loss.high])
        self.star.set_data([at], [loss.value])
        self.star.set_markerfacecolor(colour(recipe.method))


class _Sizes:
    """The decoders at hand: recommended, and about as good; behind them the ideal size."""

    def __init__(self, drawn: Figure, study: Study) -> None:
        ax = drawn.add_axes((0.625, 0.72, 0.36, 0.17))
        hand = study.hand
        self.ends = (hand[0].params / BEYOND, hand[-1].params * BEYOND)
        log_axis(ax.xaxis, count)
        ax.set_xlim(self.ends)
        names, last = [], 0.0
        for decoder in hand:
            place = math.log(decoder.params / self.ends[0]) / math.log(self.ends[1] / self.ends[0])
            roomy = place - last > APART
            names.append(decoder.name.rsplit("/", 1)[-1].split("-")[-1] if roomy else "")
            last = place if roomy else last
        ax.set_xticks([decoder.params for decoder in hand], names, fontsize="small")
        ax.set_xticks([], minor=True)
        ax.set(ylim=(-1, 1), yticks=[], title="★ decoder, ● within 1 %, band: ideal size")
        ax.title.set_fontsize("medium")
        ax.spines["left"].set_visible(False)
        (self.ideal,) = ax.plot([], [], lw=13, alpha=0.3, solid_capstyle="butt")
        (self.middle,) = ax.plot([], [], "|", ms=13, mew=2)
        (self.near,) = ax.plot([], [], "o", ms=7, mfc=INK, mec="white")
        (self.star,) = ax.plot([], [], ls="", ms=16, **STAR)
        self.moving = [self.ideal, self.middle, self.near, self.star]

    def show(self, recipe: Recipe) -> None:
        ideal, shade = recipe.ideal.params, colour(recipe.method)
        self.ideal.set_data(np.clip([ideal.low, ideal.high], *self.ends), [0, 0])
        known = ideal.low > 0 and math.isfinite(ideal.high)
        self.middle.set_data([ideal.value] if known else [], [0] if known else [])
        close = sorted({c.params for c in recipe.choices if (c.decoder, c.method) in recipe.near})
        self.near.set_data(close, [0] * len(close))
        self.star.set_data([recipe.decoder.params], [0])
        for artist in (self.ideal, self.middle):
            artist.set_color(shade)
        self.star.set_markerfacecolor(shade)


class _Regrets:
    """A bar a method: how much higher the loss of its best choice would be."""

    def __init__(self, drawn: Figure, study: Study) -> None:
        ax = drawn.add_axes((0.735, 0.135, 0.245, 0.34))
        methods = study.methods
        ax.set_yticks(range(len(methods)), [method_name(m) for m in methods])
        # Bars and whiskers end here; beyond is room for numbers.
        self.ends = (-0.15 * _most_regret(study), _most_regret(study))
        ax.set(ylim=(len(methods) - 0.5, -0.5), xlim=(self.ends[0], 1.4 * self.ends[1]))
        ax.axvline(0, color=INK, lw=0.8)
        ax.set_title("expected regret (nats)", x=0)
        ax.title.set_fontsize("medium")
        ax.tick_params(left=False)
        ax.spines["left"].set_visible(False)
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
            best, regret = choice is recipe.methods[0], choice.regret
            value, low, high = np.clip([regret.value, regret.low, regret.high], *self.ends)
            bar.set_data([0, value], [row, row])
            whisker.set_data([] if best else [low, high], [] if best else [row, row])
            text.set_x(max(0, value, high))
            text.set_text(" best" if best else f" {signed(regret.value)}")


def _most_regret(study: Study) -> float:
    """Above every method's regret, and the upper end of its interval, at the budgets offered."""
    asked = np.geomspace(*budget_range(study), 9)
    recipes = [recommend_from(study, budget_flop=float(budget)) for budget in asked]
    return max(LEAST_REGRET, *(1.05 * c.regret.high for recipe in recipes for c in recipe.methods))

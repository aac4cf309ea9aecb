"""The recipe in one picture: its place on the frontier, the decoders at hand, and regrets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from toolkit.figures.budget import RecipeMark, budget_range, loss_by_budget
from toolkit.figures.scene import Answer, Part, Scene, canvas
from toolkit.figures.style import INK, STAR, colour, log_axis, method_legend
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.study import Study
from toolkit.text import count
from toolkit.words import method_name, signed

LEAST_REGRET = 0.05  # The regret axis shows at least so many nats.
BEYOND = 4.0  # Sizes are shown so many times beyond the decoders at hand.
APART = 0.085  # Names of decoders stand at least so far apart, as a share of the axis.


class RecipeScene(Scene[Answer]):
    """What to do with a budget, and what anything else would cost."""

    def __init__(self, study: Study) -> None:
        figure, ends = canvas(), budget_range(study)
        ax = figure.add_axes((0.062, 0.135, 0.5, 0.83))
        loss_by_budget(study, ax, labels=False, ends=ends).set_autoscale_on(False)
        method_legend(ax, study.methods, frontier=True, inside=True)
        self.frontier = RecipeMark(ax, ends)
        self.sizes = _Sizes(figure.add_axes((0.625, 0.72, 0.36, 0.17)), study)
        self.regrets = _Regrets(figure.add_axes((0.735, 0.135, 0.245, 0.34)), study)
        self.parts: tuple[Part[Recipe], ...] = (self.frontier, self.sizes, self.regrets)
        super().__init__(figure, [artist for part in self.parts for artist in part.moving])

    def move(self, answer: Answer) -> None:
        for part in self.parts:
            part.move(answer.recipe)


class _Sizes(Part[Recipe]):
    """The decoders at hand: recommended, and about as good; behind them the ideal size."""

    def __init__(self, ax: Axes, study: Study) -> None:
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

    def move(self, answer: Recipe) -> None:
        ideal, shade = answer.ideal.params, colour(answer.method)
        self.ideal.set_data(np.clip([ideal.low, ideal.high], *self.ends), [0, 0])
        self.middle.set_data(([ideal.value], [0]) if ideal.is_told else ([], []))
        close = sorted({c.params for c in answer.choices if (c.decoder, c.method) in answer.near})
        self.near.set_data(close, [0] * len(close))
        self.star.set_data([answer.decoder.params], [0])
        for artist in (self.ideal, self.middle):
            artist.set_color(shade)
        self.star.set_markerfacecolor(shade)


class _Regrets(Part[Recipe]):
    """A bar a method: how much higher the loss of its best choice would be."""

    def __init__(self, ax: Axes, study: Study) -> None:
        methods = study.methods
        ax.set_yticks(range(len(methods)), [method_name(m) for m in methods])
        most = _most_regret(study)
        self.ends = (-0.15 * most, most)  # Of bars and whiskers; beyond is room for numbers.
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

    def move(self, answer: Recipe) -> None:
        for choice in answer.methods:
            bar, whisker, text = self.bars[choice.method]
            row = text.get_position()[1]
            best, regret = choice is answer.methods[0], choice.regret
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

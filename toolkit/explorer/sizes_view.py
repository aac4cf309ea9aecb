"""Loss against parameters: the poster's first two panels, with the law at the asked budget."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from toolkit.explorer.drawing import Drawing
from toolkit.explorer.view import Ask, View, figure, styled
from toolkit.figures import budget_colours, budget_legend, colour, loss_by_params
from toolkit.figures.style import BAND, INK, STAR
from toolkit.methods.full import Full
from toolkit.methods.lora import Lora
from toolkit.recipe.question import Choice, Question
from toolkit.recipe.study import Study
from toolkit.text import count
from toolkit.words import loss, method_name, spread

SHOWN_FIRST = (Full.name, Lora.name)  # As on the poster; the others are one click away.
POINTS = 48


class SizesView(View):
    """One panel a method; a curve with its band is the law at the budget of the slider."""

    title = "Loss by size"

    @styled
    def load(self, study: Study) -> None:
        self.study = study
        drawn = figure()
        self.panels = {m: _Panel(drawn.add_subplot(), study, m) for m in study.methods}
        lows, highs = zip(*(p.ax.get_ylim() for p in self.panels.values()), strict=True)
        for panel in self.panels.values():
            panel.ax.set_ylim(min(lows), max(highs))
        budget_legend(
            drawn, budget_colours(study.budgets), marks="law", loc="upper left",
            bbox_to_anchor=(0.835, 0.97), fontsize="small",
        )  # fmt: skip
        self.buttons = {
            method: widgets.ToggleButton(
                method in SHOWN_FIRST or len(study.methods) <= 2,
                description=method_name(method),
                layout=widgets.Layout(width="150px"),
            )
            for method in study.methods
        }
        if not any(button.value for button in self.buttons.values()):
            next(iter(self.buttons.values())).value = True
        for button in self.buttons.values():
            self.alerts.observe(button, lambda _: self._arrange())
        self.controls.children = tuple(self.buttons.values())
        drawn.text(0.4435, 0.02, "non-embedding parameters", ha="center", va="bottom")
        self._place()
        self.drawing = Drawing(
            drawn,
            [a for p in self.panels.values() for a in p.moving],
            [BAND, *map(colour, study.methods)],
        )

    def show(self, ask: Ask) -> None:
        self.ask = ask
        asked, best = ask.question(self.study), ask.recipe(self.study).methods
        lines = [
            self.panels[choice.method].show(asked, choice)
            for choice in sorted(best, key=lambda choice: self.study.methods.index(choice.method))
            if self.buttons[choice.method].value
        ]
        html = f"<p>At <b>{escape(ask.in_words)}</b>:</p>"
        html += "".join(f"<p>{escape(line)}</p>" for line in lines)
        self.paint(f"At {ask.in_words}: {'; '.join(lines)}.", html)

    def _arrange(self) -> None:
        """Other methods were chosen: only the panels' places change."""
        assert self.drawing is not None
        self._place()
        self.drawing.settle()
        self.show(self.ask)

    def _place(self) -> None:
        chosen = [m for m, button in self.buttons.items() if button.value]
        left, right, gap = 0.062, 0.825, 0.022
        width = (right - left + gap) / max(1, len(chosen)) - gap
        for method, panel in self.panels.items():
            panel.visible(method in chosen)
            if method in chosen:
                place = chosen.index(method)
                panel.ax.set_position((left + place * (width + gap), 0.14, width, 0.77))
                panel.ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if width > 0.2 else (1,)))
                panel.ax.tick_params(labelleft=place == 0)
                panel.ax.yaxis.label.set_visible(place == 0)


class _Panel:
    """One method's runs and laws, and the law at a budget."""

    def __init__(self, ax: Axes, study: Study, method: str) -> None:
        self.ax = ax
        loss_by_params(study, method, ax, title=method_name(method)).set_xlabel("")
        for band in list(ax.collections):  # One band is enough: that of the asked budget.
            band.remove()
        ax.set_autoscale_on(False)
        self.grid = np.geomspace(*ax.get_xlim(), POINTS)
        self.band = ax.fill_between(self.grid, 1, 1, color=BAND, alpha=0.3, lw=0)
        (self.curve,) = ax.plot([], [], "--", color=INK, lw=1.8)
        (self.interval,) = ax.plot([], [], color=INK, lw=1.5)
        (self.decoder,) = ax.plot([], [], "D", ms=8, mfc="white", mec=INK)
        (self.star,) = ax.plot([], [], ls="", ms=15, mfc=colour(method), **STAR)
        self.moving = [self.band, self.curve, self.interval, self.decoder, self.star]

    def visible(self, shown: bool) -> None:
        for artist in (self.ax, *self.moving):
            artist.set_visible(shown)

    def show(self, asked: Question, best: Choice) -> str:
        """Move the curve; what it says in words comes back."""
        ideal, name = asked.ideal(best.method), method_name(best.method)
        draws = asked.curve(best.method, self.grid)
        self.band.set_data(self.grid, *np.quantile(draws, (0.025, 0.975), axis=0))
        self.curve.set_data(self.grid, np.exp(np.log(draws).mean(axis=0)))
        self.star.set_data([ideal.params.value], [ideal.loss.value])
        self.interval.set_data([best.params] * 2, [best.loss.low, best.loss.high])
        self.decoder.set_data([best.params], [best.loss.value])
        return (
            f"{name}: ★ ideal size {spread(ideal.params, count)}; ◇ {best.decoder}, the best "
            f"decoder at hand, predicted loss {loss(best.loss.value)} ({spread(best.loss, loss)})"
        )

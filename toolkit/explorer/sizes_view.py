"""Loss against parameters: the poster's first two panels, with the curve of the asked budget."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from toolkit.explorer.drawing import Drawing
from toolkit.explorer.view import Ask, View, figure, styled
from toolkit.figures import budget_colours, budget_legend, colour, loss_by_params
from toolkit.figures.style import INK, STAR
from toolkit.laws import IsoFlopFit
from toolkit.recipe.forecast import Forecast, forecast
from toolkit.recipe.study import Study
from toolkit.recipe.wording import method_name, spread
from toolkit.text import count

SHOWN_FIRST = ("full", "lora")  # As on the poster; the others are one click away.


class SizesView(View):
    """One panel a method; a dashed curve says what the law expects at the budget of the slider."""

    title = "Loss by size"

    @styled
    def load(self, study: Study) -> None:
        self.study = study
        drawn = figure()
        self.panels = {method: _Panel(drawn.add_subplot(), method, fit)
                       for method, fit in study.fits.items()}  # fmt: skip
        lows, highs = zip(*(p.ax.get_ylim() for p in self.panels.values()), strict=True)
        for panel in self.panels.values():
            panel.ax.set_ylim(min(lows), max(highs))
        shades = budget_colours(study.budgets)
        budget_legend(
            drawn, shades, minima=True, loc="upper left", bbox_to_anchor=(0.835, 0.97),
            fontsize="small",
        )  # fmt: skip
        self.buttons = {
            method: widgets.ToggleButton(
                method in SHOWN_FIRST or len(study.fits) <= 2,
                description=method_name(method),
                layout=widgets.Layout(width="150px"),
            )
            for method in study.fits
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
            [colour(m) for m in study.fits],
        )

    def show(self, ask: Ask) -> None:
        self.ask = ask
        said = []
        for method, panel in self.panels.items():
            if self.buttons[method].value:
                said.append(panel.show(forecast(method, self.study.fits[method], ask.budget_flop)))
        words = f"At {ask.in_words}: " + "; ".join(said) + "."
        html = f"<p>At <b>{escape(ask.in_words)}</b>:</p>"
        html += "".join(f"<p>{escape(line)}</p>" for line in said)
        self.paint(words, html)

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
    """One method's parabolas, and the curve expected at a budget."""

    def __init__(self, ax: Axes, method: str, fit: IsoFlopFit) -> None:
        self.ax = ax
        loss_by_params(fit, ax, title=method_name(method)).set_xlabel("")
        sizes = [size for minimum in fit.minima for size in minimum.parabola.sizes]
        self.grid = np.geomspace(min(sizes), max(sizes), 60)
        (self.curve,) = ax.plot([], [], "--", color=INK, lw=1.8)
        (self.star,) = ax.plot([], [], ls="", ms=15, mfc=colour(method), **STAR)
        ax.set_autoscale_on(False)
        self.moving = [self.curve, self.star]

    def visible(self, shown: bool) -> None:
        for artist in (self.ax, *self.moving):
            artist.set_visible(shown)

    def show(self, expected: Forecast) -> str:
        """Move the curve; what it says in words comes back."""
        name = method_name(expected.method)
        loss, size = expected.loss.value, expected.params
        self.star.set_data([size.value], [loss])
        if expected.source == "best-tried":
            self.curve.set_data([], [])
            return (
                f"{name}: no bracketed minimum; the best size tried near that budget is "
                f"{count(size.value)}, expected loss {loss:.3f}"
            )
        self.curve.set_data(self.grid, [loss + expected.excess(n) for n in self.grid])
        return (
            f"{name}: best with {count(size.value)} parameters ({spread(size, count)}), "
            f"expected loss {loss:.3f}"
        )

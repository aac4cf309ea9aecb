"""Optimal loss, size or data against budget: all methods, the frontier and where it changes."""

from __future__ import annotations

import math
from html import escape

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.recipe_view import budget_range
from toolkit.explorer.view import Ask, View, figure, styled
from toolkit.figures import colour, frontier_crossovers, law_by_budget, loss_by_budget
from toolkit.figures.style import INK
from toolkit.laws import Estimate
from toolkit.recipe.forecast import Forecast, forecast
from toolkit.recipe.study import Study
from toolkit.recipe.wording import crossing_in_words, loss, method_name, spread
from toolkit.text import count

QUANTITIES = {"optimal loss": "loss", "optimal size": "params", "optimal data": "tokens"}


class FrontierView(View):
    """One law a method; a line and a point each mark the budget of the slider."""

    title = "Loss by budget"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=130)
        self.quantity = widgets.ToggleButtons(options=QUANTITIES, style={"button_width": "130px"})
        self.controls.children = (self.quantity,)
        alerts.observe(self.quantity, lambda _: self._change())

    def load(self, study: Study) -> None:
        self.study = study
        self._draw()

    def show(self, ask: Ask) -> None:
        self.ask = ask
        at = min(max(ask.budget_flop, self.ends[0]), self.ends[1])
        self.line.set_xdata([at, at])
        forecasts = [forecast(m, fit, ask.budget_flop) for m, fit in self.study.fits.items()]
        for expected in forecasts:
            value = self._value(expected).value
            known = math.isfinite(value)
            self.points[expected.method].set_data([at] if known else [], [value] if known else [])
        lines = self._in_words(forecasts)
        words = f"At {ask.in_words}: {'; '.join(lines)}."
        html = f"<p>At <b>{escape(ask.in_words)}</b>: {escape('; '.join(lines))}.</p>"
        for crossing in frontier_crossovers(self.study):
            html += f"<p>{escape(crossing_in_words(crossing))}</p>"
        self.paint(words, html)

    def _value(self, expected: Forecast) -> Estimate:
        found: Estimate = getattr(expected, self.quantity.value)
        return found

    def _in_words(self, forecasts: list[Forecast]) -> list[str]:
        show = loss if self.quantity.value == "loss" else count
        ranked = sorted(forecasts, key=lambda f: f.loss.value)
        return [
            f"{method_name(f.method)} {show(self._value(f).value)} ({spread(self._value(f), show)})"
            for f in ranked
        ]

    @styled
    def _draw(self) -> None:
        drawn = figure()
        ax = drawn.add_axes((0.1, 0.14, 0.69, 0.83))
        self.ends = budget_range(self.study)
        if self.quantity.value == "loss":
            loss_by_budget(self.study, ax, ends=self.ends)
        else:
            law_by_budget(self.study, self.quantity.value, ax, ends=self.ends)
        ax.set_autoscale_on(False)
        high = ax.get_xaxis_transform()
        (self.line,) = ax.plot([1, 1], [0, 1], color=INK, lw=1, transform=high)
        self.points = {
            m: ax.plot([], [], "o", ms=11, mfc=colour(m), mec=INK)[0] for m in self.study.fits
        }
        self.drawing = Drawing(drawn, [self.line, *self.points.values()])

    def _change(self) -> None:
        self._draw()
        self.show(self.ask)

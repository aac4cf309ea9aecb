"""Loss, ideal size or ideal data against budget: all methods, the frontier and its crossings."""

from __future__ import annotations

import math
from html import escape

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.view import Ask, View, budget_range, figure, styled
from toolkit.figures import colour, law_by_budget, loss_by_budget
from toolkit.figures.style import INK
from toolkit.laws import Estimate
from toolkit.recipe.study import Study
from toolkit.text import count
from toolkit.words import crossing_in_words, loss, method_name, spread

QUANTITIES = {"loss": "loss", "ideal size": "params", "ideal data": "tokens"}


class FrontierView(View):
    """One law a method; a line and a point each mark the budget of the slider."""

    title = "Loss by budget"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=150)
        self.quantity = widgets.ToggleButtons(options=QUANTITIES, style={"button_width": "130px"})
        self.controls.children = (self.quantity,)
        alerts.observe(self.quantity, lambda _: self._change())

    def load(self, study: Study) -> None:
        self.study = study
        self._draw()

    def show(self, ask: Ask) -> None:
        self.ask = ask
        recipe = ask.recipe(self.study)
        at = min(max(ask.budget_flop, self.ends[0]), self.ends[1])
        self.line.set_xdata([at, at])
        lines = []
        for choice in recipe.methods:
            name, told, show = method_name(choice.method), choice.loss, loss
            if self.quantity.value == "loss":
                name += f" of {choice.decoder}"
            else:
                ideal = ask.question(self.study).ideal(choice.method)
                told, show = getattr(ideal, self.quantity.value), count
            known = _is_told(told)
            point = self.points[choice.method]
            point.set_data([at] if known else [], [told.value] if known else [])
            lines.append(f"{name} {show(told.value) + ' ' if known else ''}({spread(told, show)})")
        html = f"<p>At <b>{escape(ask.in_words)}</b>: {escape('; '.join(lines))}.</p>"
        for crossing in recipe.crossings:
            html += f"<p>{escape(crossing_in_words(crossing))}</p>"
        self.paint(f"At {ask.in_words}: {'; '.join(lines)}.", html)

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
            m: ax.plot([], [], "o", ms=11, mfc=colour(m), mec=INK)[0] for m in self.study.methods
        }
        self.drawing = Drawing(drawn, [self.line, *self.points.values()])

    def _change(self) -> None:
        self._draw()
        self.show(self.ask)


def _is_told(estimate: Estimate) -> bool:
    """Whether there is a number: an ideal that may lie beyond all that was searched is none."""
    return estimate.low > 0 and math.isfinite(estimate.value + estimate.high)

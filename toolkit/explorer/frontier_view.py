"""Loss, ideal size or ideal data against budget: all methods, the frontier and its crossings."""

from __future__ import annotations

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.view import View
from toolkit.figures.budget import BudgetScene
from toolkit.text import count
from toolkit.words import crossing_in_words, loss, method_name, told

QUANTITIES = {"loss": "loss", "ideal size": "params", "ideal data": "tokens"}


class FrontierView(View[BudgetScene]):
    """One law a method; a line and a point each mark the budget of the slider."""

    title = "Loss by budget"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=150)
        self.quantity = widgets.ToggleButtons(options=QUANTITIES, style={"button_width": "130px"})
        self.controls.children = (self.quantity,)
        alerts.observe(self.quantity, self.restage)

    def make(self) -> BudgetScene:
        return BudgetScene(self.answer.study, self.quantity.value)

    def words(self) -> tuple[str, ...]:
        of_loss = self.quantity.value == "loss"
        lines = []
        for method, estimate in self.scene.told(self.answer).items():
            decoder = f" of {self.answer.best[method].decoder}" if of_loss else ""
            value = told(estimate, loss if of_loss else count)
            lines.append(f"{method_name(method)}{decoder} {value}")
        crossings = map(crossing_in_words, self.answer.recipe.crossings)
        return (f"At {self.answer.said}: {'; '.join(lines)}.", *(f"{c}." for c in crossings))

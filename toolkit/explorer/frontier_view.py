"""Loss, ideal size or ideal data against budget: all methods, the frontier and its crossings."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.view import Ask, View
from toolkit.figures.budget import BudgetScene
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
        self.scene = self.stage(lambda: BudgetScene(study, self.quantity.value))

    def show(self, ask: Ask) -> None:
        self.ask, answer = ask, ask.answer(self.study)
        self.scene.move(answer)
        decoders = {choice.method: choice.decoder for choice in answer.recipe.methods}
        of_loss = self.quantity.value == "loss"
        show, lines = loss if of_loss else count, []
        for method, told in self.scene.told(answer).items():
            name = method_name(method) + (f" of {decoders[method]}" if of_loss else "")
            value = f"{show(told.value)} " if told.is_told else ""
            lines.append(f"{name} {value}({spread(told, show)})")
        html = f"<p>At <b>{escape(ask.in_words)}</b>: {escape('; '.join(lines))}.</p>"
        for crossing in answer.recipe.crossings:
            html += f"<p>{escape(crossing_in_words(crossing))}</p>"
        self.paint(f"At {ask.in_words}: {'; '.join(lines)}.", html)

    def _change(self) -> None:
        self.load(self.study)
        self.show(self.ask)

"""The law, hands on: choose a form, leave out runs, see fit, residuals and held-out error move."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets as widgets
import numpy as np

from toolkit.errors import ToolkitError
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.controls import CountControl
from toolkit.explorer.latest import Latest
from toolkit.explorer.view import View
from toolkit.explorer.words import examination_in_words
from toolkit.figures.examination import ExaminationScene
from toolkit.laws.examination import Examination, examine
from toolkit.text import count, scientific
from toolkit.words import method_name

FORMS = {
    "bounded: E + (ln K − E) x/(1 + x)": "bounded",
    "parametric: E + A N⁻ᵃ + B D⁻ᵇ": "parametric",
    "saturating: E + A C⁻ᵃ": "saturating",
    "power: A C⁻ᵃ": "power",
}


class LawView(View[ExaminationScene]):
    """Left the runs and the fit, right the residuals and the optimal losses with their law.

    A click on a run leaves it out or takes it back; so does the list, from the keyboard.
    """

    title = "The law, hands on"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=84)
        self.picture.clickable = True
        narrow = widgets.Layout(width="290px")
        self.method = widgets.Dropdown(description="method", layout=narrow)
        self.form = widgets.Dropdown(
            options=FORMS, value="bounded", description="form", layout=narrow
        )
        self.highest = CountControl("leave out the highest")
        self.lowest = CountControl("smallest budgets out")
        self.held_out = CountControl("budgets held out", least=1)
        self.dropped = widgets.SelectMultiple(
            description="left out", layout=widgets.Layout(width="360px", height="96px")
        )
        self.all_back = widgets.Button(description="take all back")
        counts = widgets.VBox([c.widget for c in (self.highest, self.lowest, self.held_out)])
        choices = widgets.VBox([self.method, self.form, self.all_back])
        self.controls.children = (choices, counts, self.dropped)
        self.result: Examination | None = None
        self.redraw = Latest(alerts.guard(self._examine))
        alerts.observe(self.method, self.restage)
        rules = (self.highest.slider, self.lowest.slider, self.held_out.slider)
        for control in (self.form, self.dropped, *rules):
            alerts.observe(control, self.redraw.request)
        self.all_back.on_click(alerts.guard(lambda _: self._take_all_back()))
        self.picture.on_click(alerts.guard(self._click))

    def load(self) -> None:
        study = self.answer.study
        with self.alerts.quiet():
            self.method.options = [(method_name(m), m) for m in study.methods]
            self.method.value = study.methods[0]
            chance = math.isfinite(study.surface.cells.chance)
            self.form.value = "bounded" if chance else "parametric"
        self.stage()

    def make(self) -> ExaminationScene:
        runs = self.answer.study.best
        self.rows = runs[runs["method"] == self.method.value].reset_index(drop=True)
        self._offer()
        return ExaminationScene(self.rows)

    def move(self) -> None:
        if not self.is_painted:  # No budget and no limit moves these laws.
            self._examine()

    @property
    def kept(self) -> Any:
        """(n,) which runs are used, by the rules and by hand."""
        rows = self.rows
        keep = np.ones(len(rows), bool)
        keep[list(self.dropped.value)] = False
        budgets = np.unique(rows["budget_flop"])
        keep &= (rows["budget_flop"] >= budgets[self.lowest.value]).to_numpy()
        highest = np.argsort(rows["loss"].to_numpy())[::-1]
        keep[highest[: self.highest.value]] = False
        return keep

    def _take_all_back(self) -> None:
        with self.alerts.quiet():
            self.highest.slider.value = self.lowest.slider.value = 0
            self.dropped.value = ()
        self._examine()

    def _click(self, x: float, y: float) -> None:
        """Leave out the run that was clicked, or take it back."""
        found = self.drawing.nearest(self.scene.runs, self.rows[["params", "loss"]], x, y)
        if found is not None:
            self.dropped.value = tuple(sorted({found} ^ set(self.dropped.value)))

    def _offer(self) -> None:
        """Set the ends of the counts and the list of runs for this method."""
        budgets, losses = self.rows["budget_flop"], self.rows["loss"]
        names = self.rows.get("decoder", self.rows["params"].map(count))
        runs = enumerate(zip(names, budgets, losses, strict=True))
        with self.alerts.quiet():
            self.highest.reach(0, max(0, len(self.rows) - 4))
            self.lowest.reach(0, max(0, budgets.nunique() - 2))
            self.held_out.reach(1, max(1, budgets.nunique() - 1))
            self.dropped.value = ()
            self.dropped.options = [
                (f"{name} at {scientific(float(budget))}: {loss:.3f}", place)
                for place, (name, budget, loss) in runs
            ]

    def _examine(self) -> None:
        keep, self.result = self.kept, None
        try:
            held_out = self.held_out.value
            self.result = examine(self.rows, self.form.value, held_out=held_out, keep=keep)
            said = examination_in_words(self.result)
        except ToolkitError as refusal:
            said = str(refusal)
        self.scene.move((keep, self.result))
        self.paint(said)

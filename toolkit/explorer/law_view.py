"""The law, hands on: choose a form, leave out runs, see fit, residuals and held-out error move."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets as widgets
import numpy as np

from toolkit.errors import ToolkitError
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.latest import Latest
from toolkit.explorer.view import Ask, View
from toolkit.explorer.words import examination_in_words
from toolkit.figures.examination import ExaminationScene
from toolkit.laws.examination import Examination, examine
from toolkit.recipe.study import Study
from toolkit.text import count, scientific
from toolkit.words import method_name

FORMS = {
    "bounded: E + (ln K − E) x/(1 + x)": "bounded",
    "parametric: E + A N⁻ᵃ + B D⁻ᵇ": "parametric",
    "saturating: E + A C⁻ᵃ": "saturating",
    "power: A C⁻ᵃ": "power",
}


class LawView(View):
    """Left the runs and the fit, right the residuals and the optimal losses with their law.

    A click on a run leaves it out or takes it back; so does the list, from the keyboard.
    """

    title = "The law, hands on"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=84)
        self.picture.clickable = True
        narrow, twin = widgets.Layout(width="290px"), widgets.Layout(width="60px")
        self.method = widgets.Dropdown(description="method", layout=narrow)
        self.form = widgets.Dropdown(
            options=FORMS, value="bounded", description="form", layout=narrow
        )
        self.highest = _Count("leave out the highest", twin)
        self.lowest = _Count("smallest budgets out", twin)
        self.held_out = _Count("budgets held out", twin, least=1)
        self.dropped = widgets.SelectMultiple(
            description="left out", layout=widgets.Layout(width="360px", height="96px")
        )
        self.all_back = widgets.Button(description="take all back")
        counts = widgets.VBox([c.widget for c in (self.highest, self.lowest, self.held_out)])
        choices = widgets.VBox([self.method, self.form, self.all_back])
        self.controls.children = (choices, counts, self.dropped)
        self.result: Examination | None = None
        self._busy = True
        self.redraw = Latest(alerts.guard(self._move))
        alerts.observe(self.method, lambda _: self._change_method())
        alerts.observe(self.form, lambda _: self._ask())
        for control in (self.highest, self.lowest, self.held_out):
            alerts.observe(control.slider, lambda _: self._ask())
        alerts.observe(self.dropped, lambda _: self._ask())
        self.all_back.on_click(alerts.guard(lambda _: self._take_all_back()))
        self.picture.on_click(alerts.guard(self._click))

    def load(self, study: Study) -> None:
        self.study = study
        self._busy = True
        self.method.options = [(method_name(m), m) for m in study.methods]
        self.method.value = study.methods[0]
        chance = math.isfinite(study.surface.cells.chance)
        self.form.value = "bounded" if chance else "parametric"
        self._draw()

    def show(self, ask: Ask) -> None:
        self._busy = False
        if not self.is_painted:  # No budget and no limit moves these laws.
            self._move()

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

    def _ask(self) -> None:
        if not self._busy:
            self.redraw.request()

    def _change_method(self) -> None:
        if not self._busy:
            self._draw()
            self._move()

    def _take_all_back(self) -> None:
        self._busy = True
        self.highest.slider.value = self.lowest.slider.value = 0
        self.dropped.value = ()
        self._busy = False
        self._move()

    def _click(self, x: float, y: float) -> None:
        """Leave out the run that was clicked, or take it back."""
        assert self.drawing is not None
        found = self.drawing.nearest(self.scene.runs, self.rows[["params", "loss"]], x, y)
        if found is not None:
            self.dropped.value = tuple(sorted({found} ^ set(self.dropped.value)))

    def _draw(self) -> None:
        """The scene of a method, and what can be chosen of its runs."""
        study = self.study
        self.rows = study.best[study.best["method"] == self.method.value].reset_index(drop=True)
        self._offer(len(set(self.rows["budget_flop"])))
        self.scene = self.stage(lambda: ExaminationScene(self.rows))

    def _offer(self, budgets: int) -> None:
        """Set the ends of the counts and the list of runs for this method."""
        self._busy = True
        self.highest.reach(0, max(0, len(self.rows) - 4))
        self.lowest.reach(0, max(0, budgets - 2))
        self.held_out.reach(1, max(1, budgets - 1))
        names = self.rows.get("decoder", self.rows["params"].map(count))
        self.dropped.value = ()
        self.dropped.options = [
            (f"{name} at {scientific(float(budget))}: {loss:.3f}", place)
            for place, (name, budget, loss) in enumerate(
                zip(names, self.rows["budget_flop"], self.rows["loss"], strict=True)
            )
        ]
        self._busy = False

    def _move(self) -> None:
        keep, self.result = self.kept, None
        try:
            held_out = self.held_out.value
            self.result = examine(self.rows, self.form.value, held_out=held_out, keep=keep)
            said = examination_in_words(self.result)
        except ToolkitError as refusal:
            said = str(refusal)
        self.scene.move((keep, self.result))
        self.paint(said)


class _Count:
    """A whole number: slider and numeric twin."""

    def __init__(self, label: str, twin: widgets.Layout, *, least: int = 0) -> None:
        name = widgets.Label(label, layout=widgets.Layout(width="140px"))
        self.slider = widgets.IntSlider(
            least, min=least, max=least, readout=False, tooltip=label,
            layout=widgets.Layout(width="105px"),
        )  # fmt: skip
        self.twin = widgets.BoundedIntText(least, min=least, max=least, layout=twin, tooltip=label)
        widgets.link((self.slider, "value"), (self.twin, "value"))
        self.widget = widgets.HBox([name, self.slider, self.twin])

    @property
    def value(self) -> int:
        return int(self.slider.value)

    def reach(self, least: int, most: int) -> None:
        """Set the ends and go back to the least."""
        for part in (self.twin, self.slider):
            part.value = least
            part.max = max(most, least)

"""The law, hands on: choose a form, leave out runs, see fit, residuals and held-out error move."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.examine import FORMS, Examination, examine
from toolkit.explorer.latest import Latest
from toolkit.explorer.view import Ask, View, figure, styled
from toolkit.figures import budget_colours, budget_legend, log_axis
from toolkit.figures.style import BAND, INK, LOSS
from toolkit.recipe.study import Study
from toolkit.text import count, scientific
from toolkit.words import method_name


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
            options=FORMS,
            value="bounded",
            description="form",
            layout=narrow,
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
        found = self.drawing.nearest(self.runs_ax, self.rows[["params", "loss"]], x, y)
        if found is not None:
            self.dropped.value = tuple(sorted({found} ^ set(self.dropped.value)))

    @styled
    def _draw(self) -> None:
        """The figure for a method: every artist that will ever move is made here."""
        study = self.study
        self.rows = study.best[study.best["method"] == self.method.value].reset_index(drop=True)
        budgets = [float(b) for b in np.unique(self.rows["budget_flop"])]
        self._offer(budgets)
        drawn = figure()
        self.runs_ax = runs = drawn.add_axes((0.065, 0.14, 0.43, 0.83))
        residuals = drawn.add_axes((0.585, 0.61, 0.40, 0.36))
        optima = drawn.add_axes((0.585, 0.14, 0.40, 0.33))
        shades = budget_colours(budgets)
        blank: dict[str, Any] = {"ls": "", "mew": 0}
        self.points, self.curves, self.errors = {}, {}, {}
        for budget in budgets:
            look = {"color": shades[budget]}
            (self.curves[budget],) = runs.plot([], [], lw=1.6, **look)
            (self.points[budget],) = runs.plot([], [], "o", ms=6, **blank, **look)
            (self.errors[budget],) = residuals.plot([], [], "o", ms=5, **blank, **look)
        (self.out,) = runs.plot([], [], "x", ms=7, color="#999999", mew=1.5)
        (self.line,) = optima.plot([], [], color=INK, lw=1.5)
        (self.predicted,) = optima.plot([], [], "D", mfc=BAND, mec=INK, ms=9)
        (self.seen,) = optima.plot([], [], "o", color=INK, ms=5)
        budget_legend(runs, shades, loc="upper left", fontsize="small", title_fontsize="small")
        _limits(runs, self.rows["params"], self.rows["loss"])
        _limits(residuals, self.rows["params"], None)
        _limits(optima, self.rows["budget_flop"], self.rows["loss"])
        optima.set_ylim(*_optimal_range(self.rows))
        log_axis(runs.xaxis, count)
        log_axis(residuals.xaxis, count)
        log_axis(optima.xaxis, scientific)
        residuals.set_ylim(-0.08, 0.08)
        residuals.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}")
        residuals.axhline(0, color="#999999", lw=0.8, zorder=0)
        runs.set(xlabel="non-embedding parameters", ylabel=LOSS)
        residuals.set(xlabel="non-embedding parameters", ylabel="seen over fitted")
        optima.set(xlabel="budget (FLOP); ◆ held out, predicted", ylabel="optimal loss")
        per_budget = [*self.curves.values(), *self.points.values(), *self.errors.values()]
        moving = [*per_budget, self.out, self.line, self.predicted, self.seen]
        self.drawing = Drawing(drawn, moving, [BAND])

    def _offer(self, budgets: list[float]) -> None:
        """Set the ends of the counts and the list of runs for this method."""
        self._busy = True
        self.highest.reach(0, max(0, len(self.rows) - 4))
        self.lowest.reach(0, max(0, len(budgets) - 2))
        self.held_out.reach(1, max(1, len(budgets) - 1))
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
        keep = self.kept
        params, losses = self.rows["params"].to_numpy(), self.rows["loss"].to_numpy()
        of_budget = self.rows["budget_flop"].to_numpy()
        for budget, points in self.points.items():
            here = keep & (of_budget == budget)
            points.set_data(params[here], losses[here])
        self.out.set_data(params[~keep], losses[~keep])
        try:
            held_out = self.held_out.value
            self.result = examine(self.rows, self.form.value, held_out=held_out, keep=keep)
        except ToolkitError as refusal:
            self.result = None
            for line in (*self.curves.values(), *self.errors.values(), self.line, self.seen,
                         self.predicted):  # fmt: skip
                line.set_data([], [])
            self.paint(str(refusal), f"<p>{escape(str(refusal))}</p>")
            return
        self._move_law(self.result, params)
        said = self.result.in_words()
        self.paint(said, f"<p>{escape(said)}</p>")

    def _move_law(self, result: Examination, params: Any) -> None:
        of_budget = self.rows["budget_flop"].to_numpy()
        for budget, curve in self.curves.items():
            curve.set_data(*result.curves.get(budget, ([], [])))
            curve.set_linestyle("-" if budget <= result.cut * 1.001 else "--")
            here = (of_budget == budget) & np.isfinite(result.residuals)
            self.errors[budget].set_data(params[here], result.residuals[here])
        self.line.set_data(*result.line)
        self.seen.set_data(*result.optima)
        self.predicted.set_data(result.prediction.budgets, result.prediction.predicted)


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


def _limits(ax: Any, x: pd.Series, y: pd.Series | None) -> None:
    low, high = float(x.min()), float(x.max())
    ax.set_xscale("log")
    reach = max(high / low, 1.5) ** 0.07
    ax.set_xlim(low / reach, high * reach)
    if y is not None:
        room = 0.06 * float(y.max() - y.min()) or 0.1
        ax.set_ylim(float(y.min()) - room, float(y.max()) + room)


def _optimal_range(rows: pd.DataFrame) -> tuple[float, float]:
    best = rows.groupby("budget_flop")["loss"].min()
    room = 0.25 * float(best.max() - best.min()) or 0.2
    return float(best.min()) - room, float(best.max()) + room

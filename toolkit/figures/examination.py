"""One law under examination: runs with the fit, its residuals, and the optimal losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from toolkit.figures.isoflop import SIZES
from toolkit.figures.scene import Scene, canvas
from toolkit.figures.style import (
    BAND,
    BUDGET,
    INK,
    LOSS,
    budget_colours,
    budget_legend,
    log_axes,
)
from toolkit.laws.examination import Examination
from toolkit.laws.optimiser import Array, Mask
from toolkit.text import count, scientific


class ExaminationScene(Scene[tuple[Mask, Examination | None]]):
    """The runs of one method: which are kept (n,), and what a law makes of them; None if nothing.

    Attributes:
        runs: The panel of loss by size, where runs can be clicked.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        columns = rows[["params", "loss", "budget_flop"]].to_numpy(float).T
        self.params, self.losses, self.of_budget = columns
        budgets = np.unique(self.of_budget)
        figure = canvas()
        self.runs = runs = figure.add_axes((0.065, 0.14, 0.43, 0.68))
        residuals = figure.add_axes((0.585, 0.61, 0.40, 0.36))
        optima = figure.add_axes((0.585, 0.14, 0.40, 0.33))
        shades = budget_colours(budgets.tolist())
        dots: dict[str, Any] = {"marker": "o", "ls": "", "mew": 0}
        self.points, self.curves, self.errors = {}, {}, {}
        for budget, shade in shades.items():
            (self.curves[budget],) = runs.plot([], [], lw=1.6, color=shade)
            (self.points[budget],) = runs.plot([], [], ms=6, color=shade, **dots)
            (self.errors[budget],) = residuals.plot([], [], ms=5, color=shade, **dots)
        (self.out,) = runs.plot([], [], "x", ms=7, color="#999999", mew=1.5)
        (self.line,) = optima.plot([], [], color=INK, lw=1.5)
        (self.predicted,) = optima.plot([], [], "D", mfc=BAND, mec=INK, ms=9)
        (self.seen,) = optima.plot([], [], "o", color=INK, ms=5)
        budget_legend(
            runs, shades, loc="lower left", bbox_to_anchor=(-0.02, 1), borderpad=0, ncols=5,
            columnspacing=1.2, handlelength=1.4, fontsize="small", title_fontsize="small",
        )  # fmt: skip
        for ax, x, show in (
            (runs, self.params, count),
            (residuals, self.params, count),
            (optima, self.of_budget, scientific),
        ):
            log_axes(ax, x, show=show)
        best = rows.groupby("budget_flop")["loss"].min().to_numpy()
        runs.set(xlabel=SIZES, ylabel=LOSS, ylim=_around(self.losses, 0.06))
        residuals.set(xlabel=SIZES, ylabel="seen over fitted", ylim=(-0.08, 0.08))
        residuals.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}")
        residuals.axhline(0, color="#999999", lw=0.8, zorder=0)
        optima.set(ylabel="optimal loss", ylim=_around(best, 0.25))
        optima.set_xlabel(f"{BUDGET}; ◆ held out, predicted")
        self.of_law = [
            *self.curves.values(),
            *self.errors.values(),
            *(self.line, self.predicted, self.seen),
        ]
        super().__init__(figure, [*self.points.values(), self.out, *self.of_law])

    def move(self, answer: tuple[Mask, Examination | None]) -> None:
        keep, result = answer
        for budget, points in self.points.items():
            here = keep & (self.of_budget == budget)
            points.set_data(self.params[here], self.losses[here])
        self.out.set_data(self.params[~keep], self.losses[~keep])
        for artist in self.of_law:
            artist.set_data([], [])
        if result is None:
            return
        known = np.isfinite(result.residuals)
        for budget, curve in self.curves.items():
            curve.set_data(*result.curves.get(budget, ([], [])))
            curve.set_linestyle("-" if budget <= result.prediction.cut * 1.001 else "--")
            here = known & (self.of_budget == budget)
            self.errors[budget].set_data(self.params[here], result.residuals[here])
        self.line.set_data(*result.line)
        self.seen.set_data(*result.optima)
        self.predicted.set_data(result.prediction.budgets, result.prediction.predicted)


def _around(values: Array, share: float) -> tuple[float, float]:
    """Limits of an axis with room on both sides, as a share of what the values span."""
    low, high = float(values.min()), float(values.max())
    room = share * (high - low) or 0.1
    return low - room, high + room

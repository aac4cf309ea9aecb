"""The live page of a calibration: what is predicted at the target, the runs, the regret."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from toolkit.calibrate.campaign import Standing
from toolkit.figures.isoflop import SIZES
from toolkit.figures.style import INK, LOSS, QUIET, STAR, colour, law_line, log_axes, style
from toolkit.text import scientific
from toolkit.words import method_name


def picture(standing: Standing) -> Figure:
    """Left, every choice at the target with its 90 % interval, runs made, as they would be with
    the rate and batch taken now, and next; right, the expected regret against the money spent.
    """
    with style():
        figure = Figure(figsize=(11, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _surface(standing, left)
        _regret(standing, right)
    return figure


def _surface(standing: Standing, ax: Any) -> None:
    pool, runs, belief = standing.pool, standing.runs, standing.belief
    for number, method in enumerate(pool.methods):
        color = colour(method)
        mine = np.flatnonzero(pool.method == number)
        if belief is not None:
            low, high = np.exp(np.quantile(belief.target[:, mine], (0.05, 0.95), axis=0))
            middle = np.exp(belief.target[:, mine].mean(axis=0))  # Where the star stands, too.
            names = (method_name(method), "")
            law_line(ax, pool.params[mine], (middle, low, high), color, labels=names)
        made = pool.method[runs.choice] == number
        size = 15 + 4000 * runs.flop[made] / pool.target
        ax.scatter(
            pool.params[runs.choice[made]], runs.loss[made], size, color=color, alpha=0.8, zorder=4
        )
    places = {name: k for k, name in enumerate(standing.candidates.names)}
    for run in standing.following.runs if standing.following else ():
        ax.axvline(pool.params[places[str(run["decoder"])]], color=QUIET, linestyle=":")
    if belief is not None:
        best = belief.best
        loss = float(np.exp(belief.target[:, best].mean()))
        shade = colour(pool.methods[pool.method[best]])
        ax.plot(pool.params[best], loss, ls="", ms=16, mfc=shade, **STAR)
        ax.legend()
    log_axes(ax, pool.params)
    title = f"Predicted at {scientific(pool.target, 3)} FLOP"
    ax.set(xlabel=SIZES, ylabel=LOSS, title=title)


def _regret(standing: Standing, ax: Any) -> None:
    book, spent = standing.book, 0.0
    at, regrets = [], []
    for each in book.rounds:
        if each.regret is not None:
            at.append(spent)
            regrets.append(each.regret)
        spent += sum(float(run["budget_flop"]) for run in each.runs)
    if standing.belief is not None:
        at.append(standing.spent)
        regrets.append(standing.belief.regret)
    target = book.asked.target
    ax.plot([100 * a / target for a in at], [100 * r for r in regrets], marker="o", color=INK)
    ax.axhline(1, color=QUIET, linestyle=":")
    ax.set(
        xlim=(0, 100 * book.asked.spend / target),
        ylim=(0, None),
        xlabel="spent, % of the target",
        ylabel="expected regret, %",
        title=f"{scientific(standing.left, 2)} FLOP left",
    )

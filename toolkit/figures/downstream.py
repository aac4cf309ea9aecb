"""A score on a task against the contrastive loss, run by run."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toolkit.figures.style import INK, LOSS, budget_colours, marker, single
from toolkit.recipe.downstream import Downstream
from toolkit.text import scientific
from toolkit.words import method_name


def score_by_loss(found: Downstream) -> Figure:
    """A point a run, shaded by budget, marked by method; lines for what is had without tuning."""
    figure, ax = single()
    runs = found.runs
    shades = budget_colours(runs["budget_flop"].unique())
    for run in runs.to_dict("records"):
        mark = marker(run["method"])
        ax.plot(run["loss"], run["score"], mark, color=shades[run["budget_flop"]], ms=6)
    handles = [
        Line2D([], [], ls="", marker=marker(m), color=INK, label=method_name(m))
        for m in dict.fromkeys(map(str, runs["method"]))
    ]
    handles += [
        Line2D([], [], ls="", marker="s", color=shade, label=f"{scientific(budget)} FLOP")
        for budget, shade in sorted(shades.items())
    ]
    if found.zero:
        name, best = max(found.zero.items(), key=lambda item: item[1])
        line = ax.axhline(best, color=INK, ls=":", lw=1.4, label=f"{name}, untuned")
        handles.append(line)
    for name, value in found.other.items():
        handles.append(ax.axhline(value, color=INK, ls="--", lw=1.4, label=name))
    ax.set(xlabel=LOSS, ylabel=f"{found.task}: {found.measure}")
    rho = found.correlation
    told = f"Spearman {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})"
    ax.set_title(f"No correlation: {found.untold}" if found.untold else told)
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))
    return figure

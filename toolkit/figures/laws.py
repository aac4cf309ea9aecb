"""Figures of a single fit, for judging it: band, residuals, profile, rival optima, rollout.

Each function draws into the Axes it is given and returns it; `save` writes all that a fit has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from toolkit.errors import ToolkitError
from toolkit.figures.isoflop import SIZES, parabolas
from toolkit.figures.style import (
    BUDGET,
    INK,
    LOSS,
    alone,
    budget_colours,
    budget_legend,
    colour,
    law_line,
    log_axes,
    note,
    style,
)
from toolkit.laws import Fit, IsoFlopFit, PowerLaw, Profile, Rollout, profile
from toolkit.laws.estimate import interval
from toolkit.laws.optimiser import Array, Rows
from toolkit.text import count

ROLE_LABELS = {
    "x": "input",
    "params": SIZES,
    "tokens": "tokens",
    "unique_tokens": "unique tokens",
}
INTERVAL = "95 %"
DRAWN = 5000  # Of more runs, so many are drawn.
PROFILED = 2000  # Runs up to which profiles are drawn.


def save(
    fit: Fit | IsoFlopFit,
    folder: Path,
    *,
    columns: Mapping[str, str] | None = None,
    rollout: Rollout | None = None,
) -> list[Path]:
    """Write every figure that a fit has into a folder, as PNG files.

    A law: fit, residuals, profiles (of every free parameter, up to 2,000 runs) and rivals. IsoFLOP:
    parabolas, and each law through their minima. With a rollout: that too.

    Args:
        fit: The fit.
        folder: Made where it is missing.
        columns: Column name by role, for the labels of the axes.
        rollout: Held-out predictions of the same table.

    Raises:
        ToolkitError: The folder cannot be written.
    """
    with style():
        figures = _isoflop(fit) if isinstance(fit, IsoFlopFit) else _law(fit, columns or {})
        if rollout is not None:
            figures["rollout"] = alone(heldout_rollout, rollout)
        paths = [folder / f"{name}.png" for name in figures]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, figure in zip(paths, figures.values(), strict=True):
                figure.savefig(path)
        except OSError as error:
            raise ToolkitError(f"cannot write figures into {folder}: {error.strerror}") from error
    return paths


def fit_with_band(
    fit: Fit | PowerLaw, ax: Axes, *, label: str = "", name: str = "", beyond: float = 10.0
) -> Axes:
    """A law of one input over its points, with the band of its resamples.

    Args:
        fit: A fit of a one-input form, or a power law of the budget.
        ax: Where to draw.
        label, name: Of the horizontal and the vertical axis; by default what the fit knows.
        beyond: The law is drawn dashed so far beyond the largest input.
    """
    if isinstance(fit, PowerLaw):
        x, y, label = np.array(fit.budgets), np.array(fit.values), label or BUDGET
        usual = LOSS if fit.quantity == "loss" else ROLE_LABELS.get(fit.quantity, fit.quantity)
        points = "minima"
    else:
        x, y, label = fit.inputs[0], fit.loss, label or _role_label(fit, {})
        usual, points = "loss", "runs"
    tried = (float(x.min()), float(x.max()))
    inside, outside = np.geomspace(*tried, 120), np.geomspace(x.max(), x.max() * beyond, 60)
    grid = np.append(inside, outside[1:])
    law = _band(fit, grid)
    law_line(ax, grid, law, colour("full"), tried=tried, labels=("law", INTERVAL))
    some = _some(len(x))
    ax.plot(x[some], y[some], "o", color=INK, ms=4.5, mew=0, alpha=0.8, label=points, zorder=4)
    log_axes(ax, np.append(x, grid), np.append(y, law[0]))
    ax.set(xlabel=label, ylabel=name or usual)
    ax.legend()
    return ax


def seen_by_predicted(fit: Fit, ax: Axes) -> Axes:
    """The loss seen against the loss predicted, with the band of the prediction: of any law."""
    some = _some(fit.n_points)
    predicted = fit.form.value(fit.theta, fit.inputs[:, some])
    order = np.argsort(predicted)
    predicted, some = predicted[order], some[order]
    ends = np.array([[e.low, e.high] for e in fit.predict(fit.inputs[:, some])])
    seen, blue = fit.loss[some], colour("full")
    if np.isfinite(ends).any():
        bars = np.abs(ends.T - predicted)
        ax.errorbar(
            predicted, predicted, bars, fmt="none", ecolor=blue, alpha=0.45, lw=1.2, label=INTERVAL
        )
    ax.plot(predicted, predicted, color=blue, lw=1.4, label="law")
    ax.plot(predicted, seen, "o", color=INK, ms=4, mew=0, alpha=0.7, label="runs")
    log_axes(ax, predicted, np.append(seen, predicted))
    ax.set(xlabel="predicted loss", ylabel="seen loss")
    ax.legend()
    return ax


def residuals(fit: Fit, ax: Axes, *, label: str = "") -> Axes:
    """Residuals against the prediction, coloured by the first input: patterns are misfit."""
    some = _some(fit.n_points)
    first = fit.inputs[0, some]
    predicted = fit.form.value(fit.theta, fit.inputs[:, some])
    seen = (-fit.residual if fit.kind.on_log else -fit.residual / fit.loss)[some]
    dots = ax.scatter(
        predicted, 100 * seen, c=first, norm=LogNorm(first.min(), first.max()),
        cmap="viridis_r", s=18, lw=0, alpha=0.85,
    )  # fmt: skip
    ax.axhline(0, color=INK, lw=1)
    shown = FuncFormatter(lambda value, _: count(value))
    bar = ax.figure.colorbar(dots, ax=ax, format=shown)
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(label or _role_label(fit, {}))
    log_axes(ax, predicted)
    ax.set(xlabel="predicted", ylabel="seen above predicted (%)")
    return ax


def objective_profile(profile: Profile, ax: Axes) -> Axes:
    """The least objective by value of one parameter, and the interval read off it."""
    blue, estimate = colour("full"), profile.estimate
    best = profile.objectives.min()
    ax.plot(profile.values, profile.objectives / best, color=blue, lw=1.8)
    ax.plot(estimate.value, 1, "o", color=blue, ms=7)
    if np.isfinite(profile.threshold):
        ax.axhline(profile.threshold / best, color=INK, lw=1, ls="--")
        ends = [end for end in (estimate.low, estimate.high) if np.isfinite(end)]
        for end in ends:
            ax.axvline(end, color=INK, lw=1, ls=":")
        ax.set_ylim(
            1 - 0.1 * (profile.threshold / best - 1), 1 + 2.5 * (profile.threshold / best - 1)
        )
        low, high = (min(ends), max(ends)) if len(ends) == 2 else profile.values[[0, -1]]
        ax.set_xlim(low - 0.35 * (high - low), high + 0.35 * (high - low))
    ax.set(xlabel=profile.name, ylabel="objective / least")
    return ax


def rival_optima(fit: Fit, ax: Axes) -> Axes:
    """Every optimum that starts came to rest in: its objective, and how many starts it drew."""
    objectives = [fit.objective, *(r.objective for r in fit.rivals)]
    starts = [fit.reached_best, *(r.starts for r in fit.rivals)]
    thetas = [dict(zip(fit.form.names, fit.theta, strict=True)), *(r.params for r in fit.rivals)]
    places = np.arange(len(objectives))[::-1]
    ratio = np.array(objectives) / fit.objective
    shades = [colour("full"), *["#999999"] * len(fit.rivals)]
    ax.hlines(places, 1, ratio, color=shades, lw=2)
    ax.scatter(ratio, places, color=shades, s=50, zorder=3)
    for place, theta, number in zip(places, thetas, starts, strict=True):
        text = "  ".join(f"{name}\u00a0{value:.3g}" for name, value in theta.items())
        words = fill(f"{number} start{'s'[: number != 1]}:  {text}", 60)
        note(ax, words, (0.02, place), (0, 9), ax.get_yaxis_transform())
    ax.set(ylim=(-0.6, len(places) - 0.3), xlabel="objective / least")
    log_axes(ax, np.array([1.0, max(2.0, ratio.max())]))
    ax.set_yticks(places, ["best", *[f"rival {i + 1}" for i in range(len(fit.rivals))]])
    return ax


def heldout_rollout(rollout: Rollout, ax: Axes) -> Axes:
    """Relative errors on held-out budgets by how far they lie above the cut, a line a form."""
    forms = list(dict.fromkeys(p.form for p in rollout.predictions if not p.reason))
    for shade, marker, form in zip(sns.color_palette("colorblind"), "osD^v", forms, strict=False):
        told = [p for p in rollout.predictions if p.form == form and not p.reason]
        for i, p in enumerate(told):
            ax.plot(
                np.array(p.budgets) / p.cut, p.errors, marker + "-", color=shade, ms=4.5, lw=1.3,
                alpha=0.35 + 0.65 * (i + 1) / len(told), label=form if i == len(told) - 1 else None,
            )  # fmt: skip
    ax.axhline(0, color=INK, lw=1)
    factors = [b / p.cut for p in rollout.predictions for b in p.budgets]
    if factors:
        log_axes(ax, np.array(factors), show=lambda v: f"{v:g}×")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="held-out budget / largest fitted", ylabel="predicted above seen")
    if forms:
        ax.legend(title="darker: later cuts")
    return ax


def _law(fit: Fit, columns: Mapping[str, str]) -> dict[str, Figure]:
    label, name = _role_label(fit, columns), columns.get("loss", "loss")
    free = [n for n, low, high in zip(fit.form.names, fit.low, fit.high, strict=True) if low < high]
    figures = {
        "fit": alone(fit_with_band, fit, label=label, name=name)
        if len(fit.form.roles) == 1
        else alone(seen_by_predicted, fit),
        "residuals": alone(residuals, fit, label=label),
        "rivals": alone(rival_optima, fit),
    }
    if fit.n_points <= PROFILED:
        figures["profiles"] = _profiles([profile(fit, name) for name in free])
    return figures


def _profiles(profiles: list[Profile]) -> Figure:
    columns = min(3, len(profiles))
    rows = -(-len(profiles) // columns)
    figure = Figure(figsize=(4 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, one in zip(axes, profiles, strict=False):
        objective_profile(one, ax)
    for ax in axes[len(profiles) :]:
        ax.remove()
    return figure


def _isoflop(fit: IsoFlopFit) -> dict[str, Figure]:
    figures = {"parabolas": alone(_bowls, fit)}
    for quantity, law in fit.usable.items():
        figures[f"{quantity}-law"] = alone(fit_with_band, law)
    return figures


def _bowls(fit: IsoFlopFit, ax: Axes) -> None:
    shades = budget_colours([m.budget_flop for m in fit.minima])
    parabolas(fit, ax, colours=shades)
    budget_legend(ax, shades, marks="parabolas", loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _role_label(fit: Fit, columns: Mapping[str, str]) -> str:
    """What to call a law's first input: a known column in words, another by its name."""
    role = fit.form.roles[0]
    column = columns.get(role, role)
    return {**ROLE_LABELS, "budget_flop": BUDGET}.get(column, column)


def _some(count: int) -> Rows:
    """Which of so many runs are drawn."""
    return np.arange(0, count, -(-count // DRAWN))


def _band(fit: Fit | PowerLaw, grid: Array) -> tuple[Array, Array, Array]:
    """The law at a grid (m,), and the ends of its interval."""
    if isinstance(fit, PowerLaw):
        middle, drawn = fit.value(grid), fit.predict_draws(grid)
    else:
        middle, drawn = fit.form.value(fit.theta, grid), fit.predict_draws(grid)
    ends = np.array([interval(column, fit.freedom) for column in drawn.T])
    return middle, ends[:, 0], ends[:, 1]

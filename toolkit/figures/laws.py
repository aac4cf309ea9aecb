"""Figures of a single fit, for judging it: band, residuals, profile, rival optima, rollout.

Each function draws into the Axes it is given and returns it; `save` writes all that a fit has.
Matplotlib and seaborn are imported when the first one is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws import Fit, IsoFlopFit, PowerLaw, Profile, Rollout, profile
from toolkit.laws.estimate import interval
from toolkit.laws.optimiser import Array, Rows
from toolkit.text import count, scientific

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROLE_LABELS = {
    "x": "input",
    "params": "non-embedding parameters",
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
    from toolkit.figures.style import style

    with style():
        figures = _isoflop(fit) if isinstance(fit, IsoFlopFit) else _law(fit, columns or {})
        if rollout is not None:
            figures["rollout"] = _one(lambda ax: heldout_rollout(rollout, ax))
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
    from toolkit.figures.style import BUDGET, LOSS, colour

    if isinstance(fit, PowerLaw):
        x, y, label = np.array(fit.budgets), np.array(fit.values), label or BUDGET
        usual = LOSS if fit.quantity == "loss" else ROLE_LABELS.get(fit.quantity, fit.quantity)
        points = "minima"
    else:
        x, y, label = fit.inputs[0], fit.loss, label or _role_label(fit, {})
        usual, points = "loss", "runs"
    blue = colour("full")
    levels = [y]
    inside = np.geomspace(x.min(), x.max(), 120)
    outside = np.geomspace(x.max(), x.max() * beyond, 60)
    for grid, line in ((inside, "-"), (outside, "--")):
        middle, low, high = _band(fit, grid)
        levels.append(middle)
        ax.plot(grid, middle, line, color=blue, lw=1.8, label="law" if line == "-" else None)
        if np.isfinite(low).any():
            ax.fill_between(
                grid, low, high, color=blue, alpha=0.16, lw=0,
                label=INTERVAL if line == "-" else None,
            )  # fmt: skip
    some = _some(len(x))
    ax.plot(x[some], y[some], "o", color="#222222", ms=4.5, mew=0, alpha=0.8, label=points)
    _log_axes(ax, np.append(x, outside), np.concatenate(levels))
    ax.set(xlabel=label, ylabel=name or usual)
    ax.legend()
    return ax


def seen_by_predicted(fit: Fit, ax: Axes) -> Axes:
    """The loss seen against the loss predicted, with the band of the prediction: of any law."""
    from toolkit.figures.style import colour

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
    ax.plot(predicted, seen, "o", color="#222222", ms=4, mew=0, alpha=0.7, label="runs")
    _log_axes(ax, predicted, np.append(seen, predicted))
    ax.set(xlabel="predicted loss", ylabel="seen loss")
    ax.legend()
    return ax


def residuals(fit: Fit, ax: Axes, *, label: str = "") -> Axes:
    """Residuals against the prediction, coloured by the first input: patterns are misfit."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, NullFormatter

    some = _some(fit.n_points)
    first = fit.inputs[0, some]
    predicted = fit.form.value(fit.theta, fit.inputs[:, some])
    seen = (-fit.residual if fit.kind.on_log else -fit.residual / fit.loss)[some]
    dots = ax.scatter(
        predicted, 100 * seen, c=first, norm=LogNorm(first.min(), first.max()),
        cmap="viridis_r", s=18, lw=0, alpha=0.85,
    )  # fmt: skip
    ax.axhline(0, color="#222222", lw=1)
    shown = FuncFormatter(lambda value, _: count(value))
    bar = ax.figure.colorbar(dots, ax=ax, format=shown)
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(label or _role_label(fit, {}))
    _log_axes(ax, predicted, None)
    ax.set(xlabel="predicted", ylabel="seen above predicted (%)")
    return ax


def objective_profile(profile: Profile, ax: Axes) -> Axes:
    """The least objective by value of one parameter, and the interval read off it."""
    from toolkit.figures.style import colour

    blue, estimate = colour("full"), profile.estimate
    best = profile.objectives.min()
    ax.plot(profile.values, profile.objectives / best, color=blue, lw=1.8)
    ax.plot(estimate.value, 1, "o", color=blue, ms=7)
    if np.isfinite(profile.threshold):
        ax.axhline(profile.threshold / best, color="#222222", lw=1, ls="--")
        ends = [end for end in (estimate.low, estimate.high) if np.isfinite(end)]
        for end in ends:
            ax.axvline(end, color="#222222", lw=1, ls=":")
        ax.set_ylim(
            1 - 0.1 * (profile.threshold / best - 1), 1 + 2.5 * (profile.threshold / best - 1)
        )
        low, high = (min(ends), max(ends)) if len(ends) == 2 else profile.values[[0, -1]]
        ax.set_xlim(low - 0.35 * (high - low), high + 0.35 * (high - low))
    ax.set(xlabel=profile.name, ylabel="objective / least")
    return ax


def rival_optima(fit: Fit, ax: Axes) -> Axes:
    """Every optimum that starts came to rest in: its objective, and how many starts it drew."""
    from toolkit.figures.style import colour

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
        ax.annotate(
            fill(f"{number} start{'s'[: number != 1]}:  {text}", 60), (0.02, place), xytext=(0, 9),
            xycoords=ax.get_yaxis_transform(), textcoords="offset points", fontsize="small",
        )  # fmt: skip
    ax.set(ylim=(-0.6, len(places) - 0.3), xlabel="objective / least")
    _log_axes(ax, np.array([1.0, max(2.0, ratio.max())]), None)
    ax.set_yticks(places, ["best", *[f"rival {i + 1}" for i in range(len(fit.rivals))]])
    return ax


def heldout_rollout(rollout: Rollout, ax: Axes) -> Axes:
    """Relative errors on held-out budgets by how far they lie above the cut, a line a form."""
    import seaborn as sns
    from matplotlib.ticker import PercentFormatter

    forms = list(dict.fromkeys(p.form for p in rollout.predictions if not p.reason))
    for shade, marker, form in zip(sns.color_palette("colorblind"), "osD^v", forms, strict=False):
        told = [p for p in rollout.predictions if p.form == form and not p.reason]
        for i, p in enumerate(told):
            ax.plot(
                np.array(p.budgets) / p.cut, p.errors, marker + "-", color=shade, ms=4.5, lw=1.3,
                alpha=0.35 + 0.65 * (i + 1) / len(told), label=form if i == len(told) - 1 else None,
            )  # fmt: skip
    ax.axhline(0, color="#222222", lw=1)
    factors = [b / p.cut for p in rollout.predictions for b in p.budgets]
    if factors:
        _log_axes(ax, np.array(factors), None, show=lambda v: f"{v:g}×")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    ax.set(xlabel="held-out budget / largest fitted", ylabel="predicted above seen")
    if forms:
        ax.legend(title="darker: later cuts")
    return ax


def _law(fit: Fit, columns: Mapping[str, str]) -> dict[str, Figure]:
    label, name = _role_label(fit, columns), columns.get("loss", "loss")
    alone = len(fit.form.roles) == 1
    free = [n for n, low, high in zip(fit.form.names, fit.low, fit.high, strict=True) if low < high]
    figures = {
        "fit": _one(
            (lambda ax: fit_with_band(fit, ax, label=label, name=name))
            if alone
            else (lambda ax: seen_by_predicted(fit, ax))
        ),
        "residuals": _one(lambda ax: residuals(fit, ax, label=label)),
        "rivals": _one(lambda ax: rival_optima(fit, ax)),
    }
    if fit.n_points <= PROFILED:
        figures["profiles"] = _profiles([profile(fit, name) for name in free])
    return figures


def _profiles(profiles: list[Profile]) -> Figure:
    from matplotlib.figure import Figure

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
    from toolkit.figures import budget_colours, budget_legend, parabolas

    def bowls(ax: Axes) -> None:
        shades = budget_colours([m.budget_flop for m in fit.minima])
        parabolas(fit, ax, colours=shades)
        budget_legend(ax, shades, marks="parabolas", loc="upper left", bbox_to_anchor=(1.0, 1.0))

    figures = {"parabolas": _one(bowls)}
    for law in (fit.params_law, fit.tokens_law, fit.loss_law):
        if law.usable:
            figures[f"{law.quantity}-law"] = _one(partial(fit_with_band, law))
    return figures


def _one(draw: Callable[[Axes], object]) -> Figure:
    from toolkit.figures.style import single

    figure, ax = single()
    draw(ax)
    return figure


def _role_label(fit: Fit, columns: Mapping[str, str]) -> str:
    """What to call a law's first input: a known column in words, another by its name."""
    from toolkit.figures.style import BUDGET

    role = fit.form.roles[0]
    column = columns.get(role, role)
    return {**ROLE_LABELS, "budget_flop": BUDGET}.get(column, column)


def _some(count: int) -> Rows:
    """Which of so many runs are drawn."""
    return np.arange(0, count, -(-count // DRAWN))


def _band(fit: Fit | PowerLaw, grid: Array) -> tuple[Array, Array, Array]:
    """The law at a grid (m,), and the ends of its interval."""
    if isinstance(fit, PowerLaw):
        middle = fit.asymptote.value + fit.coefficient.value * grid**fit.exponent.value
        drawn = fit.predict_draws(grid)
    else:
        middle, drawn = fit.form.value(fit.theta, grid), fit.predict_draws(grid)
    ends = np.array([interval(column, fit.freedom) for column in drawn.T])
    return middle, ends[:, 0], ends[:, 1]


def _log_axes(
    ax: Axes, x: Array, y: Array | None, *, show: Callable[[float], str] | None = None
) -> None:
    """Log axes with readable labels, around the values given."""
    from toolkit.figures.style import log_axis

    for axis, values, limits in ((ax.xaxis, x, ax.set_xlim), (ax.yaxis, y, ax.set_ylim)):
        if values is None:
            continue
        low, high = float(np.min(values)), float(np.max(values))
        margin = 1.6 if high == low else max((high / low) ** 0.06, 1.02)
        limits(low / margin, high * margin)
        log_axis(axis, show or _show(high))


def _show(high: float) -> Callable[[float], str]:
    return scientific if high >= 1e10 else count if high >= 1e3 else lambda value: f"{value:g}"

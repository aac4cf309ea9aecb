"""IsoFLOP analysis: a parabola of loss on log size at each budget, and the laws of its minima.

Hoffmann et al. 2022 (arXiv:2203.15556), approach 2. A minimum counts only where the sizes tried
bracket it; elsewhere the best size tried stands in for the loss law, marked as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws.budget_law import PowerLaw, fit_power_law
from toolkit.laws.estimate import UNKNOWN, Estimate
from toolkit.laws.optimiser import Array
from toolkit.laws.parabola import PRIOR, SIZES, Parabola, Redraws, redraw
from toolkit.laws.table import Dropped, check

MANY = 20  # Budgets beyond which most must be shared by several runs.


@dataclass(frozen=True)
class Minimum:
    """The compute-optimal size at one budget.

    Attributes:
        budget_flop: In FLOP.
        status: "interior"; "edge-low" or "edge-high" where the best is at or beyond the smallest
            or largest size tried; "no-curvature" where the parabola does not open upwards;
            "too-few" sizes for a parabola.
        reason: A sentence; empty for an interior minimum well inside the sizes tried.
        params, tokens, loss: At the vertex, with intervals; NaN where the minimum is not interior.
        curvature: Second derivative of the loss (or its log) by the log size; NaN if too few.
        best_params, best_tokens, best_loss: The size with the lowest mean loss of those tried.
        parabola: For drawing: `parabola.curve(sizes)`.
        failed_share: The share of resamples that had no minimum at this budget.
    """

    budget_flop: float
    status: str
    reason: str
    params: Estimate
    tokens: Estimate
    loss: Estimate
    curvature: float
    best_params: float
    best_tokens: float
    best_loss: float
    parabola: Parabola
    failed_share: float

    @property
    def optimum(self) -> tuple[float, float, float]:
        """params, tokens and loss at the vertex, or else at the best size tried."""
        if self.status == "interior":
            return self.params.value, self.tokens.value, self.loss.value
        return self.best_params, self.best_tokens, self.best_loss


@dataclass(frozen=True)
class IsoFlopFit:
    """Minima by budget and the laws through them.

    Attributes:
        x: Which size the parabolas are in: params or tokens.
        minima: By ascending budget.
        laws: By quantity. params and tokens: N*(C) and D*(C), each through the interior minima
            only. loss: L*(C), saturating given five budgets, else a power law; best-tried points
            stand in where a minimum is not interior (its `sources`).
        n_points: Runs that were fitted.
        dropped: Rows that were not.
        freedom: Degrees of freedom that the noise of a budget is known by.
        resamples, seed: Of the bootstrap.
        failed_resamples: By law, the resamples with too few minima for it.
        warnings: Sentences for a reader.
        draws: The resamples behind every interval.
    """

    x: str
    minima: tuple[Minimum, ...]
    laws: dict[str, PowerLaw]
    n_points: int
    dropped: tuple[Dropped, ...]
    freedom: int
    resamples: int
    seed: int
    failed_resamples: dict[str, int]
    warnings: tuple[str, ...]
    draws: Redraws = field(repr=False, compare=False)

    @property
    def usable(self) -> dict[str, PowerLaw]:
        """The laws that there are."""
        return {quantity: law for quantity, law in self.laws.items() if law.usable}


def fit_isoflop(
    table: pd.DataFrame,
    *,
    x: str = "params",
    budget: str = "budget_flop",
    loss: str = "loss",
    tokens: str = "tokens",
    params: str = "params",
    resamples: int = 1000,
    log_loss: bool = False,
    seed: int = 0,
) -> IsoFlopFit:
    """IsoFLOP parabolas and the laws of their minima, for the runs of one method.

    Every run is a point of its budget's parabola, replicated seeds included. The other size (D*
    beside N*) is read off the runs at the vertex, by interpolation between the sizes tried: it is
    measured, not inferred through C = 6ND.

    Args:
        table: One row a run.
        x: The column that the parabolas are in; the `tokens` column makes them parabolas in data.
        budget, loss, tokens, params: Column names. The column of the other size may be missing.
        resamples: Of the bootstrap (`toolkit.laws.parabola.redraw`); 0 leaves all intervals out.
        log_loss: Fit parabolas to the log of the loss instead.
        seed: Of the bootstrap.

    Raises:
        ToolkitError: A column is missing or wrong, or no row is left.
    """
    size, other = ("tokens", "params") if x == tokens else ("params", "tokens")
    other_column = params if size == "tokens" else tokens
    roles = {"size": x, "budget": budget, "loss": loss}
    if other_column in table.columns:
        roles["other"] = other_column
    checked = check(table, roles)
    columns = checked.columns
    parabolas = _parabolas(columns, log_loss)
    draws = redraw(parabolas, resamples, np.random.default_rng(seed))
    free = sum(p.freedom for p in parabolas)
    # What the noise of a budget is known by: its own runs, and what it borrows from the others.
    freedom = min(free, round(free / len(parabolas)) + PRIOR)
    minima = tuple(_minimum(p, b, size, draws, freedom) for b, p in enumerate(parabolas))
    laws = {
        size: _size_law(size, minima, draws.size, freedom),
        other: _size_law(other, minima, draws.other, freedom),
        "loss": _loss_law(minima, draws, freedom),
    }
    if "other" not in roles:
        laws[other] = replace(laws[other], reason=f"the table has no column {other_column!r}")
    return IsoFlopFit(
        x=size,
        minima=minima,
        laws=laws,
        n_points=len(checked.rows),
        dropped=checked.dropped,
        freedom=freedom,
        resamples=resamples,
        seed=seed,
        failed_resamples={n: int(np.isnan(law.draws[:, 2]).sum()) for n, law in laws.items()},
        warnings=(*checked.warnings, *_warnings(minima, laws, freedom, resamples)),
        draws=draws,
    )


def _parabolas(columns: dict[str, Array], log_loss: bool) -> list[Parabola]:
    """One for each budget, ascending."""
    budgets, first = np.unique(np.sort(columns["budget"]), return_index=True)
    runs = len(columns["budget"])
    if len(budgets) > max(MANY, runs / 2):
        raise ToolkitError(
            f"hardly two runs share a budget ({len(budgets)} different ones in {runs} rows): "
            "isoflop needs several sizes at each budget; gather them with --budgets 1e18,3e18 "
            "(of yours), or fit parametric"
        )
    parts = np.split(np.argsort(columns["budget"], kind="stable"), first[1:])
    unknown = np.full(runs, np.nan)
    other = columns.get("other", unknown)
    return [
        Parabola.fit(
            float(budget), columns["size"][at], columns["loss"][at], other[at], log_loss=log_loss
        )
        for budget, at in zip(budgets, parts, strict=True)
    ]


def _minimum(p: Parabola, b: int, size: str, draws: Redraws, freedom: int) -> Minimum:
    """The minimum of one budget, from its parabola and its column of the resamples."""
    freedom = min(freedom, p.freedom + PRIOR)  # What the budget's own noise is known by.
    status, reason = _judge(p)
    found = {"params": UNKNOWN, "tokens": UNKNOWN, "loss": UNKNOWN}
    if status == "interior":
        log_size, loss = p.vertex()
        other = "tokens" if size == "params" else "params"
        found = {
            size: Estimate.of(np.exp(log_size), draws.size[:, b], freedom),
            other: Estimate.of(np.exp(p.log_other(log_size)), draws.other[:, b], freedom),
            "loss": Estimate.of(loss, draws.loss[:, b], freedom),
        }
    best = {"params": p.sizes[p.best], "tokens": p.others[p.best]}
    if size == "tokens":
        best = {"params": p.others[p.best], "tokens": p.sizes[p.best]}
    failed = np.isnan(draws.loss[:, b])
    return Minimum(
        budget_flop=p.budget_flop,
        status=status,
        reason=reason,
        **found,
        curvature=2 * p.coefficients[2],
        best_params=best["params"],
        best_tokens=best["tokens"],
        best_loss=p.mean_loss[p.best],
        parabola=p,
        failed_share=float(failed.mean()) if len(failed) else 0.0,
    )


def _judge(p: Parabola) -> tuple[str, str]:
    """Whether the sizes tried bracket a minimum: status and reason."""
    if not p.curved:
        tried = f"{len(p.sizes)} were" if len(p.sizes) > 1 else "one was"
        return "too-few", f"a parabola needs at least {SIZES} sizes and {tried} tried"
    if p.coefficients[2] <= 0:
        return "no-curvature", "the parabola does not open upwards: it has no minimum"
    place = float(p.vertex()[0][0])
    low, high = math.log(p.sizes[0]), math.log(p.sizes[-1])
    last = len(p.sizes) - 1
    where = (place - low) / (high - low)
    for edge, name, beyond, advice in (
        (0, "low", where <= 0, "smallest"),
        (last, "high", where >= 1, "largest"),
    ):
        if beyond:
            return f"edge-{name}", f"the parabola's minimum lies beyond the {advice} size tried"
        if p.best == edge:
            return f"edge-{name}", f"the {advice} size tried has the lowest loss"
    if not 0.25 <= where <= 0.75:
        side = "lower" if where < 0.5 else "upper"
        return "interior", f"off-centre: the minimum lies in the {side} quarter of the sizes tried"
    return "interior", ""


def _size_law(quantity: str, minima: Sequence[Minimum], draws: Array, freedom: int) -> PowerLaw:
    """N*(C) or D*(C) through the interior minima."""
    values = np.array([getattr(m, quantity).value for m in minima])
    known = np.isfinite(values)
    return fit_power_law(
        quantity,
        np.array([m.budget_flop for m in minima])[known],
        values[known],
        draws=draws[:, known],
        freedom=freedom,
        sources=["vertex"] * int(known.sum()),
        points="budgets with a bracketed minimum",
    )


def _loss_law(minima: Sequence[Minimum], draws: Redraws, freedom: int) -> PowerLaw:
    """L*(C) through vertices, and through the best size tried where there is no vertex."""
    inside = np.array([m.status == "interior" for m in minima])
    return fit_power_law(
        "loss",
        np.array([m.budget_flop for m in minima]),
        np.array([m.optimum[2] for m in minima]),
        draws=np.where(inside, draws.loss, draws.best_loss),
        freedom=freedom,
        sources=["vertex" if i else "best-tried" for i in inside],
        saturates=True,
    )


def _warnings(
    minima: Sequence[Minimum], laws: dict[str, PowerLaw], freedom: int, resamples: int
) -> list[str]:
    said = [f"at {m.budget_flop:.3g} FLOP {m.reason}" for m in minima if m.reason]
    said += [law.reason for law in laws.values() if law.reason and "no column" not in law.reason]
    if laws["loss"].usable and "best-tried" in laws["loss"].sources:
        count = laws["loss"].sources.count("best-tried")
        said.append(
            f"the loss law stands on the best size tried, not on a minimum, at {count} of "
            f"{len(minima)} budgets"
        )
    if resamples and freedom < 1:
        said.append(
            "no intervals: every budget has as many runs as its parabola has coefficients; "
            "add a size or a second seed"
        )
    for m in minima:
        if m.status == "interior" and m.failed_share > 0.01:
            said.append(
                f"at {m.budget_flop:.3g} FLOP {m.failed_share:.0%} of the resamples have no "
                "minimum: its interval is too narrow"
            )
    return said

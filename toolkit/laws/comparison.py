"""Methods compared: where one loss law goes below another, and how sure the data is of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from toolkit.laws.budget_law import PowerLaw
from toolkit.laws.estimate import LEVEL, UNKNOWN, Estimate
from toolkit.laws.optimiser import Array

REACH = 10.0  # A crossing is looked for up to this factor outside the budgets tried.
STEPS = 400


@dataclass(frozen=True)
class Crossover:
    """Which of two methods has the lower optimal loss, by budget.

    Attributes:
        first, second: The methods.
        status: "crosses" where the interval keeps the crossing within reach; "undecided" where the
            laws cross but the resamples do not exclude that they never do; "none" where they do
            not cross; "no-law" where a method has no loss law.
        statement: All that follows in a sentence.
        better_below, better_above: The better method on either side; the same where none crosses.
        budget: Where they cross, in FLOP; 0 or infinity as a bound means beyond the reach.
        support: The share of resamples that agree: that cross the same way or, with "none", in
            which the better method stays better.
        draws: (R,) the crossing of every resample: 0 or infinity where one method is better
            throughout, NaN where it crosses the other way or a law failed.
    """

    first: str
    second: str
    status: str
    statement: str
    better_below: str = ""
    better_above: str = ""
    budget: Estimate = UNKNOWN
    support: float = math.nan
    draws: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)


def compare_laws(laws: Mapping[str, PowerLaw]) -> tuple[Crossover, ...]:
    """The crossover of every two loss laws, within ten times the budgets that both tried.

    The methods' runs are independent, so their resamples are paired as they come.
    """
    return tuple(crossover(a, b, laws[a], laws[b]) for a, b in combinations(laws, 2))


@dataclass(frozen=True)
class Verdict:
    """Which of two methods is better at one budget.

    Attributes:
        budget_flop: In FLOP.
        better, worse: The methods, by the laws themselves.
        gap: Loss of the worse less that of the better (nats), with its interval.
        support: The share of resamples that agree.
        settled: Whether the interval excludes zero.
        statement: In a sentence.
    """

    budget_flop: float
    better: str
    worse: str
    gap: Estimate
    support: float
    settled: bool
    statement: str


def better_at(first: str, second: str, one: PowerLaw, two: PowerLaw, budget_flop: float) -> Verdict:
    """Is one method really better at this budget? By two loss laws and their resamples.

    Raises:
        ToolkitError: A method has no law, or the budget is not a positive number.
    """
    a, b = one.predict(budget_flop), two.predict(budget_flop)
    swap = b.value < a.value
    better, worse = (second, first) if swap else (first, second)
    count = min(len(one.draws), len(two.draws))
    gaps = two.predict_draws(budget_flop)[:count] - one.predict_draws(budget_flop)[:count]
    gaps = -gaps if swap else gaps
    known = gaps[~np.isnan(gaps)]
    support = float((known > 0).mean()) if known.size else math.nan
    freedom, outside = min(one.freedom, two.freedom), a.extrapolated or b.extrapolated
    gap = Estimate.of(abs(b.value - a.value), gaps, freedom, outside)
    settled = gap.low > 0
    reach = f"by {gap.value:.3g} (95 % interval {gap.low:.3g} to {gap.high:.3g})"
    doubt = "" if settled else ", which the data does not settle"
    beyond = "; beyond the budgets tried" if gap.extrapolated else ""
    statement = f"{better} is better than {worse} at {budget_flop:.2g} FLOP {reach}{doubt}{beyond}"
    return Verdict(budget_flop, better, worse, gap, support, settled, statement)


def crossover(first: str, second: str, one: PowerLaw, two: PowerLaw) -> Crossover:
    """Where two loss laws cross."""
    for name, law in ((first, one), (second, two)):
        if not law.usable:
            return Crossover(first, second, "no-law", f"no loss law for {name}: {law.reason}")
    low = max(min(one.budgets), min(two.budgets))
    high = min(max(one.budgets), max(two.budgets))
    if low > high:
        return Crossover(
            first, second, "no-law", f"{first} and {second} were tried at no common budgets"
        )
    grid = np.geomspace(low / REACH, high * REACH, STEPS)
    gap = one.value(grid) - two.value(grid)
    count = min(len(one.draws), len(two.draws))
    gaps = one.predict_draws(grid)[:count] - two.predict_draws(grid)[:count]
    freedom = min(one.freedom, two.freedom)
    roots = _roots(gap, grid)
    if not roots:
        return _never(first, second, gap, gaps, (low, high))
    inside = [r for r in roots if low <= r <= high]
    middle = math.sqrt(low * high)
    budget = inside[0] if inside else min(roots, key=lambda r: abs(math.log(r / middle)))
    at = int(np.searchsorted(grid, budget))
    falls = gap[at] < gap[at - 1]  # first is worse below, better above
    below, above = (second, first) if falls else (first, second)
    draws = _crossings(gaps if falls else -gaps, grid)
    estimate = Estimate.of(budget, draws, freedom, not low <= budget <= high)
    support = float(np.mean((draws > 0) & np.isfinite(draws))) if count else math.nan
    closed = count > 0 and estimate.is_told and support >= LEVEL
    status = "crosses" if closed else "undecided"
    statement = _sentence(status, below, above, estimate, support, grid)
    return Crossover(first, second, status, statement, below, above, estimate, support, draws)


def _roots(gap: Array, grid: Array) -> list[float]:
    """Budgets at which `gap` changes sign, interpolated in the logarithm."""
    before = np.flatnonzero(np.sign(gap[:-1]) * np.sign(gap[1:]) < 0)
    x = np.log(grid)
    share = gap[before] / (gap[before] - gap[before + 1])
    return [float(r) for r in np.exp(x[before] + share * (x[before + 1] - x[before]))]


def _crossings(gaps: Array, grid: Array) -> Array:
    """(R,) where each row of gaps falls through zero; 0 or infinity if it never changes sign."""
    x = np.log(grid)
    falling = (gaps[:, :-1] > 0) & (gaps[:, 1:] <= 0)
    at = falling.argmax(axis=1)
    rows = np.arange(len(gaps))
    with np.errstate(all="ignore"):
        share = gaps[rows, at] / (gaps[rows, at] - gaps[rows, at + 1])
        crossing = np.exp(x[at] + share * (x[at + 1] - x[at]))
    crossing[(gaps < 0).all(axis=1)] = 0.0
    crossing[(gaps > 0).all(axis=1)] = np.inf
    crossing[~falling.any(axis=1) & np.isfinite(crossing) & (crossing > 0)] = np.nan
    crossing[np.isnan(gaps).any(axis=1)] = np.nan
    return crossing


def _never(
    first: str, second: str, gap: Array, gaps: Array, tried: tuple[float, float]
) -> Crossover:
    better, worse = (first, second) if gap[0] < 0 else (second, first)
    stays = np.all(gaps < 0 if better == first else gaps > 0, axis=1)
    support = float(stays.mean()) if len(gaps) else math.nan
    statement = (
        f"the data shows no crossover: {better} has a lower loss than {worse} from "
        f"{tried[0] / REACH:.2g} to {tried[1] * REACH:.2g} FLOP"
    )
    if len(gaps):
        statement += f" (in {support:.0%} of the resamples throughout)"
    return Crossover(first, second, "none", statement, better, better, support=support)


def _sentence(
    status: str, below: str, above: str, budget: Estimate, support: float, grid: Array
) -> str:
    start = f"{above} goes below {below} at {budget.value:.2g} FLOP"
    if math.isnan(support):
        return f"{start}, of unknown certainty: no resamples"
    low = f"{budget.low:.2g}" if budget.low > 0 else f"below {grid[0]:.2g}"
    high = f"{budget.high:.2g}" if math.isfinite(budget.high) else f"beyond {grid[-1]:.2g}"
    reach = f"95 % interval {low} to {high}"
    if status == "crosses":
        return f"{start} ({reach})"
    return (
        f"{start}, but the data does not settle it: {support:.0%} of the resamples cross "
        f"this way ({reach})"
    )

"""What is wrong with a fit, in sentences."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from toolkit.laws.bootstrap import Resamples, jacobian
from toolkit.laws.estimate import interval
from toolkit.laws.forms import Form
from toolkit.laws.objective import BLOCK, Problem
from toolkit.laws.optimiser import Array, Mask
from toolkit.laws.search import Search

ILL = 1e8  # Scaled condition number beyond which parameters are not told apart.
FEW = 3  # Runs a parameter below which the reader is told.
LONELY = 0.05  # Share of starts at the best below which the reader is told.
VANISHED = -13.0  # Log of an amplitude in units of the mean loss: a millionth of it.
NEAR = 1e-3  # Share of a parameter's range within which an interval reaches its end.
LOOSE = 0.05  # Distance in coordinates of equally good ends.


def needed(free: int) -> int:
    """How many runs a law of so many free parameters should have: nearly twice as many.

    Three for a power law, five for a saturating one; fewer leave next to nothing to judge it by.
    """
    return max(free + 1, 2 * free - 1)


def resting(law: Form, phi: Array, low: Array, high: Array, stuck: Iterable[str]) -> dict[str, str]:
    """Where parameters rest that are not a free optimum."""
    found = {}
    for k, p in enumerate(law.parameters):
        name = p.name
        if low[k] == high[k]:
            continue
        margin = 1e-9 * (high[k] - low[k])
        if phi[k] <= low[k] + margin:
            found[name] = "its lower bound"
        elif phi[k] >= high[k] - margin:
            found[name] = "its upper bound"
        elif (p.unit or p.amplitude) and p.log and phi[k] < VANISHED:
            found[name] = "zero"
        elif name in stuck:
            found[name] = "its start"
    return found


def condition(problem: Problem, phi: Array, free: Mask) -> float:
    """Condition number of JᵀWJ in the free coordinates, scaled to unit diagonal."""
    gram = np.zeros((int(free.sum()),) * 2)
    for left in range(0, problem.z.shape[1], BLOCK):
        part = slice(left, left + BLOCK)
        slopes = jacobian(problem, phi, part)[:, free]
        gram += slopes.T @ (slopes * problem.weight[part, None])
    scale = np.sqrt(np.diag(gram))
    if not (scale > 0).all():
        return float("inf")
    return float(np.linalg.cond(gram / np.outer(scale, scale)))


def doubts(
    found: Search,
    law: Form,
    rests: dict[str, str],
    scaled: float,
    runs: int,
    free: int,
    drawn: Resamples,
) -> tuple[list[str], bool]:
    """Warnings, and whether any of them touches the estimate itself."""
    serious, minor = [], []
    for name, where in rests.items():
        if where == "its start":
            serious.append(f"{name} equals its start: the optimiser never moved it")
        elif where == "zero":
            serious.append(f"{name} vanished: its term plays no part in the law")
        elif where == "its lower bound" and law.parameters[law.names.index(name)].asymptote:
            minor.append(f"{name} rests at zero: the runs show no asymptote")
        else:
            serious.append(f"{name} rests at {where}: the runs do not determine it")
    loose = [n for n, s in zip(law.names, found.spread, strict=True) if s > LOOSE]
    if loose:
        serious.append(
            f"{' and '.join(loose)} not identified: starts that reach the same objective differ"
        )
    if scaled > ILL:
        serious.append(
            f"ill-conditioned (condition number {scaled:.1e}): some parameters cannot be told apart"
        )
    if found.tried > 1 and found.reached_best < max(2, LONELY * found.tried):
        minor.append(
            f"only {found.reached_best} of {found.tried} starts reached the best objective: "
            "try more starts"
        )
    if found.stalled > LONELY * found.tried:
        minor.append(
            f"{found.stalled} of {found.tried} starts gave up on a slope: the objective is nearly "
            "flat somewhere"
        )
    if runs < needed(free):
        minor.append(
            f"{runs} runs for {free} parameters, which want {needed(free)}: next to nothing is "
            "left to judge the law by, or its intervals"
        )
    elif runs < FEW * free:
        minor.append(f"{runs} runs for {free} parameters: too few to judge the law by")
    loose_ends = [n for n in _open_sides(law, drawn, runs - free) if n not in rests]
    if loose_ends:
        minor.append(
            f"the interval of {' and '.join(loose_ends)} reaches the end of the range searched: "
            "the runs leave that side open"
        )
    if drawn.failed:
        minor.append(f"{drawn.failed} of {drawn.count} resamples failed and count in no interval")
    if drawn.scheme == "sandwich" and drawn.count:
        minor.append("too many runs to resample: intervals from the sandwich covariance")
    return serious + minor, bool(serious)


def _open_sides(law: Form, drawn: Resamples, freedom: int) -> list[str]:
    """Free parameters whose interval ends at their range's; an asymptote's zero is no such end."""
    found = []
    for k, p in enumerate(law.parameters):
        low, high = interval(drawn.phi[:, k], freedom)
        margin = NEAR * (p.high - p.low)
        at_end = low <= p.low + margin or high >= p.high - margin
        if not p.asymptote and low < high and at_end:
            found.append(p.name)
    return found

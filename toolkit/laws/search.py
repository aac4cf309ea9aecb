"""The search for a law's best parameters: many starts, a restart, and what they tell together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.forms import Form
from toolkit.laws.objective import Problem
from toolkit.laws.optimiser import Array, Function, Rows, minimise

SAME = 1e-6  # Objectives that differ by less than this share are one optimum's.
SAMPLE = 20_000  # Of a larger table, starts are tried on so many rows and finished on all.
FINALISTS = 4
ALIKE = 1e-2  # Distance in coordinates up to which two ends are one place.
RIVALS = 5
WAYPOINTS = 33


@dataclass(frozen=True)
class Optimum:
    """A place where starts came to rest.

    Attributes:
        phi: (K,) coordinates.
        value: The objective there.
        starts: How many ended there.
    """

    phi: Array
    value: float
    starts: int


@dataclass(frozen=True)
class Search:
    """All that the starts found.

    Attributes:
        best: The lowest.
        rivals: Other optima by ascending objective, at most five.
        tried, reached_best: Starts, and those that ended at the best objective.
        stalled: Starts that came to rest elsewhere: most gave up on a slope.
        stuck: Names of free parameters that the best start never moved.
        spread: By parameter, how far apart (in coordinates) equally good ends lie.
    """

    best: Optimum
    rivals: tuple[Optimum, ...]
    tried: int
    reached_best: int
    stalled: int
    stuck: tuple[str, ...]
    spread: Array


def random_starts(form: Form, problem: Problem, count: int, rng: np.random.Generator) -> Array:
    """(count, K) coordinates, a Latin hypercube over the ranges that the form names."""
    ranges = np.array([p.start for p in form.parameters])
    cells = np.stack([rng.permutation(count) for _ in ranges], axis=1)
    phi = ranges[:, 0] + (cells + rng.random(cells.shape)) / count * np.ptp(ranges, axis=1)
    phi[:, [p.asymptote for p in form.parameters]] *= np.exp(
        problem.log_y.min()
    )  # They lie below the losses seen.
    return phi


def given_start(form: Form, values: Mapping[str, float], centre: Array, unit: float) -> Array:
    """(1, K) coordinates of a start given by published parameters; the rest at mid range."""
    for name in values:
        if name not in form.names:
            raise ToolkitError(f"{form.name} has no parameter {name!r}{nearest(name, form.names)}")
    phi = np.array([[sum(p.start) / 2 for p in form.parameters]])
    scaled = [p.asymptote for p in form.parameters]
    plain = [not (p.log or p.shifts) for p in form.parameters]
    # Exponents and asymptote first: a published amplitude means nothing without its exponent.
    for k, p in enumerate(form.parameters):
        if p.name in values and plain[k]:
            phi[0, k] = values[p.name] * (np.exp(-unit) if scaled[k] else 1.0)
    # Amplitudes that are not given share what the asymptote leaves of the mean loss.
    amplitudes = [p.unit and p.log and not p.told for p in form.parameters]
    if any(scaled) and any(amplitudes):
        phi[0, amplitudes] = np.log(max(1 - phi[0, scaled].sum(), 0.1) / sum(amplitudes))
    theta = form.natural(phi, centre, unit)
    for k, p in enumerate(form.parameters):
        if p.name in values and not plain[k]:
            if p.log and not values[p.name] > 0:
                raise ToolkitError(f"a start of {p.name} must be positive")
            theta[0, k] = values[p.name]
    return form.coordinates(theta, centre, unit)


def search(problem: Problem, starts: Array, low: Array, high: Array) -> Search:
    """Follow every start to rest, restart each from there, and rank the ends by objective.

    An optimiser's own word that it succeeded counts for nothing here. Variables with low == high
    are pinned.
    """
    starts = np.clip(starts, low, high)
    ends = _settle_sample if problem.z.shape[1] > SAMPLE else _settle
    x, value = ends(problem, starts, low, high)
    if not np.isfinite(value).any():
        raise ToolkitError("no start has a finite objective: check the loss and its inputs")
    order = np.argsort(value)
    x, value, starts = x[order], value[order], starts[order]
    close = SAME * value + 1e-12 * _null(problem)  # The second: data that a law fits exactly.
    reached = value <= value[0] + close[0]
    stuck = (low < high) & (np.abs(x[0] - starts[0]) <= 1e-12 * np.maximum(1, np.abs(x[0])))
    groups = _groups(x, value, close, np.flatnonzero(~reached & np.isfinite(value)))
    rivals = _rivals(problem, x[0], groups, close[0])
    return Search(
        best=Optimum(x[0], float(value[0]), int(reached.sum())),
        rivals=tuple(rivals),
        tried=len(x),
        reached_best=int(reached.sum()),
        stalled=int((~reached).sum()) - sum(r.starts for r in rivals),
        stuck=tuple(np.array(problem.form.names)[stuck]),
        spread=np.ptp(x[reached], axis=0),
    )


def _settle(problem: Problem, starts: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Ends (S, K) and objectives (S,) of starts."""
    found = minimise(_alike(problem), starts, low, high)
    x, value = found.x, found.value
    # What looks like another optimum may be a start that gave up: each gets a second go, with a
    # fresh estimate of the curvature. So does the best.
    doubtful = np.flatnonzero(value > value.min() * (1 + SAME))
    doubtful = np.append(doubtful, value.argmin())
    again = minimise(_alike(problem), x[doubtful], low, high)
    x[doubtful], value[doubtful] = again.x, again.value
    return x, value


def _settle_sample(problem: Problem, starts: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """The same for a large table: all starts on a sample of its rows, distinct ends on all."""
    rows = np.random.default_rng(0).choice(problem.z.shape[1], SAMPLE, replace=False)
    part = replace(
        problem, z=problem.z[:, rows], log_y=problem.log_y[rows], weight=problem.weight[rows]
    )
    x, value = _settle(part, starts, low, high)
    finalists = [int(value.argmin())]
    for i in np.argsort(value):
        far = all(np.abs(x[i] - x[j]).max() > ALIKE for j in finalists)
        if far and len(finalists) < FINALISTS:
            finalists.append(int(i))
    nearest = np.abs(x[:, None] - x[finalists]).max(axis=2).argmin(axis=1)
    final = minimise(_alike(problem), x[finalists], low, high)
    return final.x[nearest], final.value[nearest]


def _groups(x: Array, value: Array, close: Array, members: Rows) -> list[Optimum]:
    """Ends that are one place, told apart by coordinates and by objective."""
    groups: list[Optimum] = []
    for i in members:
        for j, group in enumerate(groups):
            alike = np.abs(x[i] - group.phi).max() < ALIKE
            if alike or value[i] - group.value <= close[i]:
                groups[j] = replace(group, starts=group.starts + 1)
                break
        else:
            groups.append(Optimum(x[i], float(value[i]), 1))
    return groups


def _rivals(problem: Problem, best: Array, groups: list[Optimum], close: float) -> list[Optimum]:
    """The groups with a ridge between them and every better optimum.

    Where the objective only falls on the straight way to a better one, the group is no optimum:
    its starts gave up on a slope.
    """
    rivals: list[Optimum] = []
    way = np.linspace(0, 1, WAYPOINTS)[:, None, None]
    for group in groups:
        better = np.array([best, *(r.phi for r in rivals)])
        points = (group.phi + way * (better - group.phi)).reshape(-1, len(best))
        with np.errstate(all="ignore"):
            along = problem(points, np.zeros(len(points), np.intp))[0].reshape(WAYPOINTS, -1)
        climb = np.nanmax(along - np.minimum.accumulate(along, axis=0), axis=0)
        if (climb > close).all():
            rivals.append(group)
        if len(rivals) == RIVALS:
            break
    return rivals


def _alike(problem: Problem) -> Function:
    """The one problem, seen as a batch of equal ones."""
    return lambda phi, rows: problem(phi, np.zeros(len(phi), np.intp))


def _null(problem: Problem) -> float:
    """The objective of a constant: the size of what there is to explain."""
    middle = np.median(problem.log_y)
    residual = problem.log_y - middle
    if not problem.objective.on_log:
        residual = np.exp(problem.log_y) - np.exp(middle)
    rho, _ = problem.objective.rho(residual)
    return float((rho * problem.weight).sum() * problem.objective.scale)

"""The search for a law's best parameters: many starts, a restart, and what they tell together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.forms import Form
from toolkit.laws.objective import Problem
from toolkit.laws.optimiser import Array, Function, minimise

SAME = 1e-6  # Objectives that differ by less than this share are one optimum's.
SAMPLE = 20_000  # Of a larger table, starts are tried on so many rows and finished on all.
FINALISTS = 4


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
        stuck: Names of free parameters that the best start never moved.
        spread: By parameter, how far apart (in coordinates) equally good ends lie.
    """

    best: Optimum
    rivals: tuple[Optimum, ...]
    tried: int
    reached_best: int
    stuck: tuple[str, ...]
    spread: Array


def random_starts(form: Form, problem: Problem, count: int, rng: np.random.Generator) -> Array:
    """(count, K) coordinates, a Latin hypercube over the ranges that the form names."""
    ranges = np.array([p.start for p in form.parameters])
    cells = np.stack([rng.permutation(count) for _ in ranges], axis=1)
    phi = ranges[:, 0] + (cells + rng.random(cells.shape)) / count * np.ptp(ranges, axis=1)
    asymptotes = [p.unit and not p.log for p in form.parameters]
    phi[:, asymptotes] *= np.exp(problem.log_y.min())  # They lie below the losses seen.
    return phi


def given_start(form: Form, values: Mapping[str, float], centre: Array, unit: float) -> Array:
    """(1, K) coordinates of a start given by published parameters; the rest at mid range."""
    for name in values:
        if name not in form.names:
            raise ToolkitError(f"{form.name} has no parameter {name!r}{nearest(name, form.names)}")
    phi = np.array([[sum(p.start) / 2 for p in form.parameters]])
    # Exponents first: a published amplitude means something only together with its exponent.
    for logs in (False, True):
        theta = form.natural(phi, centre, unit)
        for k, p in enumerate(form.parameters):
            if p.name in values and p.log == logs:
                if p.log and not values[p.name] > 0:
                    raise ToolkitError(f"a start of {p.name} must be positive")
                theta[0, k] = values[p.name]
        phi = form.coordinates(theta, centre, unit)
    return phi


def search(problem: Problem, starts: Array, low: Array, high: Array) -> Search:
    """Follow every start to rest, restart each from there, and rank the ends by objective.

    An optimiser's own word that it succeeded counts for nothing here. Variables with low == high
    are pinned.
    """
    starts = np.clip(starts, low, high)
    points = problem.z.shape[1]
    ends = starts
    if points > SAMPLE:
        some = np.random.default_rng(0).choice(points, SAMPLE, replace=False)
        part = Problem(
            problem.form,
            problem.z[:, some],
            problem.centre,
            problem.log_y[some],
            problem.weight[some],
            problem.objective,
        )
        found = minimise(_alike(part), starts, low, high)
        order = np.argsort(found.value)
        chosen = [order[0]]
        for i in order[1:]:
            apart = all(np.abs(found.x[i] - found.x[j]).max() > 1e-2 for j in chosen)
            if apart and len(chosen) < FINALISTS:
                chosen.append(i)
        kinds = np.abs(found.x[:, None] - found.x[chosen]).max(axis=2).argmin(axis=1)
        final = minimise(_alike(problem), found.x[chosen], low, high)
        x, value = final.x[kinds], final.value[kinds]
    else:
        first = minimise(_alike(problem), ends, low, high)
        x, value = first.x, first.value
        # What looks like another optimum may be a start that gave up: each gets a second go, with
        # a fresh estimate of the curvature. So does the best.
        doubtful = np.flatnonzero(value > value.min() * (1 + SAME))
        doubtful = np.append(doubtful, value.argmin())
        again = minimise(_alike(problem), x[doubtful], low, high)
        x[doubtful], value[doubtful] = again.x, again.value
    if not np.isfinite(value).any():
        raise ToolkitError("no start has a finite objective: check the loss and its inputs")
    return _rank(problem.form, starts, x, value, low, high, _null(problem))


def _rank(
    form: Form, starts: Array, x: Array, value: Array, low: Array, high: Array, null: float
) -> Search:
    order = np.argsort(value)
    x, value, starts = x[order], value[order], starts[order]
    close = SAME * value + 1e-12 * null  # The second term: data that a law fits exactly.
    reached = value <= value[0] + close[0]
    free = low < high
    stuck = free & (np.abs(x[0] - starts[0]) <= 1e-12 * np.maximum(1, np.abs(x[0])))
    others: list[Optimum] = []
    for i in np.flatnonzero(~reached & np.isfinite(value)):
        for j, rival in enumerate(others):
            alike = np.abs(x[i] - rival.phi).max() < 1e-2
            if alike or value[i] - rival.value <= close[i]:
                others[j] = Optimum(rival.phi, rival.value, rival.starts + 1)
                break
        else:
            others.append(Optimum(x[i], float(value[i]), 1))
    return Search(
        Optimum(x[0], float(value[0]), int(reached.sum())),
        tuple(others[:5]),
        len(x),
        int(reached.sum()),
        tuple(np.array(form.names)[stuck]),
        np.ptp(x[reached], axis=0),
    )


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

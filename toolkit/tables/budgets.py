"""Budgets as they were spent: runs that were meant for one budget, found by the gaps between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolkit.errors import ToolkitError
from toolkit.text import scientific

Floats = NDArray[np.float64]
WIDEST = math.log(1.25)  # Of a group, first to last: budgets further apart were meant to be.
GAP = 3.0  # Between groups, in widths of the widest group.
SIZES = 3  # Different sizes in most groups, as a law needs them.


def grouped(budgets: Floats, sizes: Floats) -> tuple[Floats, str]:
    """Budgets with one value for each group of nearly equal ones, and a sentence about it.

    Sorted by their logarithm, budgets are cut where gaps are at least three times as wide as the
    widest group, no group is wider than 25 %, and most groups hold at least three sizes. Budgets
    that several sizes share already are left as they are, and so are those without such gaps.

    Args:
        budgets: (n,) in FLOP; those that are no positive number are left alone.
        sizes: (n,) whose runs they are.

    Returns:
        (n,) budgets, and what was done in words; empty if nothing was.
    """
    usable = np.isfinite(budgets) & (budgets > 0)
    values = np.unique(budgets[usable])
    if len(values) < 2 or _shared(budgets[usable], sizes[usable]):
        return budgets, ""
    gaps = np.diff(np.log(values))
    for cut in np.unique(gaps):  # From the finest grouping on.
        ends = np.flatnonzero(gaps >= cut)
        first, last = np.r_[0, ends + 1], np.r_[ends, len(values) - 1]
        width = np.log(values[last] / values[first]).max()
        if width > WIDEST:
            break
        if width == 0 or cut < GAP * width:
            continue
        group = np.searchsorted(values[last], budgets)
        found = [usable & (group == g) for g in range(len(first))]
        if np.mean([len(np.unique(sizes[rows])) >= SIZES for rows in found]) > 0.5:
            return _renamed(budgets, found)
    if np.ptp(np.log(values)) <= WIDEST:  # One group and nothing to tell it from.
        return _renamed(budgets, [usable])
    return budgets, ""


def nearest_of(budgets: Floats, named: Sequence[float]) -> tuple[Floats, str]:
    """Every budget as the nearest, by ratio, of those that a person names.

    One that lies farther out than half a step beyond the first or last becomes NaN; of one name
    alone, one that is out by more than a factor of 2.

    Raises:
        ToolkitError: A name is no positive number.
    """
    if not all(value > 0 and math.isfinite(value) for value in named):
        raise ToolkitError("budgets are positive numbers of FLOP")
    centres = np.sort(np.asarray(named, float))
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(budgets)
    usable = np.isfinite(logs)
    steps = np.diff(np.log(centres)) if len(centres) > 1 else np.array([2 * math.log(2)])
    inside = usable & (logs >= np.log(centres[0]) - steps[0] / 2)
    inside &= logs <= np.log(centres[-1]) + steps[-1] / 2
    distance = np.abs(logs[inside, None] - np.log(centres))
    result = np.full(len(budgets), np.nan)
    result[inside] = centres[distance.argmin(axis=1)]
    off = float(np.expm1(distance.min(axis=1).max())) if inside.any() else 0.0
    lost = int((usable & ~inside).sum())
    return result, (
        f"each run counts for the nearest of {len(centres)} budgets named, up to {off:.0%} off"
        + (f"; {lost} farther out {'is' if lost == 1 else 'are'} left out" if lost else "")
    )


def _shared(budgets: Floats, sizes: Floats) -> bool:
    """Whether most runs share their very budget with runs of other sizes."""
    pairs = np.unique(np.stack([budgets, sizes]), axis=1)
    _, where, count = np.unique(pairs[0], return_inverse=True, return_counts=True)
    return bool(np.mean(count[where] > 1) > 0.5)


def _renamed(budgets: Floats, groups: Sequence[NDArray[np.bool_]]) -> tuple[Floats, str]:
    result = budgets.astype(float).copy()
    off = 0.0
    for rows in groups:
        spent = budgets[rows]
        middle = _round_within(spent)
        off = max(off, float(np.abs(spent / middle - 1).max()))
        result[rows] = middle
    names = ", ".join(scientific(v) for v in np.unique([result[rows][0] for rows in groups]))
    several = f"{len(groups)} budgets" if len(groups) > 1 else "one budget"
    return result, (
        f"budgets as they were spent are grouped, up to {off:.1%} off, into {several}: {names}"
    )


def _round_within(spent: Floats) -> float:
    """The middle of what was spent, rounded as far as the runs allow: probably what was meant."""
    middle = float(np.median(spent))
    for digits in (0, 1, 2):
        rounded = float(f"{middle:.{digits}e}")
        if spent.min() <= rounded <= spent.max():
            return rounded
    return middle

"""Runs that went wrong with a finite loss: far above what the runs around them allow.

Two things hold for any method that is tuned alike: at one budget the loss falls and then rises with
the size, and at one size (or for one input) it does not rise with the budget. So the runs on both
sides of a run, or one like it that had less to spend, say what it can have at most. No form is
assumed, and what is only extreme is not accused: a run at an edge, early in its training or far too
large for its budget, has no run beyond it to speak against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from toolkit.laws.optimiser import Array, Mask

SHARE = 0.2  # Of what is allowed: below, it may be a seed, a setting or a decoder.
SPREADS = 8.0  # Of how much ordinary runs of the table exceed what is allowed.
ALONE = 1.5  # Times every other loss, for a run at an edge.
BUDGET, SIZE = math.log(1.1), math.log(1.3)  # What counts as one budget, and as one size.
BETWEEN = "runs of both smaller and larger size at its budget are far below it"
POORER = "runs of its size with no more to spend are far below it"
MOST = 2000  # Rows, of which every two are compared.
CASES = 50  # More are no exceptions.


@dataclass(frozen=True)
class Outlier:
    """A run that lies too high.

    Attributes:
        row: Its position, from 0.
        loss: What it has.
        allowed: What the runs around it allow.
        reason: In words.
        run: What a person calls it, where that is known.
    """

    row: int
    loss: float
    allowed: float
    reason: str
    run: str = ""


def outliers(
    loss: Array,
    *,
    budgets: Array | None = None,
    sizes: Array | None = None,
    chance: float = math.nan,
) -> tuple[Outlier, ...]:
    """The runs of one method that lie far above what the runs around them allow.

    Args:
        loss: (n,) finite.
        budgets: (n,) FLOP, tokens or any input that more of never harms; None if there is none.
        sizes: (n,) model sizes; None where the loss depends on the input alone.
        chance: ln K where K candidates are told apart: an edge run at or below it has only not
            learnt yet.

    Returns:
        The highest first; none for fewer than six runs or more than 2,000.
    """
    n = len(loss)
    if not 6 <= n <= MOST or (budgets is None and sizes is None):
        return ()
    log_budget = np.zeros(n) if budgets is None else np.log(budgets)
    log_size = np.zeros(n) if sizes is None else np.log(sizes)
    left = np.ones(n, bool)
    found: list[Outlier] = []
    # One at a time, the worst first: it may hide another, and it must accuse nobody.
    while left.sum() >= 6 and len(found) < min(max(1, n // 5), CASES):
        allowed, by_budget = _allowed(loss, log_budget, log_size, left)
        excess = loss - allowed
        limit = np.maximum(SHARE * allowed, SPREADS * _spread(excess[left]))
        over = np.where(left & np.isfinite(allowed), excess - limit, -np.inf)
        worst = int(over.argmax())
        if over[worst] <= 0:
            worst = int(np.where(left, loss, -np.inf).argmax())
            others = float(loss[left & (np.arange(n) != worst)].max())
            if loss[worst] <= ALONE * others or loss[worst] <= 1.02 * chance:
                break
            found.append(Outlier(worst, float(loss[worst]), others, "no other run comes near it"))
        else:
            found.append(
                Outlier(
                    worst,
                    float(loss[worst]),
                    float(allowed[worst]),
                    BETWEEN if by_budget[worst] else POORER,
                )
            )
        left[worst] = False
    return tuple(sorted(found, key=lambda one: -one.loss))


def _spread(excess: Array) -> float:
    """How much ordinary runs exceed what is allowed: three runs in four exceed it by no more."""
    known = excess[np.isfinite(excess)]
    return max(0.0, float(np.quantile(known, 0.75))) if known.size >= 4 else 0.0


def _allowed(loss: Array, log_budget: Array, log_size: Array, left: Mask) -> tuple[Array, Mask]:
    """The most that every run can have by those around it, infinite where none speaks; and where
    it is those of its budget that say so."""
    same_budget = np.abs(log_budget[:, None] - log_budget) <= BUDGET
    alike = np.abs(log_size[:, None] - log_size) <= SIZE
    others = left & ~np.eye(len(loss), dtype=bool)
    poorer = alike & (log_budget <= log_budget[:, None] + 1e-9)
    # A run that is itself too low is no witness: one that should be no better must come near it.
    near = np.where((same_budget | poorer) & others, loss, np.inf).min(axis=1)
    witnesses = others & (near <= (1 + SHARE) * loss)
    seen = np.where(witnesses, loss, np.inf)

    def lowest(rows: Mask) -> Array:
        return np.asarray(np.where(rows, seen, np.inf).min(axis=1))

    smaller, larger = log_size <= log_size[:, None], log_size >= log_size[:, None]
    between = np.maximum(lowest(same_budget & smaller), lowest(same_budget & larger))
    before = lowest(poorer)
    allowed = np.minimum(between, before)
    return allowed, between <= before

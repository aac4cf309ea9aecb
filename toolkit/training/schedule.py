"""The steps of a run: which pairs each sees and what each costs, until the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.flops import CONVENTIONS, StepFlops
from toolkit.pairs.tokens import TokenisedPairs
from toolkit.training.enough import check_batch

# FLOPs of a step from the token lengths of its queries and of its positives.
StepCost = Callable[[np.ndarray, np.ndarray], StepFlops]


@dataclass(frozen=True)
class Schedule:
    """A run's steps, fixed before it starts.

    Attributes:
        pool: Positions of the distinct training pairs, int64, shape [unique pairs].
        batch_pairs: Pairs a step. seed: Of the order.
        spent: FLOPs of all steps up to and with each, int64, shape [steps, 3]: paper, model,
            hardware.
        tokens: Real tokens of all steps up to and with each, int64, shape [steps].
    """

    pool: np.ndarray
    batch_pairs: int
    seed: int
    spent: np.ndarray
    tokens: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.spent)

    def batch(self, step: int) -> np.ndarray:
        """Positions of the pairs of one step: a new seeded order of the whole pool each epoch."""
        return _batch(self.pool, self.batch_pairs, self.seed, step)


def make_schedule(
    pairs: TokenisedPairs,
    cost: StepCost,
    *,
    budget_flop: float,
    convention: str,
    batch_pairs: int,
    max_pairs: int | None = None,
    seed: int = 0,
) -> Schedule:
    """As many whole steps as the budget pays for, each counted at its real token lengths.

    Args:
        pairs: The training side.
        cost: FLOPs of a step in all three conventions.
        budget_flop: FLOP to spend, in `convention` (paper, model or hardware).
        batch_pairs: Pairs a step. max_pairs: Use only so many distinct pairs.
        seed: Of the order of the pairs.

    Raises:
        ToolkitError: There are fewer pairs than a batch, or the budget is under one step.
    """
    pool = pairs.first(min(max_pairs or len(pairs), len(pairs)))
    check_batch(len(pool), batch_pairs)
    column = CONVENTIONS.index(convention)
    spent: list[tuple[int, int, int]] = []
    tokens: list[int] = []
    total, seen = (0, 0, 0), 0
    while True:
        order = _batch(pool, batch_pairs, seed, len(spent))
        queries, positives = pairs.queries.lengths(order), pairs.positives.lengths(order)
        step = cost(queries, positives)
        total = (total[0] + step.paper, total[1] + step.model, total[2] + step.hardware)
        if total[column] > budget_flop:
            break
        seen += int(queries.sum() + positives.sum())
        spent.append(total)
        tokens.append(seen)
    if not spent:
        raise ToolkitError(
            f"the budget of {budget_flop:.3g} FLOP is under one step of {batch_pairs:,} pairs, "
            f"which costs {total[column]:.3g}; give a larger budget_flop or a smaller batch_pairs"
        )
    return Schedule(pool, batch_pairs, seed, np.array(spent, np.int64), np.array(tokens, np.int64))


def warmup_cosine(step: int, steps: int, *, warmup: float, floor: float = 0.0) -> float:
    """The learning rate's share of its peak: linear warm-up, then cosine down to `floor`.

    Args:
        step: From 0. steps: Of the whole run. warmup: Share of the steps that warm up.
    """
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    done = (step - rising) / max(1.0, steps - rising)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def _batch(pool: np.ndarray, batch_pairs: int, seed: int, step: int) -> np.ndarray:
    epoch, within = divmod(step, len(pool) // batch_pairs)
    order = _order(len(pool), seed, epoch)
    return pool[order[within * batch_pairs : (within + 1) * batch_pairs]]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)

"""The steps of a run: which pairs each sees and what each costs, until the budget is spent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.flops import CONVENTIONS, NOTHING, StepFlops
from toolkit.pairs.store import TokenisedPairs
from toolkit.training.enough import check_batch

# FLOPs of a step from the token lengths of its queries, positives and, if any, hard negatives.
StepCost = Callable[..., StepFlops]


@dataclass(frozen=True)
class Schedule:
    """A run's steps, fixed before it starts.

    Attributes:
        pool: Positions of the distinct training pairs, int64, shape [unique pairs].
        batch_pairs: Pairs a step. seed: Of the order.
        spent: FLOPs of all steps up to and with each, int64, shape [steps, 3]: paper, model,
            hardware.
        tokens: Real tokens of all steps up to and with each, int64, shape [steps].
        negatives: Hard negatives of all steps up to and with each, int64, shape [steps].
    """

    pool: np.ndarray
    batch_pairs: int
    seed: int
    spent: np.ndarray
    tokens: np.ndarray
    negatives: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.spent)

    def batch(self, step: int) -> np.ndarray:
        """Positions of the pairs of one step: a new seeded order of the whole pool each epoch."""
        return _batch(self.pool, self.batch_pairs, self.seed, step)

    def epoch(self, step: int) -> int:
        """How often the whole pool was seen before a step."""
        return step // (len(self.pool) // self.batch_pairs)


def make_schedule(
    pairs: TokenisedPairs,
    cost: StepCost,
    *,
    budget_flop: float,
    convention: str,
    batch_pairs: int,
    max_pairs: int | None = None,
    seed: int = 0,
    spent_before: StepFlops = NOTHING,
) -> Schedule:
    """As many whole steps as the budget pays for, each counted at its real token lengths.

    Args:
        pairs: The training side.
        cost: FLOPs of a step in all three conventions.
        budget_flop: FLOP to spend, in `convention` (paper, model or hardware).
        batch_pairs: Pairs a step. max_pairs: Use only so many distinct pairs.
        seed: Of the order of the pairs.
        spent_before: What was spent before the first step, on mining negatives.

    Raises:
        ToolkitError: There are fewer pairs than a batch, or the budget is under one step.
    """
    pool = pool_of(pairs, max_pairs)
    check_batch(len(pool), batch_pairs)
    column = CONVENTIONS.index(convention)
    spent: list[tuple[int, int, int]] = []
    tokens: list[int] = []
    negatives: list[int] = []
    total, seen, extra = (spent_before.paper, spent_before.model, spent_before.hardware), 0, 0
    while True:
        order = _batch(pool, batch_pairs, seed, len(spent))
        lengths = [pairs.queries.lengths(order), pairs.positives.lengths(order)]
        if pairs.negatives is not None:
            epoch = len(spent) // (len(pool) // batch_pairs)
            lengths.append(pairs.negatives.lengths(order, epoch))
            extra += len(lengths[-1])
        step = cost(*lengths)
        total = (total[0] + step.paper, total[1] + step.model, total[2] + step.hardware)
        if total[column] > budget_flop:
            break
        seen += sum(int(each.sum()) for each in lengths)
        spent.append(total)
        tokens.append(seen)
        negatives.append(extra)
    if not spent and spent_before.model:
        raise ToolkitError(
            f"the budget of {budget_flop:.3g} FLOP leaves no step of {batch_pairs:,} pairs beside "
            f"the mining of negatives; give a larger budget_flop or a smaller batch_pairs"
        )
    if not spent:
        raise ToolkitError(
            f"the budget of {budget_flop:.3g} FLOP is under one step of {batch_pairs:,} pairs, "
            f"which costs {total[column]:.3g}; give a larger budget_flop or a smaller batch_pairs"
        )
    counts = (np.array(each, np.int64) for each in (spent, tokens, negatives))
    return Schedule(pool, batch_pairs, seed, *counts)


def pool_of(pairs: TokenisedPairs, max_pairs: int | None) -> np.ndarray:
    """Positions of the pairs that a run may see."""
    return pairs.first(min(max_pairs or len(pairs), len(pairs)))


def first_seen(pool: np.ndarray, seed: int) -> np.ndarray:
    """The pool in the order of the first epoch."""
    return pool[_order(len(pool), seed, 0)]


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


DEFAULT_COOLDOWN = 0.2


def trunk_rate(step: int, steps: int, *, warming: int, start: int) -> float:
    """The learning rate's share of its peak: warm-up, constant, then 1 − √ down to zero.

    Equal in loss to cosine at each of its lengths, where only the cooldown depends on the length
    (Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations").

    Args:
        step: From 0. steps: Of the whole run. warming: Steps of the warm-up. start: The first step
            of the cooldown.
    """
    rising = min(1.0, (step + 1) / (warming + 1))
    return rising * (1 - math.sqrt(max(0, step - start) / (steps - start)))


def cooldown_start(steps: int, cooldown: float | None) -> int:
    """The first step of the cooldown: those before are the same at every budget."""
    share = DEFAULT_COOLDOWN if cooldown is None else cooldown
    return steps - max(1, round(share * steps))


def affordable(spent: np.ndarray, budget_flop: float) -> int:
    """How many steps a budget pays for, of steps that cost so much up to and with each."""
    return int(np.searchsorted(spent, budget_flop, side="right"))


def _batch(pool: np.ndarray, batch_pairs: int, seed: int, step: int) -> np.ndarray:
    epoch, within = divmod(step, len(pool) // batch_pairs)
    order = _order(len(pool), seed, epoch)
    return pool[order[within * batch_pairs : (within + 1) * batch_pairs]]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)

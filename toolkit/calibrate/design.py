"""Which runs to make next: first an outline of the sizes, then what pays most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.calibrate.belief import Belief
from toolkit.calibrate.pool import Pool
from toolkit.laws.optimiser import Array, Mask, Rows

SHARES = (0.01, 0.02, 0.03, 0.05)  # Of the target, that one run may take.
OPENING = 0.005  # Share of each run of the first round.
OUTLINE = 4  # Sizes of the second round, 1 % of the target each.
PLACES = (0.0, 0.35)  # Of its two decoders, among those at hand by size.
POWER = 0.7  # A run's gain is held against its cost to this power.
SETTLED = 0.005  # Expected regret (ln L) below which nothing more is bought.
WITHIN = 0.01  # What "within 1 % of the best" means.
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Step:
    """A run to make: a choice of the pool, its FLOP, and by how much it lessens the regret."""

    choice: int
    flop: float
    gain: float


def opening(pool: Pool, possible: Mask | None = None) -> tuple[Step, ...]:
    """The first round: the smallest and a middling decoder with the likely method.

    One of a single block obeys no common law and is left out, where that leaves two.

    Args:
        possible: (q,) choices that so little FLOP can train at all; the smallest two of them where
            the places are taken.
    """
    likely = np.flatnonzero(pool.method == 0)
    likely = likely[_by_size(pool, likely)]
    if possible is not None:
        likely = likely[possible[likely]]
    at = sorted({round(place * (len(likely) - 1)) for place in PLACES})
    if len(at) < 2 <= len(likely):
        at = [0, 1]
    return tuple(Step(int(likely[k]), OPENING * pool.target, np.nan) for k in at)


def outline(belief: Belief, left: float) -> tuple[Step, ...]:
    """The second round: sizes from the smallest to the largest, with the likely method.

    What lies between is read off a law, the losses at both ends tell which link holds, and those
    in the middle whether the law holds at all. The ends are bought first.

    Args:
        belief: With the runs that might be made. left: FLOP that is left for them.
    """
    pool = belief.pool
    cheap = belief.flop < 1.01 * SHARES[0] * pool.target
    places = np.flatnonzero(cheap & (pool.method[belief.choice] == 0))
    if not len(places):
        return ()
    places = places[_by_size(pool, belief.choice[places])]
    spread = np.linspace(0, len(places) - 1, OUTLINE).round().astype(int)
    *below, largest = places[np.unique(spread)]
    steps: list[Step] = []
    for at in (largest, *below):
        flop = float(belief.flop[at])
        if flop <= left * (1 + 1e-9):
            steps.append(Step(int(belief.choice[at]), flop, np.nan))
            left -= flop
    return tuple(steps)


def _by_size(pool: Pool, choice: Rows) -> Rows:
    """Places of the choices by size, without decoders of one block where that leaves two."""
    kept = np.flatnonzero(~pool.single[pool.decoder[choice]])
    kept = kept if len(kept) > 1 else np.arange(len(choice))
    return kept[np.argsort(pool.params[choice[kept]])]


def next_runs(belief: Belief, left: float, count: int = 1) -> tuple[Step, ...]:
    """A later round: the runs that lessen the expected regret most for their cost.

    Each run after the first is chosen as if those before it had been made.

    Args:
        belief: With the runs that might be made. left: FLOP that is left for them.
    """
    steps: list[Step] = []
    while len(steps) < count:
        gain = gains(belief)
        worth = np.where(belief.flop <= left * (1 + 1e-9), gain / belief.flop**POWER, -np.inf)
        if not len(worth) or not np.isfinite(worth.max()):
            break
        place = int(worth.argmax())
        steps.append(Step(int(belief.choice[place]), float(belief.flop[place]), float(gain[place])))
        left -= steps[-1].flop
        belief = belief.knowing(place)
    return tuple(steps)


def settled(belief: Belief) -> bool:
    """Whether the answer is so good already that no more runs are worth making."""
    return belief.regret <= SETTLED


def may_be_made(pool: Pool) -> tuple[Rows, Array]:
    """Choices (m,) and FLOP (m,) of every run that the design considers."""
    count = len(pool)
    choice = np.repeat(np.arange(count), len(SHARES))
    return choice, np.tile(SHARES, count) * pool.target


def gains(belief: Belief) -> Array:
    """(m,) by how much each run that might be made lessens the expected regret (ln L).

    The knowledge gradient (Frazier et al. 2009) of the draws' means and covariances: a run of
    surprise z moves the expected ln L of every choice by z times its covariance with the run.
    """
    mean = belief.target.mean(axis=0)
    slope = belief.covariance / belief.deviation  # (q, m)
    least = (mean[:, None, None] + slope[:, :, None] * NODES).min(axis=0) @ WEIGHTS
    out: Array = mean.min() - least
    return out

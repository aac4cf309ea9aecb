"""How good a calibration could be: one that knows the law, and lacks only what decoders do to it.

It is given each simulated truth's constants, its smooth misfit and the distribution of the
decoders' effects exactly, and buys runs for a tenth of the target by the knowledge gradient to
learn those effects. No design that has to find the law as well can be expected to do better.
`python benchmarks/ceiling.py --replicates 40` prints a row for each size of run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_calibrate import STREAM  # noqa: E402
from designs import SPEND  # noqa: E402
from truths import NOISE, Simulation, drawn_simulation  # noqa: E402

from toolkit.calibrate.design import NODES, WEIGHTS  # noqa: E402

DRAWS = 4000


class Decoders:
    """What is known of each decoder's effect: draws, weighed decoder by decoder.

    Decoders are independent, so each has weights of its own, and no run empties the others'.
    """

    def __init__(self, simulation: Simulation, rng: np.random.Generator, share: float) -> None:
        pool = simulation.pool
        every, own = np.arange(len(pool)), simulation.effects(rng, DRAWS)
        self.decoder = pool.decoder
        self.target = np.log(simulation.losses(every, np.full(len(pool), pool.target), own))
        self.run = np.log(simulation.losses(every, np.full(len(pool), share * pool.target), own))
        self.log_weight = np.zeros((DRAWS, len(pool.decoders)))

    @property
    def weight(self) -> np.ndarray:
        """(draws, q), each choice's own decoder's."""
        weight = np.exp(self.log_weight - self.log_weight.max(axis=0))
        return np.asarray((weight / weight.sum(axis=0))[:, self.decoder])

    @property
    def expected(self) -> np.ndarray:
        """(q,) ln loss at the target."""
        return np.asarray((self.weight * self.target).sum(axis=0))

    def worth_most(self) -> int:
        """The choice whose run lessens the expected regret most."""
        mean, gains = self.expected, []
        for choice, decoder in enumerate(self.decoder):
            weight = self.weight[:, choice]
            off = self.run[:, choice] - weight @ self.run[:, choice]
            moved = (weight * off) @ (self.target - mean) / np.sqrt(weight @ off**2 + NOISE**2)
            moved = np.where(self.decoder == decoder, moved, 0.0)
            gains.append(
                mean.min() - (mean[:, None] + moved[:, None] * NODES).min(axis=0) @ WEIGHTS
            )
        return int(np.argmax(gains))

    def learn(self, choice: int, log_loss: float) -> None:
        off = (log_loss - self.run[:, choice]) / NOISE
        self.log_weight[:, self.decoder[choice]] -= off**2 / 2


def regret(seed: int, runs: int) -> float:
    """Per cent above the best, after `runs` equal runs for a tenth of the target."""
    simulation, own, rng = drawn_simulation(seed, STREAM)
    pool, share = simulation.pool, SPEND / max(runs, 1)
    known = Decoders(simulation, np.random.default_rng([6, seed]), share)
    for _ in range(runs):
        choice = known.worth_most()
        clean = simulation.losses(np.array([choice]), np.array([share * pool.target]), own)
        known.learn(choice, float(np.log(clean[0]) + NOISE * rng.standard_normal()))
    truth = simulation.losses(np.arange(len(pool)), np.full(len(pool), pool.target), own)
    return float(100 * (truth[known.expected.argmin()] / truth.min() - 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicates", type=int, default=40)
    args = parser.parse_args()
    print("runs  within 1 %  within 5 %  mean")
    for runs in (0, 1, 2, 3, 5, 10):
        each = np.array([regret(seed, runs) for seed in range(args.replicates)])
        shares = [100 * float((each <= bound).mean()) for bound in (1, 5)]
        print(f"{runs:4} {shares[0]:11.0f} {shares[1]:11.0f} {each.mean():5.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

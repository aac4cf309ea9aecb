"""Simulated truths for `calibrate`: laws with realistic misfit, and replays of finished runs.

A truth answers one thing, the held-out loss of a decoder with a method after so many FLOP, with
the noise of a seed. Of the simulated ones: a bounded law of drawn constants, decoders that stand
8 % off it, in half of them a smallest decoder that is anomalously good, and a smooth misfit of 4 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from worlds import CANDIDATES, FLOP_PER_PAIR, PARAMS, World

from toolkit.calibrate.pool import Pool, Runs

NOISE = 0.01  # Of ln loss between seeds, as in the study of few pairs.
METHODS = ("full", "lora")
SINGLE = 3312.0  # Parameters of small-3k: of a single block.
CHANCE = float(np.log(CANDIDATES))


@dataclass(frozen=True, eq=False)
class Truth:
    """What is asked, and who answers.

    Attributes:
        pool: The choices.
        best: (q,) true losses at the target; infinite where none was measured.
        lose: (choices, FLOP) -> losses, with noise.
        levels: Budgets that can be had, in FLOP; empty for any.
        there: (q, levels) which of them.
    """

    pool: Pool
    best: np.ndarray
    lose: Callable[[np.ndarray, np.ndarray], np.ndarray]
    levels: np.ndarray
    there: np.ndarray

    def train(self, choice: np.ndarray, flop: np.ndarray) -> Runs:
        return Runs(choice, flop, self.lose(choice, flop))

    def regret(self, choice: int) -> float:
        """Per cent above the best that the target could have bought."""
        return float(100 * (self.best[choice] / self.best.min() - 1))


def pool_of(target: float, unique: float, decoders: np.ndarray = PARAMS) -> Pool:
    count = len(decoders)
    return Pool(
        target=target,
        methods=METHODS,
        method=np.repeat(np.arange(2), count),
        decoders=decoders,
        decoder=np.tile(np.arange(count), 2),
        single=np.zeros(count, bool),
        flop_per_pair=np.concatenate([FLOP_PER_PAIR[m][:count] for m in METHODS]),
        unique=unique,
        chance=CHANCE,
        noise=NOISE,
    )


@dataclass(frozen=True, eq=False)
class Simulation:
    """A drawn law with its smooth misfit; only how its decoders stand off it is left open.

    Attributes:
        waves: Directions (2, 6, 2) and phases (2, 6) of the misfit, common and the second method's.
        decoder, smooth, anomaly: Standard deviations, and the share of odd smallest decoders.
    """

    world: World
    pool: Pool
    waves: tuple[np.ndarray, np.ndarray]
    decoder: float
    smooth: float
    anomaly: float

    def losses(self, choice: np.ndarray, flop: np.ndarray, own: np.ndarray) -> np.ndarray:
        """(..., n) of runs without noise; own (..., 2, J): ln capacity and ln efficiency."""
        pairs, params = flop / self.pool.flop_per_pair[choice], self.pool.params[choice]
        at = np.stack([np.log(params / 24000), np.log(pairs / 60000)])
        # Half of the smooth misfit is common to the methods. It is one of what is left to learn:
        # of the loss where half is learnt, and of nothing at chance.
        bends = np.cos(np.einsum("mwd,dn->mwn", self.waves[0], at) + self.waves[1][:, :, None])
        common, other = np.sqrt(12) * 2 * self.smooth * bends.mean(axis=1)
        bend = np.where(self.pool.method[choice] == 0, common, (common + other) / np.sqrt(2))
        off = np.moveaxis(own[..., self.pool.decoder[choice]] + bend, -2, 0)
        each = [
            self.world.off(METHODS[self.pool.method[c]], params[k], pairs[k], off[..., k])
            for k, c in enumerate(choice)
        ]
        return np.stack(each, axis=-1)

    def effects(self, rng: np.random.Generator, *shape: int) -> np.ndarray:
        """(*shape, 2, J) ways of decoders to stand off the law."""
        own = self.decoder * rng.standard_normal((*shape, 2, len(PARAMS)))
        odd = rng.random(shape) < self.anomaly
        own[..., 0] -= (odd * rng.uniform(0.15, 0.4, shape))[..., None]
        return own


def simulated(seed: int, stream: int = 0, **misfit: float) -> Truth:
    """One truth: constants around those of the study of few pairs, drawn by `seed`."""
    simulation, own, rng = drawn_simulation(seed, stream, **misfit)

    def clean(choice: np.ndarray, flop: np.ndarray) -> np.ndarray:
        return simulation.losses(choice, flop, own)

    def lose(choice: np.ndarray, flop: np.ndarray) -> np.ndarray:
        return clean(choice, flop) * np.exp(NOISE * rng.standard_normal(len(choice)))

    pool = simulation.pool
    best = clean(np.arange(len(pool)), np.full(len(pool), pool.target))
    return Truth(pool, best, lose, np.empty(0), np.empty(0))


def drawn_simulation(
    seed: int, stream: int = 0, decoder: float = 0.08, smooth: float = 0.04, anomaly: float = 0.5
) -> tuple[Simulation, np.ndarray, np.random.Generator]:
    """A law by `seed`, how decoders (2, J) stand off it, and what the noise is drawn by."""
    rng = np.random.default_rng([18, stream, seed])
    a, b = rng.normal(-0.9, 0.4), rng.normal(0.2, 0.4)
    constants = {
        "form": "bounded",
        "E": rng.uniform(0.2, 1.2),
        "alpha": rng.uniform(0.25, 0.5),
        "beta": rng.uniform(0.5, 1.1),
        "A": {"full": a, "lora": a + rng.normal(0, 0.2)},
        "B": {"full": b, "lora": b + rng.normal(0.25, 0.3)},
        "unique_pairs": int(10 ** rng.uniform(4.5, 6.0)),
        "R": float(10 ** rng.uniform(0.2, 1.2)),
    }
    world = World("", constants, {"asked": 0})
    pool = pool_of(float(10 ** rng.uniform(12.5, 13.5)), world.unique)
    own = decoder * rng.standard_normal((2, len(PARAMS)))
    if rng.random() < anomaly:
        own[:, 0] -= rng.uniform(0.15, 0.4)
    waves = rng.normal(0, 0.3, (2, 6, 2)), rng.uniform(0, 2 * np.pi, (2, 6))
    return Simulation(world, pool, waves, decoder, smooth, anomaly), own, rng


def of_world(world: World, seed: int, target: float = 3e13) -> Truth:
    """A world of shared constants: the law itself, nine decoders, two methods."""
    rng = np.random.default_rng([19, seed])
    pool = pool_of(target, world.unique)

    def clean(choice: np.ndarray, flop: np.ndarray) -> np.ndarray:
        pairs = flop / pool.flop_per_pair[choice]
        return np.array(
            [
                world.loss(METHODS[pool.method[c]], pool.params[c : c + 1], d)[0]
                for c, d in zip(choice, pairs, strict=True)
            ]
        )

    def lose(choice: np.ndarray, flop: np.ndarray) -> np.ndarray:
        return clean(choice, flop) * np.exp(NOISE * rng.standard_normal(len(choice)))

    every = np.arange(len(pool))
    best = clean(every, np.full(len(pool), target))
    return Truth(pool, best, lose, np.empty(0), np.empty(0))


def replay(table: pd.DataFrame, target: float, seed: int, unique: float) -> Truth:
    """A finished study: runs are drawn from those of its best settings, seeds at random."""
    rng = np.random.default_rng([20, seed])
    methods = tuple(m for m in METHODS if (table["method"] == m).any())
    table = table[table["method"].isin(methods)]
    decoders = np.sort(table["params"].unique()).astype(float)
    count = len(decoders)
    cost = table.assign(each=table["budget_flop"] / table["pairs"])
    cost = cost.groupby(["method", "params"])["each"].median()
    flop = [cost.get((m, p), np.nan) for m in methods for p in decoders]
    pool = Pool(
        target=target,
        methods=methods,
        method=np.repeat(np.arange(len(methods)), count),
        decoders=decoders,
        decoder=np.tile(np.arange(count), len(methods)),
        single=decoders == SINGLE,
        flop_per_pair=np.array(flop),
        unique=unique,
        chance=CHANCE,
        noise=NOISE,
    )
    levels = np.sort(table["budget_flop"].unique())
    levels = levels[levels < 0.5 * target]
    cells = {key: rows["loss"].to_numpy() for key, rows in
             table.groupby(["method", "params", "budget_flop"])}  # fmt: skip

    def losses(choice: int, budget: float) -> np.ndarray:
        return cells.get((methods[pool.method[choice]], pool.params[choice], budget), np.empty(0))

    there = np.array([[len(losses(c, b)) > 0 for b in levels] for c in range(len(pool))])

    def seed_of(cell: np.ndarray) -> float:
        # Of a cell's only run others are made up: bought twice, it would be known too well.
        return rng.choice(cell) if len(cell) > 1 else cell[0] * np.exp(NOISE * rng.normal())

    def lose(choice: np.ndarray, flop: np.ndarray) -> np.ndarray:
        return np.array([seed_of(losses(c, f)) for c, f in zip(choice, flop, strict=True)])

    at = [losses(c, target) for c in range(len(pool))]
    best = np.array([v.mean() if len(v) else np.inf for v in at])
    return Truth(pool, best, lose, levels, there)

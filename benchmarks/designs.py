"""Designs of a calibration, side by side: each spends a tenth of a target and names a choice.

A design is a function of a `Game`: it trains what it likes while the money lasts and returns the
choice that it would make, the regret that it expects and its 90 % bound, in per cent (NaN where it
has no law).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from truths import Truth

from toolkit.calibrate import design
from toolkit.calibrate.belief import Belief, believe
from toolkit.calibrate.pool import Runs

SPEND = 0.1
Named = tuple[int, float, float]


class Game:
    """A truth, the money, and the runs so far."""

    def __init__(self, truth: Truth, rng: np.random.Generator, spend: float = SPEND) -> None:
        self.truth, self.pool, self.rng = truth, truth.pool, rng
        self.runs, self.money = Runs.none(), spend * truth.pool.target
        self.count = len(self.pool.decoders)

    @property
    def left(self) -> float:
        return 1.0001 * self.money - self.runs.spent

    def train(self, choice: int, share: float) -> bool:
        """One run for a share of the target, the nearest that there is; whether it was paid."""
        if choice >= len(self.pool):  # The rival, where there is one method.
            return False
        choice, flop = self._nearest(choice, share * self.pool.target)
        if flop > self.left:
            return False
        self.runs = self.runs + self.truth.train(np.array([choice]), np.array([flop]))
        return True

    def pay(self, share: float) -> None:
        """A run that tells a setting and nothing of the law."""
        self.money -= share * self.pool.target

    def _nearest(self, choice: int, flop: float) -> tuple[int, float]:
        if not len(self.truth.levels):
            return int(choice), float(flop)
        at, level = np.nonzero(self.truth.there)
        budget, pool = self.truth.levels[level], self.pool
        off = np.abs(np.log(pool.params[at] / pool.params[choice]))
        off += 2 * np.abs(np.log(budget / flop)) + 5 * (pool.method[at] != pool.method[choice])
        place = (off + 20 * (budget > 1.5 * flop)).argmin()
        return int(at[place]), float(budget[place])

    def options(self) -> tuple[np.ndarray, np.ndarray]:
        """Runs that can be made and paid."""
        if len(self.truth.levels):
            choice, level = np.nonzero(self.truth.there)
            flop = self.truth.levels[level]
            share = flop / self.pool.target
            good = (share > 0.99 * min(design.SHARES)) & (share < 2 * max(design.SHARES))
        else:
            choice, flop = design.may_be_made(self.pool)
            good = np.ones(len(flop), bool)
        good &= flop <= self.left
        return choice[good], flop[good]

    def belief(self) -> Belief:
        """What is known, with the runs that can be made."""
        return believe(self.pool, self.runs, *self.options())

    def by_law(self) -> Named:
        belief = believe(self.pool, self.runs, draws=600)
        choice = self.least(belief.target.mean(axis=0))
        regret = 100 * np.expm1(belief.regrets[:, choice])
        return choice, float(regret.mean()), float(np.quantile(regret, 0.9))

    def as_they_are(self) -> Named:
        """The lowest loss among the dearest runs."""
        top = self.runs.only(self.runs.flop > 0.9 * self.runs.flop.max())
        score = np.full(len(self.pool), np.inf)
        np.minimum.at(score, top.choice, top.loss)
        return self.least(score), np.nan, np.nan

    def least(self, score: np.ndarray) -> int:
        """The best of the choices whose truth is known; where it has none, the nearest in size."""
        known = np.isfinite(self.truth.best)
        if not np.isfinite(score[known]).any():
            score = np.abs(np.log(self.pool.params / self.pool.params[score.argmin()]))
        return int(np.where(known, score, np.inf).argmin())

    def places(self, number: int) -> list[int]:
        return [int(k) for k in np.linspace(0, self.count - 1, number).round()]


def random(game: Game) -> Named:
    while True:
        choice, flop = game.options()
        if not len(choice):
            return game.by_law()
        k = game.rng.integers(len(choice))
        game.train(int(choice[k]), flop[k] / game.pool.target)


def spread(game: Game) -> Named:
    for k in game.places(6):
        game.train(k, 0.01)
    for k in game.places(4):
        game.train(game.count + k, 0.01)
    return game.by_law()


def grid(game: Game) -> Named:
    for k in game.places(5):
        game.train(k, 0.01)
        game.train(game.count + k, 0.01)
    return game.by_law()


def root(game: Game) -> Named:
    for k in game.places(7):
        game.train(k, 0.01)
    for k in game.places(3):
        game.train(game.count + k, 0.01)
    pool, best = game.pool, game.runs.choice[game.runs.loss.argmin()]
    off = np.abs(np.log(pool.params / (10 * pool.params[best])))
    return game.least(off + 10 * (pool.method != pool.method[best])), np.nan, np.nan


def halving(game: Game) -> Named:
    """All choices, then half, a quarter and two of them, a quarter of the money for each round."""
    alive = np.arange(len(game.pool))
    for number in (len(alive), len(alive) // 2, len(alive) // 4, 2):
        before = len(game.runs)
        for choice in alive[:number]:
            game.train(int(choice), SPEND / 4 / number)
        new = game.runs.only(np.arange(len(game.runs)) >= before)
        if not len(new):
            break
        alive = new.choice[new.loss.argsort()]
    return game.least(np.where(np.arange(len(game.pool)) == alive[0], 0.0, 1.0)), np.nan, np.nan


def three_sizes(game: Game) -> Named:
    """Likely method at the outer sizes for 3 %, its rival at all and itself between for 1 %."""
    middle = min(max(1, game.count // 2 - 1), game.count - 2)
    for choice, share in ((middle - 1, 0.03), (middle + 1, 0.03), (middle, 0.01)):
        game.train(choice, share)
    for choice in (middle - 1, middle, middle + 1):
        game.train(game.count + choice, 0.01)
    return game.by_law()


def leading_three(game: Game) -> Named:
    """Four runs for 0.25 %, then the three that lead by the law for 3 %, ranked as they are."""
    for choice in (*game.places(4)[:3], game.count + game.count // 2):
        game.train(choice, 0.0025)
    belief = believe(game.pool, game.runs)
    for choice in belief.target.mean(axis=0).argsort()[:3]:
        game.train(int(choice), 0.03)
    return game.as_they_are()


def calibrate(game: Game) -> Named:
    """As the command does it: two sizes, an outline, then what pays most."""
    for step in design.opening(game.pool):
        game.train(step.choice, design.OPENING)
    game.pay(3 * design.OPENING)  # For a second rate at both and a second batch at one.
    belief = game.belief()
    steps = design.outline(belief, game.left) or design.next_runs(belief, game.left)
    for step in steps:
        game.train(step.choice, step.flop / game.pool.target)
    while steps := design.next_runs(game.belief(), game.left):
        for step in steps:
            game.train(step.choice, step.flop / game.pool.target)
    return game.by_law()


def in_rounds(worth: Callable[[Game, Belief], np.ndarray]) -> Callable[[Game], Named]:
    """A first round of two sizes, then whatever is worth most."""

    def play(game: Game) -> Named:
        for step in design.opening(game.pool):
            game.train(step.choice, 0.01)
        while True:
            belief = game.belief()
            if not len(belief.choice):
                return game.by_law()
            k = int(worth(game, belief).argmax())
            if not game.train(int(belief.choice[k]), belief.flop[k] / game.pool.target):
                return game.by_law()

    return play


def _gain(game: Game, belief: Belief) -> np.ndarray:
    return design.gains(belief) / belief.flop**design.POWER


def _v_optimal(game: Game, belief: Belief) -> np.ndarray:
    lessened = ((belief.covariance / belief.deviation) ** 2).sum(axis=0)
    return np.asarray(lessened / belief.flop**design.POWER)


def _d_optimal(game: Game, belief: Belief) -> np.ndarray:
    told = np.log(belief.deviation / game.pool.noise)
    return np.asarray(told / belief.flop**design.POWER)


def _thompson(game: Game, belief: Belief) -> np.ndarray:
    """One draw's best choice, with 2 % of the target."""
    best = belief.target[game.rng.integers(len(belief.target))].argmin()
    off = np.abs(np.log(belief.flop / (0.02 * game.pool.target)))
    return -off - 100.0 * (belief.choice != best)


DESIGNS: dict[str, Callable[[Game], Named]] = {
    "random": random,
    "spread": spread,
    "root of the budget": root,
    "5 x 2 grid": grid,
    "halving": halving,
    "leading three as they are": leading_three,
    "three sizes": three_sizes,
    "calibrate": calibrate,
    "no outline": in_rounds(_gain),
    "Thompson": in_rounds(_thompson),
    "V-optimal": in_rounds(_v_optimal),
    "D-optimal": in_rounds(_d_optimal),
}

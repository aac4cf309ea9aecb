"""What settings off their best cost: learning rate, batch, rank and trained blocks in the law.

Within a cell (one method, decoder and budget) a run's settings u, in logarithms, raise what is
still to be learnt by a smooth penalty around the best ones:

    y = level + |R (u - u*)|^2,    u* = middle + drift ln C + width ln N + a cell's own

where y = ln(L / (ceiling - L)), which is ln L where little is left to learn and flattens at chance
(ceiling = ln K), or ln L itself where chance is unknown. R is upper triangular: its diagonal says
how sharp each optimum is, the rest how one setting's best moves with another's, as a larger batch
wants a larger rate. Drift, width and R are shared by the methods, the middles nearly. Only cells
in which something was varied tell of it.

A quadratic holds near its bottom alone: the error of a run's penalty is a share of it. Drawn by
randomize-then-optimize (`toolkit.laws.gauss_newton`), sizes of the errors weighed by the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from toolkit.laws.gauss_newton import Prior, fit_modes, log_evidence
from toolkit.laws.optimiser import Array, Mask, Rows

MISFIT = (0.003, 0.01, 0.03)  # Of ln loss, beyond the noise of seeds.
OWN = (0.1, 0.3, 0.7)  # How far a cell's best settings lie off the line, in e-folds.
TRUST = 0.3  # Error of a penalty, as a share of it.
VALUES, CELLS = 3, 2  # So many values at so many sizes and budgets tell where the best lies.
# Priors as (centre, standard deviation), settings in e-folds: the best is as likely as not within
# a factor of three of the middle of those that a method tried; off by e costs about a tenth of y.
PRIOR_MIDDLE = 1.5
BETWEEN_METHODS = 0.3
PRIOR_MOVE = 0.3  # For each e-fold of budget, and of size.
PRIOR_SHARP = (0.5 * np.log(0.1), 0.5)
PRIOR_SKEW = (0.0, 0.2)
PRIOR_LEVEL = 2.0


@dataclass(frozen=True, eq=False)
class Tries:
    """Mean losses of runs by method, decoder, budget and settings.

    Attributes:
        cell: (n,) numbers from 0: one method, decoder, budget and number of distinct pairs.
        method: (n,) numbers. log_flop, log_params: (n,).
        settings: (n, S) logarithms; NaN where a method has no such setting, or never varied it:
            then nothing is said of it.
        log_loss, runs: (n,) of the mean, and how many runs are in it.
        chance: ln K; NaN where it is unknown. noise: Standard deviation of ln loss between seeds.
    """

    cell: Rows
    method: Rows
    log_flop: Array
    log_params: Array
    settings: Array
    log_loss: Array
    runs: Array
    chance: float
    noise: float

    @property
    def varied(self) -> Array:
        """(cells, S) how many values of each setting were tried in each cell."""
        return np.array(
            [
                [len(np.unique(c[np.isfinite(c)].round(6))) for c in self.settings[at].T]
                for at in (self.cell == k for k in range(self.cell.max() + 1))
            ]
        )

    @property
    def told(self) -> Mask:
        """(methods, S) whether the runs tell where the best lies: three values at two places."""
        first = np.unique(self.cell, return_index=True)[1]
        enough = self.varied >= VALUES
        of = self.method[first]
        return np.array([enough[of == k].sum(axis=0) >= CELLS for k in range(of.max() + 1)])

    def unlearnt(self) -> tuple[Array, Array]:
        """(n,) y, and its slope by ln L."""
        return _unlearnt(np.exp(self.log_loss), self.chance)

    def log_losses(self, y: Array) -> Array:
        """ln L of y."""
        if np.isnan(self.chance):
            return y
        return np.asarray(np.log(self.chance) - np.logaddexp(0.0, -y))


def _unlearnt(loss: Array, chance: float) -> tuple[Array, Array]:
    """y of losses, and its slope by ln L."""
    if np.isnan(chance):
        return np.log(loss), np.ones_like(loss)
    rest = np.maximum(chance - loss, 1e-3 * chance)
    return np.log(loss / rest), chance / rest


class PenaltyLaw:
    """y and its slopes in coordinates, for the cells in which a setting was varied."""

    def __init__(self, tries: Tries, rows: Mask) -> None:
        number, self.cell = np.unique(tries.cell[rows], return_inverse=True)
        first = np.array([np.flatnonzero(tries.cell == k)[0] for k in number])
        self.cells = number
        self.method, self.methods = tries.method[first], int(tries.method.max()) + 1
        self.middle = (tries.log_flop[first].mean(), tries.log_params[first].mean())
        self.at = np.stack(
            [tries.log_flop[first] - self.middle[0], tries.log_params[first] - self.middle[1]]
        )
        self.there = np.isfinite(tries.settings[rows])
        self.settings = np.where(self.there, tries.settings[rows], 0.0)
        count, kinds = len(number), tries.settings.shape[1]
        self.kinds = kinds
        varied = tries.varied[number] > 1
        self.own_of = np.where(varied, np.cumsum(varied).reshape(varied.shape) - 1, -1)
        self.pairs = np.triu_indices(kinds, 1)
        sizes = {
            "level": count,
            "middle": self.methods * kinds,
            "moves": 2 * kinds,
            "own": int(varied.sum()),
            "sharp": kinds,
            "skew": len(self.pairs[0]),
        }
        ends = np.cumsum([0, *sizes.values()])
        self.parts = {n: slice(a, b) for n, a, b in zip(sizes, ends, ends[1:], strict=False)}
        self.size = int(ends[-1])

    def prior(self, tries: Tries, rows: Mask, y: Array, own: Array) -> Prior:
        """The stated priors, the cells' own settings off the line by `own` (B,)."""
        part, centre, spread = self.parts, np.zeros(self.size), np.ones(self.size)
        low = np.array([y[self.cell == k].min() for k in range(len(self.cells))])
        centre[part["level"]], spread[part["level"]] = low, PRIOR_LEVEL
        centre[part["middle"]] = _middles(tries, rows, self.methods).ravel()
        spread[part["moves"]] = PRIOR_MOVE
        centre[part["sharp"]], spread[part["sharp"]] = PRIOR_SHARP
        centre[part["skew"]], spread[part["skew"]] = PRIOR_SKEW
        covariance = np.repeat(np.diag(spread**2)[None], len(own), axis=0)
        covariance[:, part["own"], part["own"]] *= own[:, None, None] ** 2
        every = np.ones((self.methods, self.methods)) * PRIOR_MIDDLE**2
        alike = every + BETWEEN_METHODS**2 * np.eye(self.methods)
        covariance[:, part["middle"], part["middle"]] = np.kron(alike, np.eye(self.kinds))
        return Prior(np.repeat(centre[None], len(own), axis=0), covariance)

    def root(self, phi: Array) -> Array:
        """(B, S, S) R."""
        root = np.zeros((len(phi), self.kinds, self.kinds))
        each = np.arange(self.kinds)
        root[:, each, each] = np.exp(phi[:, self.parts["sharp"]])
        root[:, self.pairs[0], self.pairs[1]] = phi[:, self.parts["skew"]]
        return root

    def line(self, phi: Array, method: Rows, at: Array) -> Array:
        """(B, q, S) the best settings of methods (q,) at budgets and sizes (2, q), off-centre."""
        middle = phi[:, self.parts["middle"]].reshape(len(phi), self.methods, self.kinds)
        moves = phi[:, self.parts["moves"]].reshape(len(phi), 2, self.kinds)
        return np.asarray(middle[:, method] + np.einsum("bks,kq->bqs", moves, at))

    def best(self, phi: Array) -> Array:
        """(B, cells, S) the best settings of the law's own cells."""
        own = phi[:, self.parts["own"]][:, np.maximum(self.own_of, 0)] * (self.own_of >= 0)
        return np.asarray(self.line(phi, self.method, self.at) + own)

    def __call__(self, phi: Array) -> tuple[Array, Array]:
        root, part = self.root(phi), self.parts
        off = (self.settings - self.best(phi)[:, self.cell]) * self.there
        bent = np.einsum("bij,bnj->bni", root, off)
        value = phi[:, part["level"]][:, self.cell] + (bent**2).sum(axis=2)
        out = np.zeros((*value.shape, self.size))
        rows = np.arange(value.shape[1])
        out[:, rows, self.cell] = 1.0
        by_best = -2 * np.einsum("bij,bni->bnj", root, bent) * self.there
        for k in range(self.kinds):
            slope = by_best[:, :, k]
            out[:, rows, part["middle"].start + self.method[self.cell] * self.kinds + k] = slope
            for axis in range(2):
                place = part["moves"].start + axis * self.kinds + k
                out[:, :, place] = slope * self.at[axis][self.cell]
            own = self.own_of[self.cell, k]
            known = own >= 0
            out[:, rows[known], part["own"].start + own[known]] = slope[:, known]
        out[:, :, part["sharp"]] = 2 * bent * off * np.exp(phi[:, None, part["sharp"]])
        for n, (i, j) in enumerate(zip(*self.pairs, strict=True)):
            out[:, :, part["skew"].start + n] = 2 * bent[:, :, i] * off[:, :, j]
        return value, out


def _middles(tries: Tries, rows: Mask, methods: int) -> Array:
    """(methods, S) medians of what each method tried; 0 where it varied nothing."""
    found = np.zeros((methods, tries.settings.shape[1]))
    for method, k in np.ndindex(*found.shape):
        tried = tries.settings[rows & (tries.method == method), k]
        tried = tried[np.isfinite(tried)]
        if len(tried):
            found[method, k] = np.median(tried)
    return found


@dataclass(frozen=True, eq=False)
class Penalty:
    """The fitted penalty, as draws.

    Attributes:
        law: To evaluate. tries: What it was fitted to, with the cells in which nothing was varied.
        phi: (R, K) draws. own: (R,) how far a cell's best settings lie off the line.
        normal: (R, S) standard normal numbers, for a cell's own.
    """

    law: PenaltyLaw
    tries: Tries
    phi: Array
    own: Array
    normal: Array

    def optimum(self, method: int, log_flop: float, log_params: float) -> Array:
        """(R, S) draws of the logarithms of a method's best settings at a budget and a size."""
        at = np.array([[log_flop], [log_params]]) - np.array(self.law.middle)[:, None]
        best = self.law.line(self.phi, np.array([method]), at)[:, 0]
        own = self.own[:, None] * self.normal
        here = (self.law.method == method) & (np.abs(self.law.at - at) < 1e-3).all(axis=0)
        if here.any():
            place = self.law.own_of[int(np.flatnonzero(here)[0])]
            known = self.phi[:, self.law.parts["own"]][:, np.maximum(place, 0)]
            own = np.where(place >= 0, known, own)
        return np.asarray(best + own)

    def cost(self, method: int, log_flop: float, log_params: float, settings: Array) -> Array:
        """(R, q) draws of the rise of y at settings (q, S); NaN means at its best."""
        best = self.optimum(method, log_flop, log_params)
        off = np.nan_to_num(settings[None] - best[:, None])
        return np.asarray((np.einsum("bij,bnj->bni", self.law.root(self.phi), off) ** 2).sum(2))

    def rise(self, setting: int, off: float, loss: float) -> Array:
        """(R,) by which share a loss rises with one setting off its best by `off` e-folds."""
        y = _unlearnt(np.array(loss), self.tries.chance)[0]
        up = (off * self.law.root(self.phi)[:, :, setting]) ** 2
        return np.asarray(np.exp(self.tries.log_losses(y + up.sum(axis=1))) / loss - 1)

    def levels(self) -> tuple[Array, Array]:
        """(2, cells) ln loss of every cell at its best settings, and at its named ones; how well.

        The best ones nobody knows. Named are the likeliest as far as they are told, else the best
        of the cell's own: what a recipe can say, and a run then have.
        """
        tries, y, scale = self.tries, *self.tries.unlearnt()
        cell, rng, told = tries.cell, np.random.default_rng(11), tries.told
        mean, spread = np.empty((2, 2, cell.max() + 1))
        for k in range(mean.shape[1]):
            rows = np.flatnonzero(cell == k)
            i = int(rows[tries.log_loss[rows].argmin()])
            where = int(tries.method[i]), float(tries.log_flop[i]), float(tries.log_params[i])
            tried, likeliest = tries.settings[i], np.median(self.optimum(*where), axis=0)
            named = np.where(told[where[0]] & np.isfinite(tried), likeliest, tried)
            rise, left = self.cost(*where, np.stack([tried, named])).T
            fitted = np.flatnonzero(self.law.cells == k)
            if len(fitted):
                level = self.phi[:, fitted[0]]
            else:
                error, seeds = rng.standard_normal((2, len(rise)))
                noise = scale[i] * tries.noise / np.sqrt(tries.runs[i])
                left *= np.exp(TRUST * error)
                level = y[i] - rise * np.exp(TRUST * error) + noise * seeds
            logs = tries.log_losses(np.stack([level, level + left]))
            mean[:, k], spread[:, k] = logs.mean(axis=1), logs.std(axis=1)
        return mean, spread


def fit_penalty(tries: Tries, *, draws: int = 300, seed: int = 0) -> Penalty:
    """Fit the penalty to the cells in which a setting was varied; there must be one."""
    rows = (tries.varied.max(axis=1) > 1)[tries.cell]
    law = PenaltyLaw(tries, rows)
    errors = np.array(list(product(MISFIT, OWN)))
    every, scale = tries.unlearnt()
    y, scale = every[rows], scale[rows]
    prior = law.prior(tries, rows, y, errors[:, 1])
    low = prior.centre[0, law.parts["level"]][law.cell]
    known = (scale * tries.noise) ** 2 / tries.runs[rows] + (TRUST * (y - low)) ** 2
    variance = known + (scale * errors[:, :1]) ** 2
    observed = np.broadcast_to(y, variance.shape)
    modes = fit_modes(law, prior.centre.copy(), observed, variance, prior)
    evidence = log_evidence(modes, variance, prior)
    rng = np.random.default_rng(seed)
    pick = rng.choice(len(errors), draws, p=np.exp(evidence - np.logaddexp.reduce(evidence)))
    spread, chosen = variance[pick], prior.rows(pick)
    moved = Prior(chosen.draw(rng), chosen.covariance)
    noisy = y + rng.standard_normal(spread.shape) * np.sqrt(spread)
    drawn = fit_modes(law, modes.phi[pick], noisy, spread, moved, iterations=12, tolerance=1e-5)
    return Penalty(law, tries, drawn.phi, errors[pick, 1], rng.standard_normal((draws, law.kinds)))

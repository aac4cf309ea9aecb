"""What a handful of runs says about a target, by a law that knows that it is wrong.

ln L = law + decoder + bend + cell + seed. The law is the joint one (`toolkit.laws.joint`), of
either link; a decoder stands off it by capacity and efficiency of its own; the bend is a smooth
Gaussian process over ln parameters and ln pairs (Kennedy & O'Hagan 2001, "Bayesian calibration of
computer models"), so that what is said far from all runs is worth less; a cell has an error of its
own. How large these are is not known either: each guess weighs what it explains. Posteriors of a
few runs are bent: they are drawn by importance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from toolkit.calibrate.pool import Pool, Runs
from toolkit.laws.gauss_newton import Modes, Prior, fit_modes, log_evidence
from toolkit.laws.joint import PRIORS, JointLaw, Points
from toolkit.laws.links import LINKS
from toolkit.laws.optimiser import Array, Rows

DRAWS = 400
PROPOSALS = 300  # Under each guess that has so much of the evidence:
LIKELY = 0.01
DECODERS = (0.01, 0.05, 0.15)  # Standard deviations of ln capacity and ln efficiency.
BEND = (0.005, 0.02, 0.05, 0.1)  # Of the smooth misfit of ln L.
CELL = (0.003, 0.02)  # Of a cell's own.
# Priors of a table of cheap runs, (centre, sd) in the coordinates of `toolkit.laws.joint`. E is a
# share of the lowest loss, and cheap runs are far above it. Contrastive losses that end at chance
# fall fast with pairs: beta was 0.84 and 1.07 in the study of few pairs. Runs near chance are short
# of pairs, not of size: with all the pairs there are no decoder would stay there, so A, the size's
# part, leaves a quarter of chance, give or take.
CHEAP = {
    "bounded": {"E": (-1.5, 1.2), "beta": (np.log(0.8), 0.6), "A": (-1.2, 1.0)},
    "chinchilla": {"E": (-1.0, 1.3), "beta": (np.log(0.45), 0.8)},
}
SINGLE = 0.6  # A decoder of one block obeys no common law, however well others do.
LENGTH = 1.5  # E-folds of parameters, or of pairs, over which the bend forgets.
# A run that has hardly left chance says little: how long it stays there no law tells. Error of its
# ln L, whole at chance and none below nine tenths of it.
PLATEAU, LEFT = 0.04, 0.9
ALIKE = 0.7  # Correlation of two methods' bends.
START = 3  # Corners from which the law is fitted.


@dataclass(frozen=True, eq=False)
class Belief:
    """Paired draws of what is not known.

    Attributes:
        pool: The choices.
        target: (R, q) ln L of every choice with the whole target, the mean of its runs.
        runs: (R, m) ln L of single runs that might be made: `choice` (m,) for `flop` (m,).
        choice, flop: Of these.
        weights: Of each link.
    """

    pool: Pool
    target: Array
    runs: Array
    choice: Rows
    flop: Array
    weights: dict[str, float]

    @property
    def best(self) -> int:
        """The choice of the least expected ln L."""
        return int(self.target.mean(axis=0).argmin())

    @property
    def regrets(self) -> Array:
        """(R, q) ln of each choice's loss over the least of all."""
        return self.target - self.target.min(axis=1, keepdims=True)

    @property
    def covariance(self) -> Array:
        """(q, m) of the choices at the target with the runs that might be made."""
        target, runs = self.target, self.runs
        out: Array = (target - target.mean(axis=0)).T @ (runs - runs.mean(axis=0)) / len(target)
        return out

    @property
    def deviation(self) -> Array:
        """(m,) standard deviation of what these runs would measure."""
        return np.asarray(np.sqrt(self.runs.var(axis=0) + self.pool.noise**2))

    def knowing(self, place: int) -> Belief:
        """The belief if the run at `place` had been made, and came out as expected."""
        rng = np.random.default_rng([3, place])
        run = self.runs[:, place]
        surprise = run - run.mean() + self.pool.noise * rng.standard_normal(len(run))
        part = surprise / self.deviation[place] ** 2
        to_runs = (self.runs - self.runs.mean(axis=0)).T @ (run - run.mean()) / len(run)
        return replace(
            self,
            target=self.target - np.outer(part, self.covariance[:, place]),
            runs=self.runs - np.outer(part, to_runs),
        )

    @property
    def regret(self) -> float:
        """Expected of the best."""
        return float(self.regrets[:, self.best].mean())


def believe(
    pool: Pool,
    runs: Runs,
    choice: Rows | None = None,
    flop: Array | None = None,
    *,
    lean: dict[str, Prior] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Belief:
    """Fit the law to `runs` and draw.

    Args:
        runs: At least one.
        choice, flop: (m,) runs that might be made.
        lean: By link, a borrowed prior of what methods share, instead of the stated one.
    """
    choice = np.empty(0, int) if choice is None else choice
    flop = np.empty(0) if flop is None else flop
    every = np.arange(len(pool))
    asked = _points(pool, np.append(every, choice),
                    np.append(np.full(len(pool), pool.target), flop))  # fmt: skip
    cells = runs.cells(pool)
    seen = _points(pool, runs.choice, runs.flop)
    fits = []
    for link in LINKS.values():
        if link.name == "bounded" and not np.isfinite(pool.chance):
            continue
        law = JointLaw(cells, link, own=True)
        fits.append(_fit(law, seen, pool.noise, None if lean is None else lean.get(link.name)))
    rng = np.random.default_rng([seed, 1])
    found, weights = [], {fit.law.link.name: 0.0 for fit in fits}
    for fit, guess, phi in _posterior(fits, draws, rng):
        weights[fit.law.link.name] += len(phi) / draws
        found.append(fit.tell(guess, phi, asked, rng))
    drawn = np.concatenate(found)
    rng.shuffle(drawn)
    cell = len(pool)
    return Belief(pool, drawn[:, :cell], drawn[:, cell:], choice, flop, weights)


def _posterior(
    fits: list[_Fit], draws: int, rng: np.random.Generator
) -> list[tuple[_Fit, int, Array]]:
    """Fits, guesses and coordinates of their laws, `draws` in all.

    Laplace's approximation proposes, and each proposal counts as much as the posterior has of it:
    of a few runs the posterior is bent, and the approximation alone is far off. Weights are
    truncated (Ionides 2008, "Truncated importance sampling").
    """
    logs = np.concatenate([fit.evidence for fit in fits])
    share = np.exp(logs - np.logaddexp.reduce(logs))
    places = [(fit, guess) for fit in fits for guess in range(len(fit.evidence))]
    likely = [place for place, part in zip(places, share, strict=True) if part > LIKELY]
    tried = [fit.propose(guess, PROPOSALS, rng) for fit, guess in likely]
    log = np.concatenate([log for _, log in tried])
    weight = np.exp(log - log.max())
    weight = np.minimum(weight, weight.mean() * np.sqrt(PROPOSALS))
    steps = (np.arange(draws) + rng.random()) / draws * weight.sum()
    taken = np.minimum(np.searchsorted(weight.cumsum(), steps), len(weight) - 1)
    out = []
    for number, ((fit, guess), (phi, _)) in enumerate(zip(likely, tried, strict=True)):
        mine = taken[taken // PROPOSALS == number] % PROPOSALS
        if len(mine):
            out.append((fit, guess, phi[mine]))
    return out


@dataclass(frozen=True, eq=False)
class _Fit:
    law: JointLaw
    seen: Points
    errors: Array  # (G, 3) decoders, bend, cell
    variance: Array  # (G, n) of each run about law and bend
    modes: Modes
    prior: Prior
    evidence: Array

    def propose(self, guess: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """(count, K) coordinates of the law by Laplace's approximation, and ln of how much more of
        each the posterior has, the bend integrated out.
        """
        size = self.law.size
        root = np.linalg.cholesky(np.linalg.inv(self.modes.hessian[guess])[:size, :size])
        z = rng.standard_normal((count, size))
        phi = self.modes.phi[guess, :size] + z @ root.T
        off = phi - self.prior.centre[guess, :size]
        log = _log_normal(off, self.prior.covariance[guess, :size, :size])
        log += _log_normal(self._rest(phi), self._misfit(guess))
        log -= -0.5 * (z**2).sum(axis=1) - np.log(np.diag(root)).sum()
        return phi, np.where(np.isfinite(log), log, -np.inf)

    def tell(self, guess: int, phi: Array, asked: Points, rng: np.random.Generator) -> Array:
        """(draws, points) ln L, the bend and cells' own errors in it."""
        _, bend, cell = self.errors[guess]
        logs = self.law.at(phi, asked)[0]
        cross = bend**2 * _alike(asked, self.seen) * _felt(self.law.cells.log_loss, self.law)
        weights = np.linalg.solve(self._misfit(guess), cross.T).T
        left = bend**2 * (_alike(asked, asked) + 1e-6 * np.eye(len(cross))) - weights @ cross.T
        free = rng.standard_normal((len(phi), len(left))) @ np.linalg.cholesky(left).T
        felt = _felt(logs, self.law)
        logs += felt * (self._rest(phi) @ weights.T + free)
        error = np.hypot(felt * cell, PLATEAU * _stuck(logs, self.law))
        return logs + error * rng.standard_normal(logs.shape)

    def _rest(self, phi: Array) -> Array:
        """(draws, n) what the law leaves of the runs."""
        with np.errstate(invalid="ignore"):  # What is no loss has no weight.
            return np.asarray(self.law.cells.log_loss - self.law.at(phi, self.law.cells)[0])

    def _misfit(self, guess: int) -> Array:
        """(n, n) covariance of the runs about the law."""
        bend = self.errors[guess, 1] * _felt(self.law.cells.log_loss, self.law)
        alike = _alike(self.seen, self.seen)
        return np.asarray(np.diag(self.variance[guess]) + np.outer(bend, bend) * alike)


def _log_normal(off: Array, covariance: Array) -> Array:
    """(rows,) ln density, but for a constant, of rows that are off their mean by so much."""
    root = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(root, off.T)
    return np.asarray(-0.5 * (whitened**2).sum(axis=0) - np.log(np.diag(root)).sum())


def _fit(law: JointLaw, seen: Points, noise: float, lean: Prior | None) -> _Fit:
    """One link under every guess at the sizes of the errors; a bend for each run is fitted too."""
    errors = np.array(list(product(DECODERS, BEND, CELL)))
    guesses, n, size = len(errors), len(law.cells.log_loss), law.size
    stated = law.prior(errors[:, 0], np.ones(guesses))
    for name, (mean, sd) in CHEAP[law.link.name].items():
        part = law.parts[name]
        stated.centre[:, part] = mean
        rows = np.arange(part.start, part.stop)
        off = stated.covariance[:, part, part] - PRIORS[name][1] ** 2
        stated.covariance[:, rows[:, None], rows] = off + sd**2
    single = np.tile(np.where(law.cells.single, SINGLE**2, 0.0), 2)
    own = np.arange(law.capacity.start, law.efficiency.stop)
    stated.covariance[:, own, own] += single
    if lean is not None:
        stated = leaning(stated, lean, law)
    centre = np.concatenate((stated.centre, np.zeros((guesses, n))), axis=1)
    covariance = np.zeros((guesses, size + n, size + n))
    covariance[:, :size, :size] = stated.covariance
    alike = _alike(seen, seen) + 1e-6 * np.eye(n)
    covariance[:, size:, size:] = errors[:, 1, None, None] ** 2 * alike
    prior = Prior(centre, covariance)

    def bent(phi: Array) -> tuple[Array, Array]:
        value, slope = law.at(phi[:, :size], law.cells, slopes=True)
        own = np.broadcast_to(np.diag(felt), (len(phi), n, n))
        return value + felt * phi[:, size:], np.concatenate((slope, own), axis=2)

    felt = _felt(law.cells.log_loss, law)
    stuck = PLATEAU * _stuck(law.cells.log_loss, law)
    variance = noise**2 + stuck**2 + (errors[:, 2:] * felt) ** 2
    y = np.broadcast_to(law.cells.log_loss, variance.shape)
    corners = law.starts()[[0, 3, 6]][:START]
    start = np.concatenate((corners, np.zeros((len(corners), n))), axis=1)
    middle = np.full(len(start), guesses - 1)
    first = fit_modes(
        bent, start, y[middle], variance[middle], prior.rows(middle), iterations=40, tolerance=1e-5
    )
    best = first.phi[first.objective.argmin()]
    modes = fit_modes(
        bent, np.tile(best, (guesses, 1)), y, variance, prior, iterations=25, tolerance=1e-5
    )
    return _Fit(law, seen, errors, variance, modes, prior, log_evidence(modes, variance, prior))


def _felt(logs: Array, law: JointLaw) -> Array:
    """How much of a misfit ln L shows: all where half is learnt, nothing at chance.

    Of what is left to learn, that is, of which a law is the farther off the less was learnt: twice
    as far near chance as where half is.
    """
    if not np.isfinite(law.cells.chance):
        return np.ones_like(logs)
    share = np.exp(logs) / law.ceiling
    farther = 1 + np.clip(2 * share - 1, 0, 1)
    return np.asarray(np.clip(2 * (1 - share) * farther, 0.05, 1.5))


def _stuck(logs: Array, law: JointLaw) -> Array:
    """How near chance ln L is: 1 there, 0 where something was learnt."""
    if not np.isfinite(law.cells.chance):
        return np.zeros_like(logs)
    return np.asarray(np.clip((np.exp(logs) / law.ceiling - LEFT) / (1 - LEFT), 0, 1))


def leaning(stated: Prior, lean: Prior, law: JointLaw) -> Prior:
    shared = slice(0, law.decay + 1)
    centre, covariance = stated.centre.copy(), stated.covariance.copy()
    centre[:, shared] = lean.centre[:, shared]
    covariance[:, shared, shared] = lean.covariance[:, shared, shared]
    return Prior(centre, covariance)


def _points(pool: Pool, choice: Rows, flop: Array) -> Points:
    return Points(
        pool.method[choice],
        np.log(pool.params[choice]),
        pool.decoder[choice],
        np.log(flop / pool.flop_per_pair[choice]),
        np.full(len(choice), np.log(pool.unique)),
    )


def _alike(a: Points, b: Points) -> Array:
    """(n, m) correlation of bends."""
    far = np.subtract.outer(a.log_params, b.log_params) ** 2
    far += np.subtract.outer(a.log_pairs, b.log_pairs) ** 2
    same = np.equal.outer(a.method, b.method)
    out: Array = np.exp(-far / (2 * LENGTH**2)) * np.where(same, 1.0, ALIKE)
    return out


def from_priors(pool: Pool, runs: Runs, lean: dict[str, Prior] | None = None) -> float:
    """Share of what is known of the exponents that comes from the prior, the rest from the runs.

    Of the precision of ln alpha and ln beta, the likely method's, over guesses as they are likely.
    """
    seen = _points(pool, runs.choice, runs.flop)
    fits = [
        _fit(JointLaw(runs.cells(pool), link, own=True), seen, pool.noise,
             None if lean is None else lean.get(link.name))
        for link in LINKS.values()
        if link.name != "bounded" or np.isfinite(pool.chance)
    ]  # fmt: skip
    logs = np.concatenate([fit.evidence for fit in fits])
    kept = []
    for fit in fits:
        places = [fit.law.parts[name].start for name in ("alpha", "beta")]
        before = fit.prior.covariance[:, places, places]
        after = np.linalg.inv(fit.modes.hessian)[:, places, places]
        kept.append(np.clip(after / before, 0, 1).mean(axis=1))
    return float(np.exp(logs - np.logaddexp.reduce(logs)) @ np.concatenate(kept))

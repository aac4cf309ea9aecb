"""One law for all the runs of a table: loss by method, decoder, data and distinct data.

L = E + (ceiling - E) h(x) with x = A_m a_j N^-alpha + B_m b_j D'^-beta (`toolkit.laws.links`). E,
alpha, beta and the decay R of repeats are shared; a method m has its own capacity A and data
efficiency B; a decoder j may stand off the law by its own a and b, which the prior holds near one.
A method that is nowhere near the best has all parameters of its own, leaning on the others': it
would bend the exponents that the contenders share.

What is observed is ln L plus an error of seeds (known from seeds that were repeated) and a misfit
of each cell, whose size is fitted, and which may grow with the distance of a run's budget from the
largest. How far off a prediction above the largest budget can be is learnt inside the table: each
budget is predicted from those below it. The same test weighs the two links.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from toolkit.kept import kept
from toolkit.laws.cells import Cells
from toolkit.laws.gauss_newton import Prior
from toolkit.laws.joint import JointLaw, Points
from toolkit.laws.links import LINKS, Link
from toolkit.laws.misfit import Misfit, place
from toolkit.laws.optimiser import Array
from toolkit.laws.posterior import DECODERS, OWN_DRIFT, TAIL, Posterior, fit_posterior

LEANING = {"E": 0.5, "alpha": 0.3, "beta": 0.4, "decay": 0.3}  # Of a poor method on the others.
DRIFT = (
    0.0005,
    0.002,
    0.008,
    0.02,
    0.05,
    0.1,
    0.2,
)  # Error of ln L for each e-fold beyond the budgets.
DRIFT_SCALE = 0.06  # Of its exponential prior.
CONTENDER = 0.6  # Of what the best has learnt must a contender have learnt, too.
UNDERTUNED = 2.0  # Mean excess of under-tuned cells over the frontier, in units of their misfit.


@dataclass(frozen=True, eq=False)
class Branch:
    """A link and its share of the draws of one group of methods.

    Attributes:
        law: To evaluate.
        phi: (r, K) draws. errors: (r, 4) as of `toolkit.laws.posterior.Posterior`.
    """

    law: JointLaw
    phi: Array
    errors: Array


@dataclass(frozen=True, eq=False)
class Surface:
    """The loss of every method and decoder, with what is not known about it.

    Attributes:
        cells: All that it stands on.
        weights: Of each link, from how well it predicts the table's largest budget.
        scores: ln density of that budget under each link; NaN where there are too few budgets.
        contenders: Methods that share parameters.
        branches: By method, its number in each branch and the branches of its group.
        drift: (R,) drawn errors of ln L for each e-fold above the budgets.
        modes: By method and link, the most likely law: the method's number in it, the law and its
            coordinates.
        outlying: (n,) standard deviations that each cell lies off the law.
    """

    cells: Cells
    weights: Mapping[str, float]
    scores: Mapping[str, float]
    contenders: tuple[str, ...]
    branches: Mapping[str, tuple[int, tuple[Branch, ...]]]
    drift: Array
    modes: Mapping[str, Mapping[str, tuple[int, JointLaw, Array]]]
    outlying: Array

    @property
    def form(self) -> str:
        """The link with the most weight."""
        return max(self.weights, key=lambda name: self.weights[name])

    def draws(
        self,
        method: str,
        params: Array,
        pairs: Array,
        log_flop: float,
        *,
        unique: float = np.inf,
        common: bool = False,
    ) -> Array:
        """(R, q) draws of the mean loss of a method at sizes and pairs (q,), for one budget.

        Args:
            unique: Distinct pairs at hand.
            common: Leave out what is a decoder's own, and the misfit of its cells: the smooth
                law, for the ideal size.
        """
        number, branches = self.branches[method]
        points = self._points(number, params, pairs, unique, common)
        index = points.decoder
        logs = np.concatenate([b.law.at(b.phi, points)[0] for b in branches])
        errors = np.concatenate([b.errors for b in branches])
        drift = self.drift[: len(logs)]
        beyond = max(
            0.0, log_flop - self.cells.log_flop.max(), self.cells.log_flop.min() - log_flop
        )
        logs += (drift * beyond * np.sqrt(1 - 2 * OWN_DRIFT) * paired_normal(len(logs), 0))[:, None]
        name = sum(map(ord, method))
        logs += (drift * beyond * np.sqrt(OWN_DRIFT) * paired_normal(len(logs), 1, name))[:, None]
        if common:
            return np.exp(logs)
        places = place(points.log_pairs, points.log_unique)
        far = abs(log_flop - self.cells.log_flop.max())
        for column, size in enumerate(params):
            own = paired_normal(len(logs), 2, int(size))
            logs[:, column] += drift * beyond * np.sqrt(OWN_DRIFT) * own
            mean, spread = _misfit(self, method, int(index[column])).given(places[column], far)
            logs[:, column] += mean + spread * paired_normal(len(logs), 3, int(size), name)
            if index[column] < 0:
                logs[:, column] += errors[:, 1] * paired_normal(len(logs), 4, int(size))
        return np.exp(logs)

    def alone(self, method: str, link: str, params: Array, pairs: Array, unique: float) -> Array:
        """(q,) the most likely loss under one link alone."""
        number, law, phi = self.modes[method][link]
        points = self._points(number, params, pairs, unique, False)
        return np.exp(law.at(phi[None], points)[0][0])

    def _points(
        self, number: int, params: Array, pairs: Array, unique: float, common: bool
    ) -> Points:
        tried = {float(p): j for j, p in enumerate(self.cells.decoders)}
        index = np.array([-1 if common else tried.get(float(p), -1) for p in params], int)
        q = len(params)
        return Points(
            np.full(q, number), np.log(params), index, np.log(pairs), np.full(q, np.log(unique))
        )

    def excess(self, method: str) -> Array:
        """(R,) factors below one by which the frontier may lie under the law.

        Runs that were not tuned to the end only ever lie above the frontier, so the law through
        them does, by about twice what they scatter beyond seeds.
        """
        misfit = np.concatenate([b.errors[:, 0] for b in self.branches[method][1]])
        rng = np.random.default_rng(5)
        return np.exp(-UNDERTUNED * misfit * rng.exponential(size=len(misfit)))


@kept(512)
def _misfit(surface: Surface, method: str, decoder: int) -> Misfit:
    """What its own cells say of a method with a decoder, by its number; nothing of -1."""
    cells, (number, branches) = surface.cells, surface.branches[method]
    rows = (cells.decoder == decoder) & (cells.method == cells.methods.index(method))
    some = cells.only(rows)
    points = replace(some, method=np.full(len(some.runs), number))
    kinds, kind = np.unique(
        np.concatenate([b.errors[:, [0, 2]] for b in branches]), axis=0, return_inverse=True
    )
    promised, variance = some.promised
    return Misfit(
        place(some.log_pairs, some.log_unique),
        cells.log_flop.max() - some.log_flop,
        variance,
        some.variance,
        (TAIL + np.maximum(surface.outlying[rows] ** 2, 1.0)) / (TAIL + 1),
        promised - np.concatenate([b.law.at(b.phi, points)[0] for b in branches]),
        kinds,
        kind.ravel(),
    )


@lru_cache(maxsize=4096)
def paired_normal(count: int, *key: int) -> Array:
    """Standard normal numbers that are the same for the same key: choices stay paired."""
    return np.random.default_rng(key).standard_normal(count)


def contenders(cells: Cells) -> tuple[str, ...]:
    """The methods that come near the best at either of their two largest budgets.

    Near is to have learnt three fifths as much: as far below chance, or below the highest loss.
    """
    budgets = cells.budgets
    ceiling = np.exp(cells.log_loss.max()) if np.isnan(cells.chance) else cells.chance
    level = np.abs(cells.log_flop[:, None] - budgets).argmin(axis=1)
    best = np.array([cells.log_loss[level == k].min() for k in range(len(budgets))])
    kept = []
    for number, name in enumerate(cells.methods):
        mine = cells.method == number
        last = np.unique(level[mine])[-2:]
        low = [np.exp(cells.log_loss[mine & (level == k)].min()) for k in last]
        learnt = [
            ceiling - loss >= CONTENDER * (ceiling - np.exp(best[k]))
            for loss, k in zip(low, last, strict=True)
        ]
        if any(learnt):
            kept.append(name)
    return tuple(kept)


def fit_surface(cells: Cells, *, draws: int = 1000, seed: int = 0) -> Surface:
    """Fit all links and methods, weigh the links, and draw.

    Args:
        draws: Of the posterior; the links share them by their weights.
    """
    links = [link for link in LINKS.values() if np.isfinite(cells.chance) or link.name != "bounded"]
    near = contenders(cells)
    group = cells.of_methods(near)
    drift, scores = _predicted(group, links)
    known = {name: score for name, score in scores.items() if np.isfinite(score)}
    fitted = {link.name: fit_posterior(group, link) for link in links}
    known = known or {name: f.evidence for name, f in fitted.items()}
    total = np.logaddexp.reduce(list(known.values()))
    shares = {name: float(np.exp(score - total)) for name, score in known.items()}
    counts = {name: round(draws * share) for name, share in shares.items()}
    likely = max(shares, key=lambda name: shares[name])
    rng = np.random.default_rng(seed)
    branches: dict[str, tuple[int, tuple[Branch, ...]]] = {}
    modes: dict[str, dict[str, tuple[int, JointLaw, Array]]] = {}
    outlying = np.zeros(len(cells.log_loss))
    alone = [(name,) for name in cells.methods if name not in near]
    for names in (near, *alone):
        own = fitted
        if names != near:
            some = cells.of_methods(names)
            own = {
                link: fit_posterior(some, LINKS[link], _lean(f, some)) for link, f in fitted.items()
            }
        drawn = tuple(Branch(f.law, *f.draw(counts[n], rng)) for n, f in own.items() if counts[n])
        for number, name in enumerate(names):
            branches[name] = (number, drawn)
            modes[name] = {n: (number, f.law, f.best) for n, f in own.items()}
        mine = np.isin(cells.method, [cells.methods.index(n) for n in names])
        outlying[mine] = own[likely].outlying
    size = rng.choice(DRIFT, sum(len(b.phi) for b in branches[near[0]][1]), p=drift)
    return Surface(cells, shares, scores, near, branches, size, modes, outlying)


def _lean(of: Posterior, alone: Cells) -> Prior:
    """A poor method's prior: around what the contenders say, moved to its own middle."""
    law, own = of.law, JointLaw(alone, of.law.link)
    shared = {name: float(of.best[part].mean()) for name, part in law.parts.items()}
    asymptote = law.floor / (1 + np.exp(-shared["E"])) / own.floor
    shared["E"] = float(np.log(asymptote / (1 - asymptote)))
    prior = own.prior(np.array(DECODERS[:1]), np.ones(1))
    places = {name: own.parts[name].start for name in LEANING if name != "decay"}
    for name, k in (places | {"decay": own.decay}).items():
        prior.centre[0, k] = of.best[law.decay] if name == "decay" else shared[name]
        prior.covariance[0, k, k] = LEANING[name] ** 2
    return prior


def _predicted(cells: Cells, links: list[Link]) -> tuple[Array, dict[str, float]]:
    """How likely each size of drift is, and each link's ln density of the largest budget."""
    budgets = cells.budgets
    sizes = np.array(DRIFT)
    prior = np.log(sizes) - sizes / DRIFT_SCALE  # Exponential; the sizes are spaced by ratio.
    density = prior.copy()
    scores = {link.name: np.nan for link in links}
    for k in range(2, len(budgets)):
        below = cells.log_flop < budgets[k] - 5e-4
        here = np.abs(cells.log_flop - budgets[k]) < 5e-4
        here &= np.isin(cells.method, np.unique(cells.method[below]))
        if below.sum() < 4 or not here.any():
            continue
        each = {
            link.name: fit_posterior(cells.only(below), link).predict(cells.only(here), sizes)
            for link in links
        }
        density += np.logaddexp.reduce(list(each.values())) - np.log(len(each))
        if k == len(budgets) - 1:
            scores = {name: float(np.logaddexp.reduce(e + prior)) for name, e in each.items()}
    return np.exp(density - np.logaddexp.reduce(density)), scores

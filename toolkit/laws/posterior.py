"""A joint law fitted: every guess at the sizes of its errors, weighed by the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from toolkit.laws.cells import Cells
from toolkit.laws.gauss_newton import Modes, Prior, fit_modes, log_density, log_evidence
from toolkit.laws.joint import JointLaw
from toolkit.laws.links import Link
from toolkit.laws.optimiser import Array

# The grid of what the data must tell about its own errors.
MISFIT = (0.001, 0.005, 0.012, 0.03, 0.06, 0.12)
DECODERS = (0.003, 0.04, 0.15)
GROWTH = (0.0, 0.25)  # Exponent of the misfit in (largest budget / budget).
APART = (1.0, 8.0)  # Times as far as nearly shared may methods lie apart.
MISFIT_SCALE, DECODER_SCALE = 0.08, 0.08  # Of their exponential priors.
SHARING = 20.0  # How many times likelier it is beforehand that methods nearly share.
OWN_DRIFT = 0.25  # Share of a drift's variance that is a method's own, and a decoder's own.
TAIL = 5.0  # Student's degrees of freedom that outlying cells are weighed down by.


@dataclass(frozen=True, eq=False)
class Posterior:
    """One link fitted to one group of methods, for every guess at the sizes of the errors.

    Attributes:
        law: What was fitted.
        errors: (G, 4) misfit, spread of decoders, growth, and how far methods lie apart.
        weights: (G,) how likely each of these is.
        modes, prior, variance: Of each, (G, ...).
        evidence: ln p of the data, all guesses weighed.
        outlying: (n,) how far each cell lies off, in standard deviations.
    """

    law: JointLaw
    errors: Array
    weights: Array
    modes: Modes
    prior: Prior
    variance: Array
    evidence: float
    outlying: Array

    @property
    def best(self) -> Array:
        """(K,) coordinates of the most likely law."""
        phi: Array = self.modes.phi[self.weights.argmax()]
        return phi

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """(count, K) coordinates and (count, 4) sizes of the errors."""
        pick = rng.choice(len(self.weights), count, p=self.weights)
        variance, prior = self.variance[pick], self.prior.rows(pick)
        y = self.law.cells.log_loss + rng.standard_normal(variance.shape) * np.sqrt(variance)
        moved = Prior(prior.draw(rng), prior.covariance)
        drawn = fit_modes(
            self.law, self.modes.phi[pick], y, variance, moved, iterations=30, tolerance=1e-7
        )
        return drawn.phi, self.errors[pick]

    def predict(self, top: Cells, drift: Array) -> Array:
        """(len(drift),) ln density that the fit gives to cells above its budgets."""
        law = self.law
        value, slope = law.at(self.modes.phi, top, slopes=True)
        spread = slope @ np.linalg.solve(self.modes.hessian, slope.transpose(0, 2, 1))
        beyond = top.log_flop - law.cells.log_flop.max()
        misfit = self.errors[:, :1] * np.exp(self.errors[:, 2:3] * beyond)
        own = top.variance + misfit**2
        spread += own[:, :, None] * np.eye(len(beyond))
        alike = _alike(top)
        residual = value - top.log_loss
        with np.errstate(divide="ignore"):
            prior = np.log(self.weights)
        return np.array(
            [
                np.logaddexp.reduce(
                    log_density(residual, spread + (size * np.outer(beyond, beyond) * size) * alike)
                    + prior
                )
                for size in drift
            ]
        )


def _alike(cells: Cells) -> Array:
    """(n, n) correlation of drifts: common, a method's own, a decoder's own."""
    same = [np.equal.outer(part, part) for part in (cells.method, cells.decoder)]
    return (1 - 2 * OWN_DRIFT) + OWN_DRIFT * (same[0].astype(float) + same[1])


def fit_posterior(cells: Cells, link: Link, lean: Prior | None = None) -> Posterior:
    """Fit one link to one group of methods.

    Args:
        lean: Instead of the stated prior of the parameters that methods share, (1, K).
    """
    law = JointLaw(cells, link)
    effects = DECODERS if law.capacity.stop > law.capacity.start else DECODERS[:1]
    apart = APART if len(cells.methods) > 1 else APART[:1]
    errors = np.array(list(product(MISFIT, effects, GROWTH, apart)))
    prior = law.prior(errors[:, 1], errors[:, 3])
    if lean is not None:
        shared = slice(0, law.decay + 1)
        prior.centre[:, shared] = lean.centre[:, shared]
        prior.covariance[:, shared, shared] = lean.covariance[:, shared, shared]
    farther = cells.log_flop.max() - cells.log_flop
    misfit = errors[:, :1] * np.exp(errors[:, 2:3] * farther)
    variance = cells.variance + misfit**2
    y = np.broadcast_to(cells.log_loss, variance.shape)
    middle = np.full(8, len(errors) // 2)
    first = fit_modes(law, law.starts(), y[middle], variance[middle], prior.rows(middle))
    best = first.phi[first.objective.argmin()]
    # Cells that lie far off are weighed down, as a Student's t would; two rounds settle it.
    weight = np.ones(len(cells.log_loss))
    for _ in range(2):
        weighed = variance / weight
        modes = fit_modes(law, np.tile(best, (len(errors), 1)), y, weighed, prior)
        evidence = log_evidence(modes, weighed, prior)
        evidence -= errors[:, 0] / MISFIT_SCALE + errors[:, 1] / DECODER_SCALE
        evidence -= np.log(SHARING) * (errors[:, 3] > 1)
        weights = np.exp(evidence - np.logaddexp.reduce(evidence))
        likely = int(weights.argmax())
        best = modes.phi[likely]
        off = (cells.log_loss - law(best[None])[0][0]) / np.sqrt(variance[likely])
        weight = (TAIL + 1) / (TAIL + np.maximum(off**2, 1.0))
    total = float(np.logaddexp.reduce(evidence))
    return Posterior(law, errors, weights, modes, prior, weighed, total, off)

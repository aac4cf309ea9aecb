"""What the cells of one decoder and method say of it beyond the law: their misfit, carried along.

The law is a smooth one for all; what a cell came to lies off it by a misfit of the cell's own. That
is drawn anew where nothing was run. Where something was, it is known from there, the better the
less of the residual is seeds' scatter (Krige 1951): over the data of one decoder and method the
misfit is an Ornstein and Uhlenbeck process, which forgets by a factor of e with each e-fold of
distinct pairs, and of epochs, between two cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.laws.optimiser import Array, Rows

WIDEST = 1.0  # Growth of the misfit with the distance to the largest budget ends here, in logs.


@dataclass(frozen=True, eq=False)
class Misfit:
    """The misfit of a decoder with a method, given its cells.

    Attributes:
        at: (n, 2) ln distinct pairs and ln epochs of the cells. far: (n,) their distance, in
            e-folds, to the largest budget.
        variance: (n,) of their ln losses: seeds' scatter, which is no misfit.
        law_variance: (n,) of what the law was told: of the best settings, of which less is known.
        outlying: (n,) the factors by which a Student's t widens that.
        residuals: (R, n) draws of ln loss off the law.
        kinds, kind: (G, 2) sizes of a misfit and of its growth, and (R,) which each draw has.
    """

    at: Array
    far: Array
    variance: Array
    law_variance: Array
    outlying: Array
    residuals: Array
    kinds: Array
    kind: Rows

    def given(self, at: Array, far: float) -> tuple[Array, Array]:
        """(R,) mean and (R,) standard deviation of the misfit at a place (2,), so `far`."""
        here, there = _size(self.kinds, np.array([far])), _size(self.kinds, self.far)
        if not len(self.at):
            return np.zeros(len(self.kind)), here[self.kind, 0]
        alike, near = _forgetting(self.at, self.at), _forgetting(self.at, at[None])[:, 0]
        # What is a cell's own, of outliers and of unsettled settings, reaches what is near alone.
        own = (there**2 + self.law_variance) * self.outlying - there**2 - self.variance
        own = np.maximum(own, 0.0)
        spread = alike * own[:, None, :]
        known = there[:, :, None] * alike * there[:, None, :] + spread @ alike
        known += np.diag(self.variance)
        shared = here * there * near + spread @ near
        weights = np.linalg.solve(known, shared[:, :, None])[:, :, 0]
        variance = here[:, 0] ** 2 + (own * near**2).sum(axis=1) - (weights * shared).sum(axis=1)
        mean = (self.residuals * weights[self.kind]).sum(axis=1)
        return mean, np.sqrt(np.maximum(variance, 0.0))[self.kind]


def place(log_pairs: Array, log_unique: Array) -> Array:
    """(n, 2) ln distinct pairs seen, and ln epochs."""
    distinct = np.minimum(log_pairs, log_unique)
    return np.stack([distinct, log_pairs - distinct], axis=-1)


def _size(kinds: Array, far: Array) -> Array:
    """(G, n) standard deviations of the misfit at distances to the largest budget."""
    return np.asarray(kinds[:, :1] * np.exp(np.minimum(kinds[:, 1:] * far, WIDEST)))


def _forgetting(a: Array, b: Array) -> Array:
    """(n, m) correlations."""
    return np.asarray(np.exp(-np.abs(a[:, None] - b[None]).sum(axis=2)))

"""The constants of a surface, for people: E, exponents, the worth of repeats, the two terms."""

from __future__ import annotations

import numpy as np

from toolkit.laws.estimate import Estimate
from toolkit.laws.optimiser import Array
from toolkit.laws.surface import Surface


def constants(surface: Surface, method: str) -> dict[str, Estimate]:
    """The constants of one method's law under the link with the most weight, 95 % intervals.

    In L = E + (ln K - E) h(x) with x = A (N/N0)^-alpha + B (D'/D0)^-beta, N0 and D0 the middle of
    the cells (`middle`): E, alpha, beta, A, B, and R_D, of Muennighoff's decay of repeats, where
    some run repeated its data. The value is the most likely law's.
    """
    number, law, best = surface.modes[method][surface.form]
    branches = surface.branches[method][1]
    phi = np.concatenate([best[None], *(b.phi for b in branches if b.law is law)])
    own = {name: phi[:, part.start + number] for name, part in law.parts.items()}
    columns = {name: np.exp(column) for name, column in own.items()}
    columns["E"] = law.floor / (1 + np.exp(-own["E"]))
    if surface.cells.repeats:
        columns["R_D"] = np.exp(phi[:, law.decay])
    return {name: _estimate(column) for name, column in columns.items()}


def middle(surface: Surface, method: str) -> tuple[float, float]:
    """N0 and D0 (pairs, or tokens) of a method's law."""
    _, law, _ = surface.modes[method][surface.form]
    return float(np.exp(law.middle[0])), float(np.exp(law.middle[1]))


def _estimate(column: Array) -> Estimate:
    low, high = np.quantile(column[1:], (0.025, 0.975))
    return Estimate(float(column[0]), float(low), float(high))

"""The loss as what remains and two powers, of size and of data."""

from collections.abc import Mapping

import numpy as np

from toolkit.laws.forms.base import Evaluation, Form, amplitude, asymptote, exponent
from toolkit.laws.optimiser import Array


def powers(phi: Array, z: Array, centre: Array) -> Evaluation:
    """ln(E + Σ A_v / X_v^α_v). Inside the coordinates' box no term can overflow."""
    floor = phi[:, :1]
    amplitudes, exponents = phi[:, 1::2, None], phi[:, 2::2, None]
    terms = [np.exp(amplitudes[:, v] - exponents[:, v] * z[v]) for v in range(len(z))]
    total = sum(terms, start=floor)
    slopes = [1.0 / total]
    for v, term in enumerate(terms):
        share = term / total
        slopes += [share, -share * z[v]]
    return np.log(total), slopes


def allocation(theta: Mapping[str, Array]) -> dict[str, Array]:
    """Compute-optimal exponents: with C = k N D, N* = G (C/k)^a and D* = (C/k)^b / G.

    They hold for every law that falls with A/N^alpha + B/D^beta.
    """
    alpha, beta = theta["alpha"], theta["beta"]
    with np.errstate(divide="ignore", invalid="ignore"):
        g = (alpha * theta["A"] / (beta * theta["B"])) ** (1 / (alpha + beta))
        return {
            "exponent_params": beta / (alpha + beta),
            "exponent_tokens": alpha / (alpha + beta),
            "G": g,
        }


PARAMETRIC = Form(
    "parametric",
    "L(N, D) = E + A/N^alpha + B/D^beta",
    "Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, eq. 2",
    ("params", "tokens"),
    (
        asymptote(),
        amplitude("A", 0, "alpha"),
        exponent("alpha"),
        amplitude("B", 1, "beta"),
        exponent("beta"),
    ),
    powers,
    "huber-log",
    allocation,
)

"""The worth of data, or of parameters, beyond what is unique (Muennighoff et al. 2023)."""

import math

import numpy as np

from toolkit.laws.forms.base import Evaluation, Form, Parameter, amplitude, asymptote, exponent
from toolkit.laws.forms.parametric import allocation
from toolkit.laws.optimiser import Array


def effective(seen: Array, unique: Array, log_limit: Array) -> tuple[Array, Array, Array]:
    """ln X' of the effective quantity X' = U + U R*(1 - exp(-R/R*)), R = X/U - 1.

    Takes logs of X, U <= X and R*; gives ln X' and its derivatives by ln U and by ln R*.
    """
    limit = np.exp(log_limit)
    repeats = np.expm1(np.minimum(seen - unique, 50.0))
    fade = np.exp(-repeats / limit)
    worth = -limit * np.expm1(-repeats / limit)
    by_unique = 1.0 - fade * (1.0 + repeats) / (1.0 + worth)
    return unique + np.log1p(worth), by_unique, (worth - repeats * fade) / (1.0 + worth)


def limit(name: str) -> Parameter:
    """R*: after so many repeats the worth of one more has fallen to 1/e."""
    return Parameter(name, True, math.log(0.01), math.log(1e4), (0.0, 4.0))


def _evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
    e, a, alpha, b, beta, params_limit, tokens_limit = (phi[:, k : k + 1] for k in range(7))
    params, tokens, available = (z[v] + centre[v] for v in range(3))
    unique = np.minimum(tokens, available)
    # The params worth having for U unique tokens: alpha A / N^alpha = beta B / U^beta.
    log_ratio = np.log(alpha / beta) + (a + alpha * centre[0]) - (b + beta * centre[1])
    enough = (log_ratio + beta * unique) / alpha
    excess = enough < params
    n, n_by_unique, n_by_limit = effective(params, np.minimum(params, enough), params_limit)
    d, _, d_by_limit = effective(tokens, unique, tokens_limit)

    by_params = np.exp(a - alpha * (n - centre[0]))
    by_tokens = np.exp(b - beta * (d - centre[1]))
    total = e + by_params + by_tokens
    share_n, share_d = by_params / total, by_tokens / total
    through = -alpha * share_n * np.where(excess, n_by_unique, 0.0)  # d ln L / d ln U_N
    slopes = [
        1.0 / total,
        share_n + through / alpha,
        -share_n * (n - centre[0]) + through * (1 / alpha + centre[0] - enough) / alpha,
        share_d - through / alpha,
        -share_d * (d - centre[1]) + through * (unique - centre[1] - 1 / beta) / alpha,
        -alpha * share_n * n_by_limit,
        -beta * share_d * d_by_limit,
    ]
    return np.log(total), slopes


DATA_CONSTRAINED = Form(
    "data-constrained",
    "L = E + A/N'^alpha + B/D'^beta, D' = U_D + U_D R_D* (1 - exp(-R_D/R_D*)) with "
    "R_D = D/U_D - 1 repeats of U_D unique tokens; N' likewise, U_N = min(N, N_opt(U_D))",
    "Muennighoff et al. 2023 (arXiv:2305.16264), eq. 5 and 6",
    ("params", "tokens", "unique_tokens"),
    (
        asymptote(),
        amplitude("A", 0, "alpha"),
        exponent("alpha", 0.01),
        amplitude("B", 1, "beta"),
        exponent("beta", 0.01),
        limit("R_N"),
        limit("R_D"),
    ),
    _evaluate,
    "huber-log",
    allocation,
)

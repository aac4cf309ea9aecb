"""A contrastive loss between what remains of it and chance.

Over K candidates a model that has learnt nothing has a loss of ln K: there is ln K - E to learn.
Let x = A/N^alpha + B/D^beta be the odds of what is left of it against what is learnt. The share
left is then x / (1 + x), and

    L = E + (ln K - E) x / (1 + x).

Small x gives the parametric law, with amplitudes (ln K - E) A and (ln K - E) B; large x gives ln K.
"""

from functools import partial

import numpy as np
from scipy.special import expit

from toolkit.laws.forms.base import (
    Evaluation,
    Form,
    Parameter,
    Shift,
    asymptote,
    exponent,
)
from toolkit.laws.forms.data_constrained import effective, limit
from toolkit.laws.forms.parametric import allocation
from toolkit.laws.optimiser import Array

CEILING = "ceiling"


def _evaluate(repeated: bool, phi: Array, z: Array, centre: Array) -> Evaluation:
    """ln L; the loss is a mean of E and ln K, weighted by 1 and x."""
    e, a, alpha, b, beta, log_ceiling = (phi[:, k : k + 1] for k in range(6))
    data, by_limit = z[1], np.zeros(1)
    if repeated:
        seen = z[1] + centre[1]
        unique = np.minimum(seen, z[2] + centre[2])
        data, _, by_limit = effective(seen, unique, phi[:, 6:])
        data = data - centre[1]
    by_params, by_tokens = a - alpha * z[0], b - beta * data
    log_x = np.logaddexp(by_params, by_tokens)
    share_n = expit(by_params - by_tokens)  # Of params in x.
    share_d = 1.0 - share_n
    ceiling, left, learnt = np.exp(log_ceiling), expit(log_x), expit(-log_x)
    total = e * learnt + ceiling * left
    pull = (ceiling - e) * left * learnt / total  # d ln L / d ln x
    slopes = [
        learnt / total,
        pull * share_n,
        -pull * share_n * z[0],
        pull * share_d,
        -pull * share_d * data,
        ceiling * left / total,
    ]
    if repeated:
        slopes.append(-pull * share_d * beta * by_limit)
    return np.log(total), slopes


def _odds(name: str, axis: int, power: str) -> Parameter:
    """The factor of a power of an input that is a part of x."""
    return Parameter(name, True, -25.0, 25.0, (-4.0, 1.0), (Shift(axis, 1.0, power),))


_PARAMETERS = (
    asymptote(),
    _odds("A", 0, "alpha"),
    exponent("alpha"),
    _odds("B", 1, "beta"),
    exponent("beta"),
    Parameter(
        CEILING, True, -10.0, 10.0, (0.0, 1.0), unit=True, told="chance, ln of the candidates"
    ),
)
_CITATION = "chance over K candidates: Oord et al. 2018 (arXiv:1807.03748), section 2.3"
BOUNDED = Form(
    "bounded",
    "L = E + (ln K - E) x / (1 + x), x = A/N^alpha + B/D^beta, K candidates",
    _CITATION,
    ("params", "tokens"),
    _PARAMETERS,
    partial(_evaluate, False),
    derived=allocation,
)
BOUNDED_REPEATS = Form(
    "bounded-repeats",
    "L = E + (ln K - E) x / (1 + x), x = A/N^alpha + B/D'^beta, K candidates, "
    "D' = U_D + U_D R_D* (1 - exp(-R_D/R_D*)) with R_D = D/U_D - 1 repeats of U_D unique tokens",
    f"{_CITATION}; D': Muennighoff et al. 2023 (arXiv:2305.16264), eq. 5",
    ("params", "tokens", "unique_tokens"),
    (*_PARAMETERS, limit("R_D")),
    partial(_evaluate, True),
    derived=allocation,
)

"""The loss of fine-tuning against its data."""

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from toolkit.laws.forms.base import Evaluation, Form, Parameter, Shift, asymptote, exponent
from toolkit.laws.optimiser import Array


def _evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
    """L is a mean of A and E, weighted by the two sides of a logistic curve in ln D."""
    e, log_a, beta, b = (phi[:, k : k + 1] for k in range(4))
    a, steps = np.exp(log_a), b + beta * z[0]
    learned, rest = expit(steps), expit(-steps)
    total = a * rest + e * learned
    by_steps = (e - a) * learned * rest / total
    return np.log(total), [learned / total, a * rest / total, by_steps * z[0], by_steps]


def _pre_learned(theta: Mapping[str, Array]) -> dict[str, Array]:
    """Lin et al.'s parameters of L = B / (D_l + D^beta) + E; D_l is the pre-learned data."""
    learned = np.exp(-theta["b"])
    return {"D_l": learned, "B": (theta["A"] - theta["E"]) * learned}


FINETUNE = Form(
    "finetune",
    "L(D) = (A - E) / (1 + e^(beta ln D + b)) + E",
    "Lin et al. 2024 (arXiv:2402.02314), rectified scaling law, log-RMSE loss",
    ("x",),
    (
        asymptote(),
        Parameter("A", True, -10.0, 10.0, (0.0, 1.0), unit=True),
        exponent("beta"),
        Parameter("b", False, -40.0, 40.0, (-3.0, 3.0), (Shift(0, -1.0, "beta"),)),
    ),
    _evaluate,
    "lsq-log",
    _pre_learned,
    usual="tokens",
)

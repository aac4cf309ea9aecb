"""A power of one input: best size, best data or reducible loss against the budget."""

import numpy as np

from toolkit.laws.forms.base import Evaluation, Form, Parameter, Shift
from toolkit.laws.optimiser import Array


def _evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
    return phi[:, :1] + phi[:, 1:2] * z[0], [np.ones_like(z[0])[None], z[0][None]]


POWER = Form(
    "power",
    "y = coefficient * x^exponent",
    "Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.1 to 1.3",
    ("x",),
    (
        Parameter(
            "coefficient", True, -50.0, 50.0, (-1.0, 1.0), (Shift(0, -1.0, "exponent"),), True
        ),
        Parameter("exponent", False, -20.0, 20.0, (-1.0, 1.0)),
    ),
    _evaluate,
)

"""Loss against log size at one budget."""

import math

import numpy as np

from toolkit.laws.forms.base import Evaluation, Form, Parameter, Shift
from toolkit.laws.optimiser import Array


def _evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
    offset = z[0] - phi[:, 2:]
    bottom, bowl = np.exp(phi[:, :1]), np.exp(phi[:, 1:2]) * offset**2 / 2
    total = bottom + bowl
    return np.log(total), [bottom / total, bowl / total, -np.exp(phi[:, 1:2]) * offset / total]


PARABOLA = Form(
    "parabola",
    "L(x) = L_min + k/2 (ln x - ln x_min)^2, at one budget",
    "Hoffmann et al. 2022 (arXiv:2203.15556), approach 2",
    ("x",),
    (
        Parameter("L_min", True, math.log(1e-6), 2.0, (-1.0, 0.0), unit=True),
        Parameter("k", True, -25.0, 10.0, (-6.0, 0.0), unit=True),
        Parameter("x_min", True, -30.0, 30.0, (-2.0, 2.0), (Shift(0, 1.0),)),
    ),
    _evaluate,
    "lsq",
)

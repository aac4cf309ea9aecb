"""How to split a budget between size and data, by a law of both."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.estimate import Estimate
from toolkit.laws.fitting import Fit
from toolkit.laws.forms import Form
from toolkit.laws.optimiser import Array

SHRINKINGS = 60  # Golden sections of ln N: the bracket ends 1e-12 of its width.
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Allocation:
    """The compute-optimal use of one budget.

    Attributes:
        budget_flop, flop_per_param_token: C and the k of C = k N D that was assumed.
        params, tokens, loss: The optimum, with intervals.
        draws: (R, 3) the same of every resample.
    """

    budget_flop: float
    flop_per_param_token: float
    params: Estimate
    tokens: Estimate
    loss: Estimate
    draws: Array = field(repr=False, compare=False)


def allocate(
    fit: Fit,
    budget_flop: float,
    *,
    flop_per_param_token: float = 6.0,
    unique_tokens: float | None = None,
) -> Allocation:
    """The N and D of least loss with C = k N D, by the fitted law and by each resample.

    Args:
        fit: Of a law of params and tokens.
        budget_flop: C.
        flop_per_param_token: k; 6 for full training, less with frozen parameters.
        unique_tokens: For the data-constrained law, the distinct tokens there are.

    Raises:
        ToolkitError: The law is not one of params and tokens, or a number is missing or not
            positive.
    """
    roles = fit.form.roles
    if roles[:2] != ("params", "tokens"):
        raise ToolkitError(f"{fit.form.name} does not tell params from tokens; fit parametric")
    if (unique_tokens is not None) != (len(roles) == 3):
        need = "needs" if len(roles) == 3 else "does not take"
        raise ToolkitError(f"{fit.form.name} {need} the number of unique tokens")
    for what, number in (
        ("budget", budget_flop),
        ("FLOP per param and token", flop_per_param_token),
    ):
        if not (number > 0 and math.isfinite(number)):
            raise ToolkitError(f"the {what} must be a positive number, not {number}")
    product = math.log(budget_flop / flop_per_param_token)
    theta = np.vstack([fit.theta, fit.draws])
    best = _optimum(fit.form, theta, product, unique_tokens)
    flop = flop_per_param_token * fit.inputs[0] * fit.inputs[1]
    beyond = not 0.999 * flop.min() <= budget_flop <= 1.001 * flop.max()
    params, tokens, loss = (
        Estimate.of(column[0], column[1:], fit.freedom, beyond) for column in best.T
    )
    return Allocation(budget_flop, flop_per_param_token, params, tokens, loss, best[1:])


def _optimum(law: Form, theta: Array, product: float, unique: float | None) -> Array:
    """(B, 3) N, D and L at the least loss along ln N + ln D = product, by golden section."""

    def loss(log_n: Array) -> Array:
        inputs = [np.exp(log_n), np.exp(product - log_n)]
        if unique is not None:
            inputs.append(np.full_like(log_n, unique))
        with np.errstate(all="ignore"):
            return law.value(theta, np.array(inputs)[:, :, None])[:, 0]

    left, right = np.zeros(len(theta)), np.full(len(theta), product)
    a, b = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    at_a, at_b = loss(a), loss(b)
    for _ in range(SHRINKINGS):
        keep_left = at_a < at_b
        left, right = np.where(keep_left, left, a), np.where(keep_left, b, right)
        inner = np.where(keep_left, right - GOLDEN * (right - left), left + GOLDEN * (right - left))
        fresh = loss(inner)
        a, b = np.where(keep_left, inner, b), np.where(keep_left, a, inner)
        at_a, at_b = np.where(keep_left, fresh, at_b), np.where(keep_left, at_a, fresh)
    log_n = (left + right) / 2
    return np.stack([np.exp(log_n), np.exp(product - log_n), loss(log_n)], axis=1)

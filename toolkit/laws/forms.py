"""The registered laws: value, gradient, parameters, bounds, equation and citation of each.

A law is fitted in *coordinates*: amplitudes by their logarithm, inputs by the logarithm
of their ratio to a centre (their geometric mean), the loss in units of its own geometric mean.
Changing the unit of an input or of the loss then changes nothing about the optimisation, and
parameters that are strongly correlated as published (A and alpha, say) hardly are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.optimiser import Array

# ln L (B, n) and its derivative by each coordinate: K arrays (B, n), or broadcastable to it.
Evaluation = tuple[Array, list[Array]]


@dataclass(frozen=True)
class Shift:
    """How a coordinate depends on an input's centre c: natural = coordinate + sign * times * c."""

    axis: int
    sign: float
    times: str = ""  # The exponent that multiplies the centre; empty for 1.


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: As in the published equation.
        log: Whether its coordinate is its logarithm (then it is positive).
        low, high: Box of its coordinate.
        start: Range of its coordinate that random starts are drawn from.
        shift: How its coordinate moves with the centre of an input.
        unit: Whether it carries the loss's unit.
    """

    name: str
    log: bool
    low: float
    high: float
    start: tuple[float, float]
    shift: Shift | None = None
    unit: bool = False


@dataclass(frozen=True)
class Form:
    """A law that can be fitted.

    Attributes:
        name, equation, citation: As a paper would state it.
        roles: What its inputs are, in order; on a table, the columns it needs.
        parameters: In the order of the coordinates.
        evaluate: `evaluate(phi, z, centre)`: ln L and its derivatives from coordinates (B, K),
            centred log inputs (V, n) and log centres (V,).
        objective: The objective its authors use.
        derived: Further quantities, arrays (B,), from published parameters given by name.
    """

    name: str
    equation: str
    citation: str
    roles: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    evaluate: Callable[[Array, Array, Array], Evaluation]
    objective: str = "lsq-log"
    derived: Callable[[Mapping[str, Array]], dict[str, Array]] = lambda theta: {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def low(self) -> Array:
        return np.array([p.low for p in self.parameters])

    @property
    def high(self) -> Array:
        return np.array([p.high for p in self.parameters])

    def natural(self, phi: Array, centre: Array, unit: float = 0.0) -> Array:
        """(B, K) published parameters; `unit` is the log of the unit the loss was divided by."""
        theta = phi + self._offset(phi, centre, unit)
        with np.errstate(over="ignore"):
            theta[:, self._logs] = np.exp(theta[:, self._logs])
        theta[:, self._scaled] *= np.exp(unit)
        return theta

    def coordinates(self, theta: Array, centre: Array, unit: float = 0.0) -> Array:
        """(B, K) coordinates of published parameters: the inverse of `natural`."""
        phi = np.array(theta, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            phi[:, self._logs] = np.log(phi[:, self._logs])
        phi[:, self._scaled] *= np.exp(-unit)
        return phi - self._offset(phi, centre, unit)

    @property
    def _logs(self) -> list[bool]:
        return [p.log for p in self.parameters]

    @property
    def _scaled(self) -> list[bool]:
        return [p.unit and not p.log for p in self.parameters]

    def _offset(self, phi: Array, centre: Array, unit: float) -> Array:
        offset = np.zeros_like(phi)
        for k, p in enumerate(self.parameters):
            offset[:, k] = unit * (p.unit and p.log)
            if p.shift:
                times = phi[:, self.names.index(p.shift.times)] if p.shift.times else 1.0
                offset[:, k] += p.shift.sign * times * centre[p.shift.axis]
        return offset

    def value(self, theta: Any, inputs: Any) -> Array:
        """The law at inputs (V, n): (n,) for published parameters (K,), (B, n) for (B, K).

        With inputs (V, B, n) every row of parameters has inputs of its own.
        """
        value = np.exp(self._natural(theta, inputs)[0])
        return value if np.ndim(theta) == 2 else value[0]

    def gradient(self, theta: Any, inputs: Any) -> Array:
        """Derivatives of `value` by the published parameters: (n, K) or (B, n, K)."""
        log_value, slopes = self._natural(theta, inputs)
        batch, value = np.atleast_2d(np.asarray(theta, float)), np.exp(log_value)
        columns = [
            np.broadcast_to(s, value.shape) * value / (batch[:, k, None] if p.log else 1.0)
            for k, (p, s) in enumerate(zip(self.parameters, slopes, strict=True))
        ]
        gradient = np.stack(columns, axis=-1)
        return gradient if np.ndim(theta) == 2 else gradient[0]

    def _natural(self, theta: Any, inputs: Any) -> Evaluation:
        z = np.log(np.atleast_2d(np.asarray(inputs, float)))
        zero = np.zeros(len(z))
        return self.evaluate(
            self.coordinates(np.atleast_2d(np.asarray(theta, float)), zero), z, zero
        )


def form(name: str) -> Form:
    """The registered form of that name.

    Raises:
        ToolkitError: There is none; the nearest names are offered.
    """
    if name not in FORMS:
        raise ToolkitError(f"unknown form {name!r}{nearest(name, list(FORMS))}")
    return FORMS[name]


def tied(base: Form, keep: str = "alpha", drop: str = "beta") -> Form:
    """The same law with one exponent for both inputs, drop = keep."""
    i, j = base.names.index(keep), base.names.index(drop)
    rest = [k for k in range(len(base.names)) if k != j]
    column = [rest.index(i if k == j else k) for k in range(len(base.names))]

    def evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
        value, slopes = base.evaluate(phi[:, column], z, centre)
        merged = [slopes[k] + slopes[j] if k == i else slopes[k] for k in rest]
        return value, merged

    def untie(p: Parameter) -> Parameter:
        follows = p.shift is not None and p.shift.times == drop
        return replace(p, shift=replace(p.shift, times=keep)) if follows and p.shift else p

    return replace(
        base,
        name=f"{base.name} with {drop} = {keep}",
        parameters=tuple(untie(base.parameters[k]) for k in rest),
        evaluate=evaluate,
        derived=lambda theta: base.derived({**theta, drop: theta[keep]}),
    )


def _asymptote() -> Parameter:
    # Linear, so that a loss that shows no asymptote ends at the wall E = 0 and not on a slope
    # towards ln E = -infinity.
    return Parameter("E", False, 0.0, 10.0, (0.02, 0.98), unit=True)


def _amplitude(name: str, axis: int, exponent: str) -> Parameter:
    return Parameter(name, True, -25.0, 25.0, (-4.0, 0.0), Shift(axis, 1.0, exponent), unit=True)


def _exponent(name: str, low: float = 0.0) -> Parameter:
    return Parameter(name, False, low, 5.0, (0.05, 1.0))


def _parabola(phi: Array, z: Array, centre: Array) -> Evaluation:
    offset = z[0] - phi[:, 2:]
    bottom, bowl = np.exp(phi[:, :1]), np.exp(phi[:, 1:2]) * offset**2 / 2
    total = bottom + bowl
    return np.log(total), [bottom / total, bowl / total, -np.exp(phi[:, 1:2]) * offset / total]


def _power(phi: Array, z: Array, centre: Array) -> Evaluation:
    return phi[:, :1] + phi[:, 1:2] * z[0], [np.ones_like(z[0])[None], z[0][None]]


def _terms(phi: Array, z: Array, centre: Array) -> Evaluation:
    """ln(E + Σ A_v / X_v^α_v). Inside the coordinates' box no term can overflow."""
    asymptote = phi[:, :1]
    amplitudes, exponents = phi[:, 1::2, None], phi[:, 2::2, None]
    terms = [np.exp(amplitudes[:, v] - exponents[:, v] * z[v]) for v in range(len(z))]
    total = sum(terms, start=asymptote)
    slopes = [1.0 / total]
    for v, term in enumerate(terms):
        share = term / total
        slopes += [share, -share * z[v]]
    return np.log(total), slopes


def _repeated(seen: Array, unique: Array, log_limit: Array) -> tuple[Array, Array, Array]:
    """ln X' of Muennighoff's effective quantity X' = U + U R*(1 - exp(-R/R*)), R = X/U - 1.

    Takes logs of X, U <= X and R*; gives ln X' and its derivatives by ln U and by ln R*.
    """
    limit = np.exp(log_limit)
    repeats = np.expm1(np.minimum(seen - unique, 50.0))
    fade = np.exp(-repeats / limit)
    worth = -limit * np.expm1(-repeats / limit)
    by_unique = 1.0 - fade * (1.0 + repeats) / (1.0 + worth)
    return unique + np.log1p(worth), by_unique, (worth - repeats * fade) / (1.0 + worth)


def _data_constrained(phi: Array, z: Array, centre: Array) -> Evaluation:
    e, a, alpha, b, beta, params_limit, tokens_limit = (phi[:, k : k + 1] for k in range(7))
    params, tokens, available = (z[v] + centre[v] for v in range(3))
    unique = np.minimum(tokens, available)
    # The params worth having for U unique tokens: alpha A / N^alpha = beta B / U^beta.
    log_ratio = np.log(alpha / beta) + (a + alpha * centre[0]) - (b + beta * centre[1])
    enough = (log_ratio + beta * unique) / alpha
    excess = enough < params
    n, n_by_unique, n_by_limit = _repeated(params, np.minimum(params, enough), params_limit)
    d, _, d_by_limit = _repeated(tokens, unique, tokens_limit)

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


def _rectified(phi: Array, z: Array, centre: Array) -> Evaluation:
    """L is a mean of A and E, weighted by the two sides of a logistic curve in ln D."""
    e, log_a, beta, b = (phi[:, k : k + 1] for k in range(4))
    a, steps = np.exp(log_a), b + beta * z[0]
    learned, rest = expit(steps), expit(-steps)
    total = a * rest + e * learned
    by_steps = (e - a) * learned * rest / total
    return np.log(total), [learned / total, a * rest / total, by_steps * z[0], by_steps]


def _allocation(theta: Mapping[str, Array]) -> dict[str, Array]:
    """Compute-optimal exponents: with C = k N D, N* = G (C/k)^a and D* = (C/k)^b / G."""
    alpha, beta = theta["alpha"], theta["beta"]
    with np.errstate(divide="ignore", invalid="ignore"):
        g = (alpha * theta["A"] / (beta * theta["B"])) ** (1 / (alpha + beta))
        return {
            "exponent_params": beta / (alpha + beta),
            "exponent_tokens": alpha / (alpha + beta),
            "G": g,
        }


def _pre_learned(theta: Mapping[str, Array]) -> dict[str, Array]:
    """Lin et al.'s parameters of L = B / (D_l + D^beta) + E; D_l is the pre-learned data."""
    learned = np.exp(-theta["b"])
    return {"D_l": learned, "B": (theta["A"] - theta["E"]) * learned}


_LIMIT = (float(np.log(0.01)), float(np.log(1e4)), (0.0, 4.0))
FORMS: dict[str, Form] = {
    law.name: law
    for law in (
        Form(
            "parabola",
            "L(x) = L_min + k/2 (ln x - ln x_min)^2, at one budget",
            "Hoffmann et al. 2022 (arXiv:2203.15556), approach 2",
            ("x",),
            (
                Parameter("L_min", True, float(np.log(1e-6)), 2.0, (-1.0, 0.0), unit=True),
                Parameter("k", True, -25.0, 10.0, (-6.0, 0.0), unit=True),
                Parameter("x_min", True, -30.0, 30.0, (-2.0, 2.0), Shift(0, 1.0)),
            ),
            _parabola,
            "lsq",
        ),
        Form(
            "power",
            "y = coefficient * x^exponent",
            "Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.1 to 1.3",
            ("x",),
            (
                Parameter(
                    "coefficient", True, -50.0, 50.0, (-1.0, 1.0), Shift(0, -1.0, "exponent"), True
                ),
                Parameter("exponent", False, -20.0, 20.0, (-1.0, 1.0)),
            ),
            _power,
        ),
        Form(
            "saturating",
            "L(C) = E + A C^-alpha",
            "Henighan et al. 2020 (arXiv:2010.14701), eq. 1.1",
            ("x",),
            (_asymptote(), _amplitude("A", 0, "alpha"), _exponent("alpha")),
            _terms,
        ),
        Form(
            "parametric",
            "L(N, D) = E + A/N^alpha + B/D^beta",
            "Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, eq. 2",
            ("params", "tokens"),
            (
                _asymptote(),
                _amplitude("A", 0, "alpha"),
                _exponent("alpha"),
                _amplitude("B", 1, "beta"),
                _exponent("beta"),
            ),
            _terms,
            "huber-log",
            _allocation,
        ),
        Form(
            "data-constrained",
            "L = E + A/N'^alpha + B/D'^beta, D' = U_D + U_D R_D* (1 - exp(-R_D/R_D*)) with "
            "R_D = D/U_D - 1 repeats of U_D unique tokens; N' likewise, U_N = min(N, N_opt(U_D))",
            "Muennighoff et al. 2023 (arXiv:2305.16264), eq. 5 and 6",
            ("params", "tokens", "unique_tokens"),
            (
                _asymptote(),
                _amplitude("A", 0, "alpha"),
                _exponent("alpha", 0.01),
                _amplitude("B", 1, "beta"),
                _exponent("beta", 0.01),
                Parameter("R_N", True, *_LIMIT),
                Parameter("R_D", True, *_LIMIT),
            ),
            _data_constrained,
            "huber-log",
            _allocation,
        ),
        Form(
            "finetune",
            "L(D) = (A - E) / (1 + e^(beta ln D + b)) + E",
            "Lin et al. 2024 (arXiv:2402.02314), rectified scaling law, log-RMSE loss",
            ("x",),
            (
                _asymptote(),
                Parameter("A", True, -10.0, 10.0, (0.0, 1.0), unit=True),
                _exponent("beta"),
                Parameter("b", False, -40.0, 40.0, (-3.0, 3.0), Shift(0, -1.0, "beta")),
            ),
            _rectified,
            "lsq-log",
            _pre_learned,
        ),
    )
}

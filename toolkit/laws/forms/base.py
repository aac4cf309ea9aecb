"""What a law is: value, gradient, parameters with their bounds, equation and citation.

A law is fitted in *coordinates*: amplitudes by their logarithm, inputs by the logarithm
of their ratio to a centre (their geometric mean), the loss in units of its own geometric mean.
Changing the unit of an input or of the loss then changes nothing about the optimisation, and
parameters that are strongly correlated as published (A and alpha, say) hardly are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.optimiser import Array

# ln L (B, n) and its derivative by each coordinate: K arrays (B, n), or broadcastable to it.
Evaluation = tuple[Array, list[Array]]


@dataclass(frozen=True)
class Shift:
    """How it moves with an input's centre c: published = coordinate + factor * times * (c + by)."""

    axis: int
    factor: float
    times: str = ""  # The exponent that multiplies the centre; empty for 1.
    by: float = 0.0  # The log of a number that multiplies the input.


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Attributes:
        name: As in the published equation.
        log: Whether its coordinate is its logarithm (then it is positive).
        low, high: Box of its coordinate.
        start: Range of its coordinate that random starts are drawn from.
        shifts: How its coordinate moves with the centres of inputs.
        unit: Whether it carries the loss's unit.
        told: Why it must be pinned, where a law does not fit it: what it is; else empty.
    """

    name: str
    log: bool
    low: float
    high: float
    start: tuple[float, float]
    shifts: tuple[Shift, ...] = ()
    unit: bool = False
    told: str = ""

    @property
    def amplitude(self) -> bool:
        """Whether it scales a power of an input: its published value means nothing without it."""
        return self.log and any(shift.times for shift in self.shifts)

    @property
    def asymptote(self) -> bool:
        """Whether it is a loss that remains, which may be zero."""
        return self.unit and not self.log

    def following(self, renamed: Mapping[str, str]) -> Parameter:
        """The same where exponents have other names."""
        shifts = (replace(s, times=renamed.get(s.times, s.times)) for s in self.shifts)
        return replace(self, shifts=tuple(shifts))


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
        absolute: Whether its equation holds in the loss's own unit only, so that a fit must not
            divide the loss by its mean.
        usual: Of a law of one input: what that is where nobody says, "flop" or "tokens".
    """

    name: str
    equation: str
    citation: str
    roles: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    evaluate: Callable[[Array, Array, Array], Evaluation]
    objective: str = "lsq-log"
    derived: Callable[[Mapping[str, Array]], dict[str, Array]] = lambda theta: {}
    absolute: bool = False
    usual: Literal["flop", "tokens"] = "flop"

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
        return [p.asymptote for p in self.parameters]

    def _offset(self, phi: Array, centre: Array, unit: float) -> Array:
        offset = np.zeros_like(phi)
        for k, p in enumerate(self.parameters):
            offset[:, k] = unit * (p.unit and p.log)
            for s in p.shifts:
                times = phi[:, self.names.index(s.times)] if s.times else 1.0
                offset[:, k] += s.factor * times * (centre[s.axis] + s.by)
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


def tied(base: Form, keep: str = "alpha", drop: str = "beta") -> Form:
    """The same law with one exponent for both inputs, drop = keep.

    Raises:
        ToolkitError: The law has not both exponents.
    """
    if not {keep, drop} <= set(base.names):
        raise ToolkitError(f"{base.name} has no exponents {keep} and {drop} to tie")
    i, j = base.names.index(keep), base.names.index(drop)
    rest = [k for k in range(len(base.names)) if k != j]
    column = [rest.index(i if k == j else k) for k in range(len(base.names))]

    def evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
        value, slopes = base.evaluate(phi[:, column], z, centre)
        merged = [slopes[k] + slopes[j] if k == i else slopes[k] for k in rest]
        return value, merged

    return replace(
        base,
        name=f"{base.name} with {drop} = {keep}",
        parameters=tuple(base.parameters[k].following({drop: keep}) for k in rest),
        evaluate=evaluate,
        derived=lambda theta: base.derived({**theta, drop: theta[keep]}),
    )


def asymptote() -> Parameter:
    """The loss that remains, by the name of E."""
    # Linear, so that a loss that shows no asymptote ends at the wall E = 0 and not on a slope
    # towards ln E = -infinity.
    return Parameter("E", False, 0.0, 10.0, (0.02, 0.98), unit=True)


def amplitude(name: str, axis: int, exponent: str) -> Parameter:
    """The factor of a power of an input that is a part of the loss."""
    shift = Shift(axis, 1.0, exponent)
    return Parameter(name, True, -25.0, 25.0, (-4.0, 0.0), (shift,), unit=True)


def exponent(name: str, low: float = 0.0) -> Parameter:
    """The power of an input, written without its minus."""
    return Parameter(name, False, low, 5.0, (0.05, 1.0))

"""Fits of one law to one set of runs: the estimate, and what a sceptic asks about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.bootstrap import Resamples, bootstrap, refit
from toolkit.laws.diagnosis import condition, doubts, needed, resting
from toolkit.laws.estimate import Estimate
from toolkit.laws.forms import Form, form, tied
from toolkit.laws.objective import Objective, Problem
from toolkit.laws.optimiser import Array
from toolkit.laws.search import given_start, random_starts, search

STARTS = 200


@dataclass(frozen=True)
class Rival:
    """Another optimum: its objective, published parameters, and how many starts ended there."""

    objective: float
    params: dict[str, float]
    starts: int


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Attributes:
        form: The law.
        objective: What it came to, a sum over runs; `kind` says of what.
        status: "ok", or "doubtful" when a warning touches the estimate itself.
        params, derived: Published parameters and what follows from them, with 95 % intervals.
        n_points: Runs fitted; `freedom`: less free parameters.
        tried, reached_best: Starts, and how many of them reached `objective`.
        rivals: The other optima that starts came to rest in, at most five.
        condition: Condition number of the normal equations, scaled to unit diagonal.
        resting: By parameter that is no free optimum, where it rests: "its start", "its lower
            bound", "its upper bound", or "zero" for an amplitude that vanished.
        pinned: Parameters that were held.
        resamples: The bootstrap; None without one.
        warnings: Sentences for a reader.
        draws: (R, K) published parameters of the resamples, NaN where one failed.
        problem, phi, unit: For further work: what was minimised, (K,) the coordinates of the best,
            and the log of the unit that the loss was divided by.
    """

    form: Form
    objective: float
    kind: Objective
    status: str
    params: dict[str, Estimate]
    derived: dict[str, Estimate]
    n_points: int
    freedom: int
    tried: int
    reached_best: int
    rivals: tuple[Rival, ...]
    condition: float
    resting: dict[str, str]
    pinned: dict[str, float]
    resamples: Resamples | None
    warnings: tuple[str, ...]
    draws: Array = field(repr=False, compare=False)
    problem: Problem = field(repr=False, compare=False)
    phi: Array = field(repr=False, compare=False)
    low: Array = field(repr=False, compare=False)
    high: Array = field(repr=False, compare=False)
    unit: float

    @property
    def theta(self) -> Array:
        """(K,) published parameters."""
        return np.array([estimate.value for estimate in self.params.values()])

    @property
    def inputs(self) -> Array:
        """(V, n) as given."""
        return np.exp(self.problem.z + self.problem.centre[:, None])

    @property
    def loss(self) -> Array:
        """(n,) as given."""
        return np.exp(self.problem.log_y + self.unit)

    @property
    def residual(self) -> Array:
        """(n,) predicted less seen: of the log loss, or of the loss with objective lsq."""
        residual = self.problem.residuals(self.phi[None], np.zeros(1, np.intp))[0]
        return residual if self.kind.on_log else residual * np.exp(self.unit)

    def predict(self, inputs: Any) -> list[Estimate]:
        """The law at inputs (V, m), or (m,) for a law of one input, each with its interval.

        Raises:
            ToolkitError: An input is not a positive number, or there are too few of them.
        """
        at = np.atleast_2d(np.asarray(inputs, float))
        if len(at) != len(self.form.roles) or not (at > 0).all():
            raise ToolkitError(
                f"{self.form.name} predicts from positive {' and '.join(self.form.roles)}"
            )
        seen = self.inputs
        beyond = (at < 0.999 * seen.min(axis=1, keepdims=True)) | (
            at > 1.001 * seen.max(axis=1, keepdims=True)
        )
        return [
            Estimate.of(v, d, self.freedom, b)
            for v, d, b in zip(
                self.form.value(self.theta, at),
                self.predict_draws(at).T,
                beyond.any(axis=0),
                strict=True,
            )
        ]

    def amplitudes(self, inputs: Mapping[str, float] | None = None) -> dict[str, Estimate]:
        """Every amplitude where its inputs have these values: what its term is there.

        A of A/N^alpha depends on the unit that N is counted in, and moves with alpha. A/N0^alpha at
        a size N0 does neither: it compares with any paper's, and its interval is its own.

        Args:
            inputs: By role; by default the middle of the runs, their geometric mean.
        """
        at = {**self.middle, **(inputs or {})}
        centre = np.log([at[role] for role in self.form.roles])
        there, drawn = (
            self.form.coordinates(theta, centre) for theta in (self.theta[None], self.draws)
        )
        return {
            p.name: Estimate.of(np.exp(there[0, k]), np.exp(drawn[:, k]), self.freedom)
            for k, p in enumerate(self.form.parameters)
            if p.amplitude
        }

    @property
    def middle(self) -> dict[str, float]:
        """The geometric mean of every input, by role."""
        return dict(zip(self.form.roles, map(float, np.exp(self.problem.centre)), strict=True))

    def predict_draws(self, inputs: Any) -> Array:
        """(R, m) the law of every resample at inputs (V, m)."""
        with np.errstate(all="ignore"):
            return self.form.value(self.draws, np.atleast_2d(np.asarray(inputs, float)))


def fit(
    law: str | Form,
    inputs: Any,
    loss: Any,
    *,
    sigma: Any = None,
    objective: str | Objective | None = None,
    starts: int = STARTS,
    start: Mapping[str, float] | None = None,
    pinned: Mapping[str, float] | None = None,
    tie: bool = False,
    resamples: int = 0,
    strata: Any = None,
    scheme: str | None = None,
    redrawn: Any = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
) -> Fit:
    """Fit a law to runs.

    Args:
        law: A registered form or its name.
        inputs: (V, n), or (n,) for a law of one input, in the order of the form's roles; positive.
        loss: (n,), positive.
        sigma: (n,) standard deviations: of the loss with objective lsq, of its log otherwise.
        objective: By default what the law's authors use.
        starts: How many, drawn at random from the form's ranges.
        start: Instead, one start by published parameters; those left out start at mid range.
        pinned: Parameters held at a value; an amplitude only with its exponent, without which
            it means nothing. A bounded law wants its `ceiling`, ln of the candidates.
        tie: One exponent for both inputs.
        resamples: Of the bootstrap; 0 leaves intervals out.
        strata: (n,) labels, the budgets: resamples keep the number of runs of each.
        scheme: "runs" or "residuals" (`toolkit.laws.bootstrap.Resamples`); by default runs where
            there are ten or more for each parameter, else residuals.
        redrawn: (R, n) losses of resamples made elsewhere, NaN where one has none, to use instead.
        seed: Of starts and resamples.
        names: What error messages call the inputs; by default as the form's roles.

    Raises:
        ToolkitError: No more runs than parameters (it says how many are needed), inputs that
            cannot tell the parameters apart, or a bad option.
    """
    base = form(law) if isinstance(law, str) else law
    base = tied(base) if tie else base
    kind = objective if isinstance(objective, Objective) else Objective(objective or base.objective)
    x, y = np.atleast_2d(np.asarray(inputs, float)), np.asarray(loss, float)
    weight = np.ones_like(y) if sigma is None else np.asarray(sigma, float) ** -2.0
    _check_numbers(base, x, y, weight)
    if starts < 1:
        raise ToolkitError(f"a fit needs at least one start, not {starts}")

    unit, centre = 0.0 if base.absolute else float(np.log(y).mean()), np.log(x).mean(axis=1)
    heavy = float(weight.mean())
    z = np.log(x) - centre[:, None]
    problem = Problem(base, z, centre, np.log(y) - unit, weight / heavy, kind)
    low, high = _box(base, dict(pinned or {}), centre, unit)
    _check_design(base, x, low < high, names or base.roles)

    rng = np.random.default_rng(seed)
    if start:
        first = given_start(base, start, centre, unit)
    else:
        first = random_starts(base, problem, starts, rng)
    found = search(problem, first, low, high)
    phi, free = found.best.phi, low < high
    rivals = np.array([r.phi for r in found.rivals[:1]]).reshape(-1, len(phi))
    if redrawn is not None:
        drawn = refit(problem, phi, low, high, np.log(redrawn) - unit, rivals)
    else:
        drawn = bootstrap(
            problem, phi, low, high, resamples, strata=strata, scheme=scheme, rivals=rivals, rng=rng
        )  # fmt: skip
    draws = base.natural(drawn.phi, centre, unit)
    theta = base.natural(phi[None], centre, unit)
    for name, value in (pinned or {}).items():  # To the last digit, as they were given.
        k = base.names.index(name)
        theta[:, k], draws[:, k] = value, np.where(np.isnan(draws[:, k]), np.nan, value)
    freedom = len(y) - int(free.sum())
    rests = resting(base, phi, low, high, found.stuck)
    scaled = condition(problem, phi, free)
    warnings, doubtful = doubts(found, base, rests, scaled, len(y), int(free.sum()), drawn)
    factor = heavy * (1.0 if kind.on_log else float(np.exp(2 * unit)))
    return Fit(
        form=base,
        objective=found.best.value * factor,
        kind=kind,
        status="doubtful" if doubtful else "ok",
        params=_estimates(_named(base, theta), _named(base, draws), freedom),
        derived=_estimates(
            base.derived(_named(base, theta)), base.derived(_named(base, draws)), freedom
        ),
        n_points=len(y),
        freedom=freedom,
        tried=found.tried,
        reached_best=found.reached_best,
        rivals=tuple(
            Rival(r.value * factor, _published(base, r.phi, centre, unit), r.starts)
            for r in found.rivals
        ),
        condition=scaled,
        resting=rests,
        pinned=dict(pinned or {}),
        resamples=drawn if drawn.count else None,
        warnings=tuple(warnings),
        draws=draws,
        problem=problem,
        phi=phi,
        low=low,
        high=high,
        unit=unit,
    )


def _named(law: Form, theta: Array) -> dict[str, Array]:
    return dict(zip(law.names, theta.T, strict=True))


def _estimates(
    values: Mapping[str, Array], draws: Mapping[str, Array], freedom: int
) -> dict[str, Estimate]:
    return {name: Estimate.of(value, draws[name], freedom) for name, value in values.items()}


def _published(law: Form, phi: Array, centre: Array, unit: float) -> dict[str, float]:
    return dict(zip(law.names, map(float, law.natural(phi[None], centre, unit)[0]), strict=True))


def _box(law: Form, pinned: Mapping[str, float], centre: Array, unit: float) -> tuple[Array, Array]:
    """(K,) bounds, closed around the pinned parameters."""
    low, high = law.low, law.high
    theta = np.ones(len(low))
    for name, value in pinned.items():
        if name not in law.names:
            raise ToolkitError(f"{law.name} has no parameter {name!r}{nearest(name, law.names)}")
        theta[law.names.index(name)] = value
    there = law.coordinates(theta[None], centre, unit)[0]
    for k, p in enumerate(law.parameters):
        if p.told and p.name not in pinned:
            raise ToolkitError(f"{law.name} must be told its {p.name}: pin it at {p.told}")
        if p.name not in pinned:
            continue
        for shift in p.shifts:
            if shift.times and shift.times not in pinned:
                raise ToolkitError(
                    f"{p.name} means nothing without {shift.times}: pin {shift.times} too"
                )
        if not low[k] <= there[k] <= high[k]:
            raise ToolkitError(
                f"{p.name} cannot be pinned at {pinned[p.name]:g}: that is out of its range"
            )
        low[k] = high[k] = there[k]
    return low, high


def _check_numbers(law: Form, x: Array, y: Array, weight: Array) -> None:
    if x.shape != (len(law.roles), len(y)) or weight.shape != y.shape:
        raise ToolkitError(
            f"{law.name} needs {' and '.join(law.roles)} and a loss for each run; got inputs of "
            f"shape {x.shape} and {len(y)} losses"
        )
    for what, values in (("inputs", x), ("losses", y), ("sigmas", weight)):
        if not ((values > 0) & np.isfinite(values)).all():
            raise ToolkitError(f"the {what} must be positive finite numbers")


def _check_design(law: Form, x: Array, free: Any, names: Sequence[str]) -> None:
    """Refuse runs that cannot tell the parameters apart, whatever their losses."""
    count, runs = int(free.sum()), x.shape[1]
    if not count:
        raise ToolkitError(f"every parameter of {law.name} is pinned: nothing is left to fit")
    if runs <= count:
        raise ToolkitError(
            f"{law.name} has {count} free parameters and needs at least {count + 1} runs, better "
            f"{needed(count)}; there {'is' if runs == 1 else 'are'} {runs}"
        )
    least = count if len(x) == 1 else 2 if law.absolute else min(count, 3)
    for role, name, values in zip(law.roles, names, x, strict=True):
        seen = len(np.unique(values))
        if seen < least and role not in ("unique_tokens", "method"):
            raise ToolkitError(
                f"{law.name} needs at least {least} different values of {name}; all {runs} runs "
                f"have {'the same one' if seen == 1 else f'one of {seen}'}"
            )
    if law.roles[:2] == ("params", "tokens") and abs(np.corrcoef(np.log(x[:2]))[0, 1]) > 1 - 1e-9:
        raise ToolkitError(
            f"{names[0]} and {names[1]} vary only together (one budget?): their effects "
            "on the loss cannot be told apart; add runs at another budget"
        )

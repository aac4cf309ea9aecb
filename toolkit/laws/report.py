"""Fits and comparisons as plain JSON types, at full precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError, nearest
from toolkit.laws import chance
from toolkit.laws.allocation import allocate
from toolkit.laws.budget_law import PowerLaw, loss_law
from toolkit.laws.comparison import Crossover, better_at, compare_laws
from toolkit.laws.estimate import Estimate, as_json
from toolkit.laws.fitting import Fit
from toolkit.laws.forms import Form
from toolkit.laws.heldout import Rollout, roll
from toolkit.laws.isoflop import IsoFlopFit
from toolkit.laws.optimiser import Array
from toolkit.laws.profile import profile
from toolkit.laws.sharing import JointFit, fit_joint
from toolkit.laws.table import check
from toolkit.laws.tabular import (
    FLOP_PER_PARAM_TOKEN,
    ISOFLOP,
    Columns,
    Options,
    TableFit,
    resolve,
)

PROFILED = 2000  # Runs up to which profiles are cheap and residuals are listed.
ISOFLOP_EQUATION = (
    "loss = c0 + c1 ln {0} + c2 (ln {0})^2 at each budget; {0}_min(C) = coefficient * C^exponent"
)


def describe(fitted: TableFit) -> dict[str, Any]:
    """One fit.

    Keys: form, equation, objective (its value), objective_kind, status, n_points, dropped, params
    and derived {name: {value, low, high}}, starts {tried, reached_best}, rivals [{objective,
    params, starts}], warnings; condition, resting, pinned, profile (a second opinion on the
    intervals), middle (the geometric mean of the inputs, the loss there, and every amplitude as
    what its term is there: comparable whatever unit a paper counts in), residuals (what plots of
    them need: predicted and seen, run by run; null above
    2,000 runs), bootstrap, columns, flop_convention; for isoflop also x, minima and laws. What is
    not a finite number is null.
    """
    body = _law(fitted.fit) if isinstance(fitted.fit, Fit) else _isoflop(fitted.fit)
    result: dict[str, Any] = as_json(
        {
            **body,
            "columns": fitted.columns,
            "flop_convention": fitted.convention,
            "dropped": fitted.dropped,
            "warnings": fitted.warnings,
        }
    )
    return result


Point = float | Mapping[str, float]


def predictions(fitted: TableFit, points: Sequence[Point]) -> list[dict[str, Any]]:
    """What a fit says at points: budgets in FLOP, or values of its columns by name.

    At a budget: params, tokens and loss at the optimum, or the value of a law of one input. At
    values of all columns: the loss there. Each is {value, low, high}, beside `at` and whether it is
    extrapolated. A law of params and tokens takes C = 6 N D.

    Raises:
        ToolkitError: A point has too few columns, or ones that the law does not have.
    """
    said: list[dict[str, Any]] = []
    for point in points:
        found = _at(fitted, point)
        ends = {name: estimate.ends for name, estimate in found.items()}
        beyond = any(estimate.extrapolated for estimate in found.values())
        said.append(as_json({"at": point, **ends, "extrapolated": beyond}))
    return said


def _at(fitted: TableFit, point: Point) -> dict[str, Estimate]:
    fit = fitted.fit
    if isinstance(fit, IsoFlopFit):
        if isinstance(point, Mapping):
            raise ToolkitError("isoflop tells the optimum of a budget only: give --at FLOP")
        return {name: law.predict(point) for name, law in fit.usable.items()}
    roles = fit.form.roles
    if isinstance(point, Mapping):
        (there,) = fit.predict(_inputs(fitted, point))
        return {"value" if len(roles) == 1 else "loss": there}
    if len(roles) == 1:
        return {"value": fit.predict([point])[0]}
    if roles != ("params", "tokens"):
        example = ",".join(f"{fitted.columns.get(role, role)}=..." for role in roles)
        raise ToolkitError(
            f"{fit.form.name} has no optimum at a budget without more being known: give a point, "
            f"--at {example}"
        )
    best = allocate(fit, point)
    return {"params": best.params, "tokens": best.tokens, "loss": best.loss}


def _inputs(fitted: TableFit, point: Mapping[str, float]) -> Array:
    """(V, 1) the inputs of a law at values of its columns; tokens may come from FLOP."""
    assert isinstance(fitted.fit, Fit)
    roles = fitted.fit.form.roles
    inputs = {role: role for role in roles}
    inputs |= {name: role for role, name in fitted.columns.items() if role in (*roles, "flop")}
    at: dict[str, float] = {}
    for name, value in point.items():
        if name not in inputs:
            raise ToolkitError(f"--at: the law has no input {name!r}{nearest(name, list(inputs))}")
        at[inputs[name]] = value
    if "flop" in at and "params" in at:
        at.setdefault("tokens", at["flop"] / (FLOP_PER_PARAM_TOKEN * at["params"]))
    lacking = [fitted.columns.get(role, role) for role in roles if role not in at]
    if lacking:
        raise ToolkitError(f"--at: the point lacks {' and '.join(lacking)}")
    return np.array([[at[role]] for role in roles])


def compare(fits: Mapping[str, TableFit], budgets: Sequence[float] = ()) -> dict[str, Any]:
    """Groups of one table compared.

    Keys: crossovers, of every two groups' laws of the loss against the budget, where the form has
    such laws; better_at, which of every two is better at each of `budgets`; joint, the law with a
    shared asymptote and the test of the sharing, or null; and joint_reason, why it is null.
    """
    laws = _loss_laws(fits)
    usable = {label: law for label, law in laws.items() if law.usable}
    verdicts = [
        better_at(a, b, usable[a], usable[b], c)
        for c in budgets
        for a, b in combinations(usable, 2)
    ]
    joint, reason = _joint(fits)
    result: dict[str, Any] = as_json(
        {
            "crossovers": [crossover(c) for c in compare_laws(laws)],
            "better_at": verdicts,
            "joint": joint,
            "joint_reason": reason,
        }
    )
    return result


def rollout(table: pd.DataFrame, columns: Columns, options: Options) -> Rollout:
    """The rolling origin of a table, its columns named and its rows chosen as for a fit."""
    names = [str(c) for c in table.columns]
    roles = resolve(ISOFLOP, columns, names)
    checked = check(table, {k: roles[k] for k in ("params", "budget", "loss")}, keep=options.keep)
    rows = table.iloc[checked.rows]
    return roll(
        rows,
        candidates=chance.number(rows, columns.candidates),
        params=roles["params"],
        tokens=roles["tokens"],
        budget=roles["budget"],
        loss=roles["loss"],
    )


def _told(record: Any, *untold: str) -> dict[str, Any]:
    """A dataclass by its fields, estimates by their ends, without the `untold` and the draws."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "draws"}
    return {
        name: value.ends if isinstance(value, Estimate) else value
        for name, value in values.items()
        if name not in untold
    }


def _law(fit: Fit) -> dict[str, Any]:
    drawn = fit.resamples
    return {
        "form": fit.form.name,
        "equation": fit.form.equation,
        "citation": fit.form.citation,
        "objective": fit.objective,
        "objective_kind": fit.kind.kind,
        "delta": fit.kind.delta if fit.kind.huber else None,
        "status": fit.status,
        "n_points": fit.n_points,
        "points_per_parameter": fit.n_points / (fit.n_points - fit.freedom),
        "params": {name: e.ends for name, e in fit.params.items()},
        "derived": {name: e.ends for name, e in fit.derived.items()},
        "starts": {"tried": fit.tried, "reached_best": fit.reached_best},
        "rivals": fit.rivals,
        "condition": fit.condition,
        "resting": fit.resting,
        "pinned": fit.pinned,
        "profile": _profiles(fit),
        "middle": {
            "at": fit.middle,
            "loss": fit.predict([[value] for value in fit.middle.values()])[0].ends,
            "amplitudes": {name: e.ends for name, e in fit.amplitudes().items()},
        },
        "residuals": _residuals(fit.form.value(fit.theta, fit.inputs), fit.loss),
        "bootstrap": None
        if drawn is None
        else {
            "scheme": drawn.scheme,
            "resamples": drawn.count,
            "failed": drawn.failed,
            "strata": drawn.strata,
        },
    }


def _residuals(predicted: Array, seen: Array) -> dict[str, Array] | None:
    """Run by run, what a law says and what was seen."""
    return {"predicted": predicted, "seen": seen} if len(seen) <= PROFILED else None


def _parabola_residuals(fit: IsoFlopFit) -> dict[str, Array] | None:
    """The same of parabolas, budget by budget, in the order of the minima."""
    bowls = [m.parabola for m in fit.minima]
    seen = np.concatenate([p.y for p in bowls])
    predicted = seen - np.concatenate([p.residual for p in bowls])
    if bowls[0].log_loss:
        predicted, seen = np.exp(predicted), np.exp(seen)
    return _residuals(predicted, seen)


def _profiles(fit: Fit) -> dict[str, dict[str, float]]:
    """Profile-likelihood intervals beside the bootstrap's, where they are cheap and defined."""
    if not fit.kind.squares or fit.n_points > PROFILED or fit.resamples is None:
        return {}
    free = [n for n, low, high in zip(fit.form.names, fit.low, fit.high, strict=True) if low < high]
    estimates = {name: profile(fit, name).estimate for name in free}
    return {name: {"low": e.low, "high": e.high} for name, e in estimates.items()}


def _isoflop(fit: IsoFlopFit) -> dict[str, Any]:
    main, derived = fit.laws[fit.x], {}
    for name, law in fit.usable.items():
        derived[f"exponent_{name}"] = law.exponent.ends
        derived[f"coefficient_{name}"] = law.coefficient.ends
    if fit.laws["loss"].form == "saturating":
        derived["asymptote_loss"] = fit.laws["loss"].asymptote.ends
    squares = sum(float(m.parabola.residual @ m.parabola.residual) for m in fit.minima)
    return {
        "form": "isoflop",
        "equation": ISOFLOP_EQUATION.format(fit.x),
        "citation": "Hoffmann et al. 2022 (arXiv:2203.15556), approach 2",
        "objective": squares,
        "objective_kind": "lsq-log" if fit.minima[0].parabola.log_loss else "lsq",
        "status": main.status,
        "n_points": fit.n_points,
        "x": fit.x,
        "params": {"exponent": main.exponent.ends, "coefficient": main.coefficient.ends},
        "derived": derived,
        # A parabola is solved directly: there is one way to it and no rival.
        "starts": {"tried": 1, "reached_best": 1},
        "rivals": [],
        "residuals": _parabola_residuals(fit),
        "bootstrap": {
            "scheme": "residuals",
            "resamples": fit.resamples,
            "failed": fit.failed_resamples,
        },
        "minima": [_told(m, "parabola") for m in fit.minima],
        "laws": {name: _told(law, "quantity", "freedom") for name, law in fit.laws.items()},
    }


def _loss_laws(fits: Mapping[str, TableFit]) -> dict[str, PowerLaw]:
    """The laws of the loss against the budget, where the form has them."""
    laws = {}
    for label, fitted in fits.items():
        if isinstance(fitted.fit, IsoFlopFit):
            laws[label] = fitted.fit.laws["loss"]
        elif fitted.fit.form.name == "saturating":
            laws[label] = loss_law(fitted.fit)
    return laws


def crossover(c: Crossover) -> dict[str, Any]:
    """Keys: first, second, status, better_below, better_above, budget_flop, support, statement."""
    told = _told(c)
    return told | {"budget_flop": told.pop("budget")}


def _joint(fits: Mapping[str, TableFit]) -> tuple[dict[str, Any] | None, str]:
    """The joint law with a shared asymptote, or why there is none."""
    laws = _loss_laws(fits)
    some = next(iter(fits.values())).fit
    pinned: Mapping[str, float] = {}
    runs: dict[str, tuple[Any, Any]] = {}
    form: str | Form = "saturating"
    if len(laws) == len(fits) and all(law.form == "saturating" for law in laws.values()):
        runs = {label: (law.budgets, law.values) for label, law in laws.items()}
    elif not isinstance(some, Fit) or "E" not in some.form.names:
        return None, "not every group has a law with an asymptote"
    else:
        form = some.form
    for label, fitted in fits.items():
        if isinstance(fitted.fit, Fit):
            runs[label] = (fitted.fit.inputs, fitted.fit.loss)
            if label != next(iter(fits)) and fitted.fit.pinned != pinned:
                return None, "the groups are held at different values"
            pinned = fitted.fit.pinned
    try:
        return _joint_fit(fit_joint(form, runs, pinned=pinned, starts=50)), ""
    except ToolkitError as error:
        return None, str(error)


def _joint_fit(joint: JointFit) -> dict[str, Any]:
    return {
        "shared": joint.shared,
        "supported": joint.supported,
        "p_value": joint.p_value,
        "statement": joint.statement,
        "params": {name: e.value for name, e in joint.fit.params.items()},
        "objective": joint.fit.objective,
    }

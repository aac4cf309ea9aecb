"""One law for several methods that share parameters, and whether the runs support the sharing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy.special import fdtrc

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.fitting import Fit, fit
from toolkit.laws.forms import Evaluation, Form, Parameter, form
from toolkit.laws.objective import Objective
from toolkit.laws.optimiser import Array

SUPPORTED = 0.05  # The p-value below which sharing is rejected.


@dataclass(frozen=True)
class JointFit:
    """A joint law of several methods, beside one law for each.

    Attributes:
        shared: Names of the shared parameters.
        fit: The joint law; a method's own parameters are called "method.name".
        separate: The laws of each method alone.
        p_value: Of the F test that sharing fits no worse than it should by chance.
        supported: Whether the runs support the sharing (p >= 0.05).
        statement: In a sentence.
    """

    shared: tuple[str, ...]
    fit: Fit
    separate: dict[str, Fit]
    p_value: float
    supported: bool
    statement: str


def fit_joint(
    law: str | Form,
    methods: Mapping[str, tuple[Any, Any]],
    *,
    shared: Sequence[str] = ("E",),
    pinned: Mapping[str, float] | None = None,
    objective: str | None = None,
    starts: int = 200,
    resamples: int = 0,
    seed: int = 0,
) -> JointFit:
    """Fit one law to several methods that share some parameters, and test the sharing.

    The test is the F test of nested least-squares fits: what sharing adds to the sum of squares
    against what the separate laws leave (Bates and Watts 1988, section 3.10).

    Args:
        law: The form of every method's law.
        methods: By name, inputs (V, n) or (n,) and losses (n,).
        shared: Parameters with one value for all methods.
        pinned: Parameters held at one value in every law.
        objective: lsq or lsq-log; lsq-log by default.
        starts, resamples, seed: As in `fit`; resamples keep the number of runs of each method.

    Raises:
        ToolkitError: Fewer than two methods, too few runs of one, an unknown parameter, nothing
            left to share, or an objective that is no sum of squares.
    """
    base = form(law) if isinstance(law, str) else law
    objective, pinned = objective or "lsq-log", dict(pinned or {})
    if len(methods) < 2:
        raise ToolkitError("a joint law needs at least two methods")
    if not Objective(objective).squares:
        raise ToolkitError("a joint law is tested by sums of squares: use lsq or lsq-log")
    for name in shared:
        if name not in base.names:
            raise ToolkitError(f"{base.name} has no parameter {name!r}{nearest(name, base.names)}")
        if name in pinned:
            raise ToolkitError(f"{name} is pinned: nothing is left to share")
    alike = partial(
        fit, pinned=pinned, objective=objective, starts=starts, resamples=resamples, seed=seed
    )
    separate = {name: alike(base, x, y) for name, (x, y) in methods.items()}
    parts = [np.atleast_2d(np.asarray(x, float)) for x, _ in methods.values()]
    losses = [np.asarray(y, float) for _, y in methods.values()]
    label = np.repeat(np.arange(len(parts)), [len(y) for y in losses])
    # The method travels as one more input, e^0, e^1, ...: laws see logarithms.
    x, y = np.vstack([np.hstack(parts), np.exp(label)]), np.concatenate(losses)
    common = (*shared, *pinned)
    form_of_all = _joint_form(base, tuple(methods), common, float(label.mean()))
    joint = alike(form_of_all, x, y, strata=label)
    alone = sum(f.objective for f in separate.values())
    freedom = sum(f.freedom for f in separate.values())
    saved = joint.freedom - freedom
    ratio = max(joint.objective - alone, 0.0) / saved / (alone / freedom) if alone > 0 else 0.0
    p_value = float(fdtrc(saved, freedom, ratio))
    supported = p_value >= SUPPORTED
    names = " and ".join(shared)
    verdict = "support" if supported else "reject"
    statement = f"the runs {verdict} a shared {names} of {', '.join(methods)} (p = {p_value:.2g})"
    return JointFit(tuple(shared), joint, separate, p_value, supported, statement)


def _joint_form(base: Form, labels: tuple[str, ...], shared: tuple[str, ...], mean: float) -> Form:
    """The base law for each label, with a last input that tells the label of every run."""
    common = [p for p in base.parameters if p.name in shared]
    own = [p for p in base.parameters if p.name not in shared]
    parameters: list[Parameter] = list(common)
    for label in labels:
        mine = {p.name: f"{label}.{p.name}" for p in own}
        for p in own:
            parameters.append(replace(p.following(mine), name=mine[p.name]))
    names = [p.name for p in parameters]
    columns = [
        [names.index(n if n in shared else f"{label}.{n}") for n in base.names] for label in labels
    ]

    def evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
        which = np.rint(z[-1] + mean).astype(int)
        value = np.empty((len(phi), z.shape[1]))
        slopes = [np.zeros_like(value) for _ in parameters]
        for g, column in enumerate(columns):
            here = which == g
            part, by = base.evaluate(phi[:, column], z[:-1][:, here], centre[:-1])
            value[:, here] = part
            for k, slope in zip(column, by, strict=True):
                slopes[k][:, here] = slope
        return value, slopes

    return replace(
        base,
        name=f"joint {base.name}",
        roles=(*base.roles, "method"),
        parameters=tuple(parameters),
        evaluate=evaluate,
        derived=lambda theta: {},
    )

"""A finished study as a prior: its exponents, with a width that they do not lose."""

from __future__ import annotations

import numpy as np

from toolkit.calibrate.belief import CHEAP
from toolkit.laws.cells import Cells
from toolkit.laws.gauss_newton import Prior
from toolkit.laws.joint import JointLaw
from toolkit.laws.links import LINKS
from toolkit.recipe.study import Study
from toolkit.tables import read_table

WIDTH = 0.3  # Of the logarithm of an exponent: other pairs, other decoders.
EXPONENTS = ("alpha", "beta")
_kept: dict[str, dict[str, dict[str, float]]] = {}


def borrow(table: str, cells: Cells | None) -> dict[str, Prior] | None:
    """By link, the stated prior with a study's exponents at its centre; None without `cells`.

    Raises:
        ToolkitError: The table cannot be read, or is no study.
    """
    if table not in _kept:
        study = Study.of(read_table(table), draws=50)
        found: dict[str, dict[str, float]] = {}
        method = study.surface.contenders[0]
        for link, (number, law, phi) in study.surface.modes[method].items():
            found[link] = {n: float(phi[law.parts[n].start + number]) for n in EXPONENTS}
            found[link]["decay"] = float(phi[law.decay])
        _kept[table] = found
    if cells is None:
        return None
    priors = {}
    for name, exponents in _kept[table].items():
        law = JointLaw(cells, LINKS[name], own=True)
        prior = law.prior(np.array([0.1]), np.ones(1))
        for n, (mean, sd) in CHEAP[name].items():
            _set(prior, law, n, mean, sd)
        for n in EXPONENTS:
            _set(prior, law, n, exponents[n], WIDTH)
        prior.centre[0, law.decay] = exponents["decay"]
        prior.covariance[0, law.decay, law.decay] = WIDTH**2
        priors[name] = prior
    return priors


def _set(prior: Prior, law: JointLaw, name: str, mean: float, sd: float) -> None:
    part = law.parts[name]
    rows = np.arange(part.start, part.stop)
    prior.centre[0, part] = mean
    prior.covariance[0, rows[:, None], rows] = sd**2 + 0.03**2 * np.eye(len(rows))

"""Scaling laws: forms, fits, intervals and comparisons. Arithmetic only: no files, no plots."""

from toolkit.laws.budget_law import PowerLaw, fit_power_law
from toolkit.laws.comparison import Crossover, crossover, crossovers
from toolkit.laws.estimate import Estimate, as_json
from toolkit.laws.isoflop import IsoFlopFit, Minimum, fit_isoflop
from toolkit.laws.parabola import Parabola, Redraws

__all__ = [
    "Crossover",
    "Estimate",
    "IsoFlopFit",
    "Minimum",
    "Parabola",
    "PowerLaw",
    "Redraws",
    "as_json",
    "crossover",
    "crossovers",
    "fit_isoflop",
    "fit_power_law",
]

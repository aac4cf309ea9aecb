"""Scaling laws: forms, fits, intervals and comparisons. Arithmetic only: no files, no plots."""

from toolkit.laws.allocation import Allocation, allocate
from toolkit.laws.budget_law import PowerLaw, fit_power_law
from toolkit.laws.comparison import (
    Crossover,
    Verdict,
    better_at,
    compare_laws,
    crossover,
)
from toolkit.laws.constants import constants as constants_of
from toolkit.laws.estimate import Estimate, as_json
from toolkit.laws.fitting import Fit, Rival, fit
from toolkit.laws.forms import FORMS, Form
from toolkit.laws.forms.custom import Expression
from toolkit.laws.heldout import Prediction, Rollout, roll
from toolkit.laws.isoflop import IsoFlopFit, Minimum, fit_isoflop
from toolkit.laws.links import LINKS
from toolkit.laws.objective import Objective
from toolkit.laws.parabola import Parabola, Redraws
from toolkit.laws.profile import Profile, profile
from toolkit.laws.sharing import JointFit, fit_joint
from toolkit.laws.tabular import Columns, Options, TableFit, fit_table

__all__ = [
    "FORMS",
    "LINKS",
    "Allocation",
    "Columns",
    "Crossover",
    "Estimate",
    "Expression",
    "Fit",
    "Form",
    "IsoFlopFit",
    "JointFit",
    "Minimum",
    "Objective",
    "Options",
    "Parabola",
    "PowerLaw",
    "Prediction",
    "Profile",
    "Redraws",
    "Rival",
    "Rollout",
    "TableFit",
    "Verdict",
    "allocate",
    "as_json",
    "better_at",
    "compare_laws",
    "constants_of",
    "crossover",
    "fit",
    "fit_isoflop",
    "fit_joint",
    "fit_power_law",
    "fit_table",
    "profile",
    "roll",
]

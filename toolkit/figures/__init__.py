"""Figures of a study: the poster's panels and the laws beside them.

Each function draws into the Axes it is given and returns it; the ones called `…_panels` make a
Figure of several.
"""

from toolkit.figures.budget import (
    law_by_budget,
    laws_panels,
    loss_by_budget,
    mark_recipe,
)
from toolkit.figures.isoflop import loss_by_params, loss_by_params_panels, parabolas
from toolkit.figures.repeats import loss_by_repeats_panels
from toolkit.figures.setting import loss_by_setting, loss_by_setting_panels, varied_cells
from toolkit.figures.style import (
    COLOURS,
    alone,
    budget_colours,
    budget_legend,
    colour,
    log_axis,
    look,
    marker,
    method_legend,
    single,
    style,
    write,
)
from toolkit.figures.trial import predicted_and_measured

__all__ = [
    "COLOURS",
    "alone",
    "budget_colours",
    "budget_legend",
    "colour",
    "law_by_budget",
    "laws_panels",
    "log_axis",
    "look",
    "loss_by_budget",
    "loss_by_params",
    "loss_by_params_panels",
    "loss_by_repeats_panels",
    "loss_by_setting",
    "loss_by_setting_panels",
    "mark_recipe",
    "marker",
    "method_legend",
    "parabolas",
    "predicted_and_measured",
    "single",
    "style",
    "varied_cells",
    "write",
]

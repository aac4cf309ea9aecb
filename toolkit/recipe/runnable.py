"""A recipe as something that runs: a sweep file, a papermill command."""

from __future__ import annotations

import math
import shlex
from typing import Any

import yaml

from toolkit.flops import CONVENTIONS
from toolkit.methods import METHODS
from toolkit.recipe.options import fitting
from toolkit.recipe.recommendation import Recipe
from toolkit.runs import RunConfig
from toolkit.text import scientific
from toolkit.words import method_name


def run_config(recipe: Recipe, *, data: str = "docstrings") -> RunConfig:
    """The run that a recipe recommends, on its decoder.

    Raises:
        ToolkitError: The recipe's method or settings are none that the toolkit can run.
    """
    settings = {s.name: s.value for s in recipe.settings if not math.isnan(s.value)}
    whole = {
        name: round(value) if name != "lr" else float(f"{value:.3g}")
        for name, value in settings.items()
    }
    stated = {}
    if recipe.convention in CONVENTIONS:
        stated["flop_convention"] = recipe.convention
    values = {
        "decoder": recipe.decoder.name,
        "budget_flop": float(f"{recipe.budget_flop:.4g}"),
        "method": recipe.method,
        "data": data,
        "max_pairs": recipe.max_pairs,
        **stated,
        **whole,
    }
    return RunConfig.from_dict(fitting(values, recipe.options))


def runnable(recipe: Recipe) -> bool:
    """Whether the toolkit has the recommended method: a table from elsewhere may have others."""
    return recipe.method in METHODS


def _chosen(config: RunConfig) -> dict[str, Any]:
    """What the configuration sets, defaults left out."""
    default = RunConfig(decoder=config.decoder, budget_flop=1, method=config.method).to_dict()
    always = ("decoder", "budget_flop", "method")
    values = config.to_dict()
    return {k: v for k, v in values.items() if k in always or v != default[k]}


def sweep_yaml(recipe: Recipe, *, data: str = "docstrings") -> str:
    """A `sweep.yaml` that runs the recipe: save it in a folder and `python -m toolkit sweep` it."""
    values = _chosen(run_config(recipe, data=data))
    title = f"{method_name(recipe.method)} for {scientific(recipe.budget_flop, 3)} FLOP"
    body = {"title": title, "grid": [values]}
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True)


def papermill_command(recipe: Recipe, *, data: str = "docstrings") -> str:
    """The shell command that runs the recipe once and keeps its record in `my-run/`."""
    values = _chosen(run_config(recipe, data=data)) | {"folder": "my-run"}
    words = ["papermill", "notebooks/train.ipynb", "my-run.ipynb"]
    for name, value in values.items():
        if isinstance(value, list):  # Which -p would take for text.
            words += ["-y", yaml.safe_dump({name: value}, default_flow_style=True).strip()]
        else:
            words += ["-p", name, f"{value:g}" if isinstance(value, float) else str(value)]
    return " ".join(map(shlex.quote, words))

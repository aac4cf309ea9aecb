"""A recipe put to the test: what it predicted for a budget, and what runs at that budget gave.

The law comes from one table, the runs that test it from another, at a budget that the first does
not have. Write the recipe down before those runs are made: then nothing can be fitted to them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws import Estimate, as_json
from toolkit.laws.optimiser import Array
from toolkit.methods import SETTINGS as OWN
from toolkit.recipe.comparable import COMPARABLE, SETTINGS, Comparable, Excluded, same_budget
from toolkit.recipe.question import Question
from toolkit.recipe.recommendation import Recipe, recipe_for
from toolkit.recipe.settings import NAMED
from toolkit.recipe.study import Study
from toolkit.text import count, scientific, table
from toolkit.words import (
    bullet,
    loss,
    method_name,
    setting_name,
    setting_value,
    signed,
    spread,
)

SAME_SETTING = 0.05  # A learning rate rounded to two digits is still the recipe's.

SHORT_NAMES = {
    "lr": "lr",
    "batch_pairs": "batch",
    **{name: setting.short for name, setting in OWN.items()},
}


@dataclass(frozen=True)
class Tried:
    """One configuration at the budget of the test.

    Attributes:
        method, decoder, params: What was tuned, and how; `decoder` is empty where it is unknown.
        settings: Its hyperparameters, as far as the table tells.
        seeds: Runs that `measured` is the mean of.
        predicted: Mean loss of so many runs that the law predicted for this method and decoder with
            their best settings, at the pairs that these runs saw; NaN for a method that the study
            lacks.
        measured: Held-out loss.
        regret: Measured loss above the best of all that were tried.
        followed: Whether this is what the recipe said.
    """

    method: str
    decoder: str
    params: int
    settings: dict[str, float]
    seeds: int
    predicted: Estimate
    measured: float
    regret: float
    followed: bool

    @property
    def name(self) -> str:
        """Method and decoder in words."""
        return f"{method_name(self.method)} of {self.decoder or count(self.params)}"

    @property
    def settings_in_words(self) -> str:
        return ", ".join(f"{SHORT_NAMES[n]} {setting_value(v)}" for n, v in self.settings.items())


@dataclass(frozen=True)
class Trial:
    """A recipe beside what was run at its budget.

    Attributes:
        recipe: Of the study.
        tried: Every configuration, best first.
        excluded: Runs of the test that could not be compared, and why.
    """

    recipe: Recipe
    tried: tuple[Tried, ...]
    excluded: tuple[Excluded, ...]

    @property
    def followed(self) -> Tried:
        """The configuration that the recipe recommends."""
        return next(one for one in self.tried if one.followed)

    @property
    def regret(self) -> float:
        """What following the recipe costs against the best that was tried, in nats."""
        return self.followed.regret

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what is unknown is None."""
        values: dict[str, Any] = as_json(self)
        return values | {"regret": self.regret}


def put_to_test(study: Study, table: pd.DataFrame, budget_flop: float | None = None) -> Trial:
    """Compare a study's recipe with runs that the study has not seen.

    Args:
        study: Whose law is tested.
        table: Run table of the test: the recommended configuration and others around it.
        budget_flop: Of the runs that count; None where the table has one budget only.

    Raises:
        ToolkitError: The runs cannot be compared with the study's, their budget is not one or was
            fitted by the study, or what the recipe says is not among them.
    """
    known = study.convention != "unstated" and "flop_convention" in table.columns
    test = Comparable.of(table, convention=study.convention if known else None)
    budget = _budget(test, budget_flop)
    if same_budget(study.best["budget_flop"], budget).any():
        raise ToolkitError(
            f"the law was fitted at {scientific(budget, 3)} FLOP as well: no test of it"
        )
    _check_comparable(study, test)
    asked = Question(study, budget)
    recipe = recipe_for(asked)
    runs = test.runs[same_budget(test.runs["budget_flop"], budget)]
    settings = [name for name in SETTINGS if name in runs.columns]
    groups = [some for _, some in runs.groupby(["method", "params", *settings], dropna=False)]
    groups.sort(key=lambda some: float(some["loss"].mean()))
    means = [float(some["loss"].mean()) for some in groups]
    place = _followed(recipe, [some.iloc[0] for some in groups], test.excluded)
    tried = []
    for number, (some, mean) in enumerate(zip(groups, means, strict=True)):
        first = some.iloc[0]
        method, params, decoder = str(first["method"]), int(first["params"]), first.get("decoder")
        tried.append(
            Tried(
                method,
                str(decoder) if pd.notna(decoder) else "",
                params,
                {name: float(first[name]) for name in NAMED if pd.notna(first.get(name))},
                len(some),
                _predicted(asked, some),
                measured=mean,
                regret=mean - means[0],
                followed=number == place,
            )
        )
    return Trial(recipe, tuple(tried), test.excluded)


def _budget(test: Comparable, asked: float | None) -> float:
    budgets = sorted(float(b) for b in test.runs["budget_flop"].unique())
    if asked is None and len(budgets) == 1:
        return budgets[0]
    names = ", ".join(scientific(b, 3) for b in budgets)
    if asked is None:
        raise ToolkitError(f"the test has several budgets ({names}): say which with --flop")
    if not same_budget(test.runs["budget_flop"], asked).any():
        raise ToolkitError(f"the test has no run at {scientific(asked, 3)} FLOP; it has {names}")
    return asked


def _check_comparable(study: Study, test: Comparable) -> None:
    """The held-out loss must mean the same in both tables, and the data be as plentiful."""
    for column in (*COMPARABLE, "max_pairs"):
        both = [runs[column].unique() for runs in (study.runs, test.runs) if column in runs]
        values = [{v for v in each if pd.notna(v)} for each in both]
        if len(values) == 2 and values[0] != values[1]:
            raise ToolkitError(f"the two tables differ in {column} and cannot be compared")


def _followed(recipe: Recipe, rows: list[pd.Series], excluded: tuple[Excluded, ...]) -> int:
    """Which configuration is the recipe's: its method and decoder, and the nearest settings."""
    found = [
        number
        for number, row in enumerate(rows)
        if row["method"] == recipe.method and int(row["params"]) == recipe.decoder.params
    ]
    if found:
        return min(found, key=lambda number: _distance(recipe, rows[number]))
    left = "".join(f"; {e.count} left out: {e.reason}" for e in excluded)
    raise ToolkitError(
        f"the recipe says {method_name(recipe.method)} of {recipe.decoder.name}, which the "
        "test does not have: "
        f"run that as well{left}"
    )


def _distance(recipe: Recipe, row: pd.Series) -> float:
    """How far a row's settings are from the recipe's, in logs; one that is unknown is far."""
    known = [setting for setting in recipe.settings if setting.value > 0]
    values = [(setting.value, row.get(setting.name, math.nan)) for setting in known]
    return sum(abs(math.log(a / b)) if b > 0 else 1e3 for a, b in values)


def _predicted(asked: Question, runs: pd.DataFrame) -> Estimate:
    """The mean loss of runs that differ in their seed alone, at the pairs that they bought."""
    study, method = asked.study, str(runs["method"].iloc[0])
    if method not in study.methods:
        return Estimate(math.nan)
    params, data = runs["params"].to_numpy(float)[:1], _bought(study, runs)
    draws = study.losses(method, params, asked.budget_flop, data=data)[:, 0]
    noise = np.random.default_rng(7).standard_normal(len(draws)) * study.surface.cells.noise
    return asked.estimate(method, draws * np.exp(noise / math.sqrt(len(runs))), True)


def _bought(study: Study, runs: pd.DataFrame) -> Array | None:
    """(1,) pairs (or tokens) that runs saw; None where the study's or their table does not tell."""
    made_up = any(warning.kind == "data-unknown" for warning in study.warnings)
    if made_up or study.data not in runs.columns:
        return None
    return np.array([runs[study.data].mean()])


def as_text(trial: Trial) -> str:
    """The test for a terminal: a line a configuration, then what came of the recipe."""
    head = ("", "decoder", "settings", "predicted", "interval", "measured", "runs", "regret")
    rows = table(head, [_row(one) for one in trial.tried], left=3)
    title = f"The recipe put to the test at {scientific(trial.recipe.budget_flop, 3)} FLOP"
    return "\n".join([title, "═" * len(title), rows, "", *map(bullet, sentences(trial))])


def _row(one: Tried) -> tuple[str, ...]:
    known = math.isfinite(one.predicted.value)
    return (
        ("→ " if one.followed else "  ") + method_name(one.method),
        one.decoder or count(one.params),
        one.settings_in_words,
        loss(one.predicted.value) if known else "–",
        spread(one.predicted, loss) if known else "",
        loss(one.measured),
        str(one.seeds),
        signed(one.regret),
    )


def sentences(trial: Trial) -> list[str]:
    """What the test says about the recipe, and what must be known to read it."""
    mine, best = trial.followed, trial.tried[0]
    said = [f"the recipe: {mine.name}{_came(mine)}"]
    said += _departures(trial)
    if len(trial.tried) == 1:
        said.append("nothing else was tried, so its regret is unknown")
    elif best is mine:
        said.append(f"it is the best of the {len(trial.tried)} that were tried: regret 0")
    else:
        said.append(
            f"the best of the {len(trial.tried)} that were tried is {best.name} with "
            f"{loss(best.measured)}: following the recipe costs {signed(trial.regret)}"
        )
    places = {(one.method, one.params): one for one in reversed(trial.tried)}
    known = [one for one in places.values() if math.isfinite(one.predicted.value)]
    if len(known) > 1:
        errors = [one.measured / one.predicted.value - 1 for one in known]
        held = sum(one.predicted.low <= one.measured <= one.predicted.high for one in known)
        said.append(
            f"over {len(known)} methods and decoders, each with the best settings tried, "
            f"predictions are off by {np.sqrt(np.mean(np.square(errors))):.1%} (root mean square), "
            f"from {min(errors):+.1%} to {max(errors):+.1%}, and {held} of {len(known)} intervals "
            "hold what was measured"
        )
    once = sum(one.seeds == 1 for one in trial.tried)
    if once:
        which = "one run each" if once == len(trial.tried) else f"{once} of them ran once"
        said.append(f"{which}: a seed's own noise is in their measured loss and regret")
    return said + [f"{each.count} left out: {each.reason}" for each in trial.excluded]


def _came(mine: Tried) -> str:
    told = mine.predicted
    off = f"{mine.measured / told.value - 1:+.1%}"
    where = "inside" if told.low <= mine.measured <= told.high else "outside"
    return (
        f", predicted {loss(told.value)}, measured {loss(mine.measured)} ({off}, {where} the "
        "interval)"
    )


def _departures(trial: Trial) -> list[str]:
    """Where the run that stands for the recipe is not exactly it."""
    mine, recipe = trial.followed, trial.recipe
    off = []
    for setting in recipe.settings:
        value = mine.settings.get(setting.name, math.nan)
        if setting.value > 0 and not abs(value / setting.value - 1) <= SAME_SETTING:
            has = "an unknown value" if math.isnan(value) else setting_value(value)
            name = setting_name(setting.name)
            off.append(f"{name} {has} where it says {setting_value(setting.value)}")
    return [f"not exactly the recipe: {'; '.join(off)}"] if off else []

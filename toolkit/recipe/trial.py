"""A recipe put to the test: what it foretold for a budget, and what runs at that budget gave.

The laws come from one table, the runs that test them from another, at a budget that the first does
not have. Write the recipe down before those runs are made: then nothing can be fitted to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws import Estimate, as_json
from toolkit.recipe.forecast import forecast
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.study import COMPARABLE, SETTINGS, Study
from toolkit.recipe.wording import bullet, count, loss, method_name, scientific, signed, spread

SAME_BUDGET = 1e-3


@dataclass(frozen=True)
class Tried:
    """One configuration at the budget of the test.

    Attributes:
        method, decoder, params: What was tuned, and how.
        settings: Its hyperparameters.
        seeds: Runs that `measured` is the mean of.
        predicted: Loss that the laws foretold for this method at this size with its best settings.
            The interval is that of the method's optimal loss, moved to this size.
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


@dataclass(frozen=True)
class Trial:
    """A recipe beside what was run at its budget: `tried`, best first."""

    recipe: Recipe
    tried: tuple[Tried, ...]

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
        study: Whose laws are tested.
        table: Run table of the test: the recommended configuration and others around it.
        budget_flop: Of the runs that count; None where the table has one budget only.

    Raises:
        ToolkitError: The runs cannot be compared with the study's, their budget is not one or was
            fitted by the study, or what the recipe says is not among them.
    """
    test = Study.of(table, convention=_convention(study, table), resamples=0)
    budget = _budget(test, budget_flop)
    if any(abs(known / budget - 1) < SAME_BUDGET for known in study.budgets):
        raise ToolkitError(
            f"the laws were fitted at {scientific(budget, 3)} FLOP as well: no test of them"
        )
    for column in COMPARABLE:
        values = [set(runs[column].dropna()) for runs in (study.runs, test.runs) if column in runs]
        if len(values) == 2 and values[0] != values[1]:
            raise ToolkitError(f"the two tables differ in {column} and cannot be compared")
    recipe = recommend_from(study, budget_flop=budget)
    runs = test.runs[np.isclose(test.runs["budget_flop"], budget, rtol=SAME_BUDGET)]
    settings = [name for name in SETTINGS if name in runs.columns]
    groups = runs.groupby(["method", "params", *settings], dropna=False)
    means = [(some.iloc[0], len(some), float(some["loss"].mean())) for _, some in groups]
    means.sort(key=lambda mean: mean[2])
    place = _followed(recipe, [first for first, _, _ in means])
    tried = tuple(
        Tried(
            method=str(first["method"]),
            decoder=str(first.get("decoder", "")),
            params=int(first["params"]),
            settings={n: float(first[n]) for n in settings if pd.notna(first[n])},
            seeds=seeds,
            predicted=_predict(study, str(first["method"]), budget, float(first["params"])),
            measured=mean,
            regret=mean - means[0][2],
            followed=number == place,
        )
        for number, (first, seeds, mean) in enumerate(means)
    )
    return Trial(recipe, tried)


def _convention(study: Study, table: pd.DataFrame) -> str | None:
    known = "flop_convention" in table.columns and study.convention != "unstated"
    return study.convention if known else None


def _budget(test: Study, asked: float | None) -> float:
    budgets = sorted(float(b) for b in test.runs["budget_flop"].unique())
    if asked is None and len(budgets) == 1:
        return budgets[0]
    names = ", ".join(scientific(b, 3) for b in budgets)
    if asked is None:
        raise ToolkitError(f"the test has several budgets ({names}): say which with --flop")
    if not any(abs(b / asked - 1) < SAME_BUDGET for b in budgets):
        raise ToolkitError(f"the test has no run at {scientific(asked, 3)} FLOP; it has {names}")
    return asked


def _followed(recipe: Recipe, firsts: list[pd.Series]) -> int:
    """Which configuration is the recipe's: its method and decoder, and the settings nearest."""
    names = [d.name for d in (recipe.size.nearest, recipe.size.nearest_tried) if d is not None]
    sizes = [d.params for d in (recipe.size.nearest, recipe.size.nearest_tried) if d is not None]
    rows = [
        number
        for number, first in enumerate(firsts)
        if first["method"] == recipe.method and int(first["params"]) in sizes
    ]
    if not rows:
        raise ToolkitError(
            f"the recipe says {method_name(recipe.method)} of {' or '.join(dict.fromkeys(names))}, "
            "which the test does not have: run that as well"
        )

    def distance(number: int) -> float:
        pairs = [(s.value, firsts[number].get(s.name, np.nan)) for s in recipe.settings]
        return float(sum(abs(np.log(a / b)) for a, b in pairs if a > 0 and b > 0))

    return min(rows, key=distance)


def _predict(study: Study, method: str, budget_flop: float, params: float) -> Estimate:
    if method not in study.fits:
        return Estimate(np.nan)
    ahead = forecast(method, study.fits[method], budget_flop)
    more = ahead.excess(params)
    return Estimate(
        ahead.loss.value + more, ahead.loss.low + more, ahead.loss.high + more, extrapolated=True
    )


def as_text(trial: Trial) -> str:
    """The test for a terminal: a line a configuration, then what came of the recipe."""
    head = ("", "decoder", "settings", "foretold", "interval", "measured", "regret")
    rows = [head, *(_row(one) for one in trial.tried)]
    width = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, width, strict=True))
        ).rstrip()
        for row in rows
    ]
    title = f"The recipe put to the test at {scientific(trial.recipe.budget_flop, 3)} FLOP"
    return "\n".join([title, "═" * len(title), *lines, "", *map(bullet, sentences(trial))])


def _row(one: Tried) -> tuple[str, ...]:
    known = np.isfinite(one.predicted.value)
    return (
        ("→ " if one.followed else "  ") + method_name(one.method),
        one.decoder or count(one.params),
        ", ".join(f"{_SHORT[name]} {value:.3g}" for name, value in one.settings.items()),
        loss(one.predicted.value) if known else "–",
        spread(one.predicted, loss) if known else "",
        loss(one.measured),
        signed(one.regret),
    )


_SHORT = {"lr": "lr", "batch_pairs": "batch", "lora_rank": "rank", "trained_blocks": "blocks"}


def sentences(trial: Trial) -> list[str]:
    """What the test says about the recipe."""
    mine, best = trial.followed, trial.tried[0]
    said = [f"the recipe: {method_name(mine.method)} of {mine.decoder or count(mine.params)}"]
    if np.isfinite(mine.predicted.value):
        off = mine.measured / mine.predicted.value - 1
        verdict = ""
        if np.isfinite(mine.predicted.low + mine.predicted.high):
            inside = mine.predicted.low <= mine.measured <= mine.predicted.high
            verdict = ", inside its interval" if inside else ", outside its interval"
        said[0] += (
            f", foretold {loss(mine.predicted.value)}, measured {loss(mine.measured)} "
            f"({off:+.1%}{verdict})"
        )
    if best is mine:
        said.append(f"it is the best of the {len(trial.tried)} that were tried: regret 0")
    else:
        where = f"{method_name(best.method)} of {best.decoder or count(best.params)}"
        said.append(
            f"the best of the {len(trial.tried)} that were tried is {where} with "
            f"{loss(best.measured)}: following the recipe costs {signed(trial.regret)}"
        )
    seen = [one for one in trial.tried if np.isfinite(one.predicted.value)]
    if len(seen) > 1:
        errors = [one.measured / one.predicted.value - 1 for one in seen]
        said.append(
            f"over {len(seen)} configurations the predictions are off by "
            f"{np.sqrt(np.mean(np.square(errors))):.1%} (root mean square), "
            f"from {min(errors):+.1%} to {max(errors):+.1%}"
        )
    return said

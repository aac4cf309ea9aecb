"""Which runs of a run table may be compared, and which of those the laws stand on.

Only what may be compared is compared: finished runs whose budgets are counted in one convention
and whose losses are over the same held-out set. Where several settings of a method (LoRA ranks,
freezing depths, learning rates, batches) were tried at one size and budget, the best setting
counts for the law of the method, with all its seeds: the question is what the method can do, not
what a poor rank does. The choice is made on the loss that is then fitted, so the more settings were
tried, the more the law flatters the method by picking lucky runs; several seeds of every setting
temper that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws.chance import chance
from toolkit.laws.suspects import suspects
from toolkit.laws.table import check
from toolkit.recipe.findings import Finding
from toolkit.runs import RunConfig, fields_that
from toolkit.tables import completed, notes
from toolkit.values import field_types

CELL = ("method", "params", "budget_flop")
SETTINGS = fields_that("setting")
# And the fingerprint of the pairs, which a record has beside its configuration.
COMPARABLE = (
    *(name for name in fields_that("must agree") if name != "flop_convention"),
    "fingerprint",
)
NUMERIC_SETTINGS = tuple(
    name for name in SETTINGS if {int, float}.intersection(field_types(RunConfig)[name])
)
# Tables made before a field was there hold runs at its default.
YOUNGER: dict[str, Any] = {f.name: f.default for f in fields(RunConfig) if f.metadata["late"]}
AT_CHANCE = 0.999  # Of ln K.
LIMITED = "limited to fewer distinct pairs than the others (max_pairs)"


@dataclass(frozen=True)
class Excluded:
    """Runs that were left out for one reason: `runs` names them, as far as they are listed."""

    reason: str
    count: int
    runs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparable:
    """A run table sorted into what counts and what does not.

    Attributes:
        runs: Finished, comparable runs with all their settings.
        best: Those that laws stand on: the best setting of each method, size and budget.
        limited: Comparable runs on fewer distinct pairs than `runs` had (`toolkit.recipe.repeats`).
        convention: In which the budgets are counted; "unstated" if the table does not tell.
        excluded: What was left out, and why.
        warnings: About what was left out.
    """

    runs: pd.DataFrame = field(repr=False)
    best: pd.DataFrame = field(repr=False)
    limited: pd.DataFrame = field(repr=False)
    convention: str
    excluded: tuple[Excluded, ...]
    warnings: tuple[Finding, ...]

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        *,
        convention: str | None = None,
        keep: Sequence[tuple[str, float, float]] = (),
        apart: str | None = None,
    ) -> Comparable:
        """Sort a run table.

        Args:
            table: Columns `method`, `params`, `budget_flop` and `loss` at least; settings, `seed`
                and `status` where they are known.
            convention: Use the runs whose budgets are counted so; by default the most common.
            keep: (column, low, high): runs outside low <= column <= high are left out.
            apart: A column whose values are not to compete: the best settings are sought for each.

        Raises:
            ToolkitError: A column is missing or wrong, or no run is left.
        """
        runs, excluded, warnings = _finished(table, keep)
        runs, convention = _one_convention(runs, convention, excluded, warnings)
        for column in COMPARABLE:
            if column in runs.columns:
                absent = YOUNGER.get(column)
                if runs[column].isna().any():
                    whole = runs[column].astype(object).fillna("" if absent is None else absent)
                    runs = runs.assign(**{column: whole})
                common = runs[column].mode().iloc[0]
                runs = _only(runs, column, common, excluded, warnings)
        runs = runs.fillna(
            {name: YOUNGER[name] for name in SETTINGS if YOUNGER.get(name) is not None}
        )
        for column in fields_that("must agree at a size"):
            if column in runs.columns:
                runs = _agreeing_at_a_size(runs, column, excluded, warnings)
        runs, limited = _unlimited(runs, excluded)
        cell = list(CELL)
        if apart is not None and apart in runs.columns and apart not in CELL:
            cell.append(apart)
        best = best_settings(_below_chance(runs, warnings), cell)
        statement = suspects(best).statement
        if statement:
            warnings.append(Finding.of("said", sentence=statement))
        if "unique_pairs" in limited.columns:
            limited = best_settings(limited, [*cell, "unique_pairs"])
        return cls(runs, best, limited, convention, tuple(excluded), tuple(warnings))

    def mapped(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Comparable:
        """The same with a column more in each of its tables."""
        return replace(
            self, runs=change(self.runs), best=change(self.best), limited=change(self.limited)
        )

    @property
    def poorer(self) -> Excluded:
        """The runs at settings that others beat at the same size and budget."""
        rows = self.runs.index.difference(self.best.index)
        names = tuple(_label(self.runs, int(row)) for row in self.runs.index.get_indexer(rows))
        return Excluded("other settings did better at their size and budget", len(rows), names)


def _finished(
    table: pd.DataFrame, keep: Sequence[tuple[str, float, float]]
) -> tuple[pd.DataFrame, list[Excluded], list[Finding]]:
    """The finished runs of a table, and those left out."""
    table = completed(table.reset_index(drop=True))  # Rows left out are numbered by the index.
    roles = {"size": "params", "budget": "budget_flop", "loss": "loss"}
    roles |= {name: name for name in ("tokens", "pairs") if name in table.columns}
    checked = check(table, roles, keep=keep)
    excluded = [
        Excluded(d.reason, d.count, tuple(_label(table, row - 1) for row in d.rows))
        for d in checked.dropped
    ]
    warnings = [Finding.of("said", sentence=note) for note in notes(table)]
    warnings += [_left_out(each) for each in excluded]
    runs = table.iloc[checked.rows].copy()
    unnamed = runs["method"].isna() | (runs["method"].astype(str).str.strip() == "")
    if unnamed.any():
        row = int(checked.rows[np.flatnonzero(unnamed)[0]]) + 1
        raise ToolkitError(f"column 'method' must name a method; row {row} is empty")
    for name, column in roles.items():
        runs[column] = checked.columns[name]
    for name in NUMERIC_SETTINGS:
        if name in runs.columns:
            runs[name] = pd.to_numeric(runs[name], errors="coerce")
    runs["method"] = runs["method"].astype(str)
    return runs, excluded, warnings


def _one_convention(
    runs: pd.DataFrame, wanted: str | None, excluded: list[Excluded], warnings: list[Finding]
) -> tuple[pd.DataFrame, str]:
    """The runs whose budgets are counted in one convention: a FLOP is not a FLOP in another."""
    if "flop_convention" not in runs.columns:
        if wanted is not None:
            raise ToolkitError(
                "the table has no column 'flop_convention', so its runs cannot be chosen by it; "
                "leave the convention out"
            )
        warnings.append(Finding("convention-unstated"))
        return runs, "unstated"
    present = sorted(runs["flop_convention"].dropna().astype(str).unique())
    if wanted is None:
        common = runs["flop_convention"].dropna().astype(str).mode()
        wanted = "unstated" if common.empty else str(common.iloc[0])
    elif wanted not in present:
        raise ToolkitError(
            f"no run's budget is counted in the {wanted} convention; this table has "
            f"{' and '.join(present) or 'none'}"
        )
    if wanted == "unstated":
        return runs, wanted
    return _only(runs, "flop_convention", wanted, excluded, warnings), wanted


def _only(
    runs: pd.DataFrame,
    column: str,
    value: object,
    excluded: list[Excluded],
    warnings: list[Finding],
) -> pd.DataFrame:
    """The rows with `value`; the others are listed, since they cannot be compared with them."""
    same = (runs[column].fillna("") == value).to_numpy()
    if not same.all():
        names = tuple(_label(runs, int(row)) for row in np.flatnonzero(~same))
        others = ", ".join(sorted(str(v) for v in runs.loc[~same, column].unique()))
        reason = f"{column} is {others}, not {value} as in most, and cannot be compared"
        if column == "flop_convention":
            reason = f"budgets counted in the {others} convention, not in {value}"
        excluded.append(Excluded(reason, len(names), names))
        warnings.append(_left_out(Excluded(reason, len(names), ())))
    return runs[same]


def _agreeing_at_a_size(
    runs: pd.DataFrame, column: str, excluded: list[Excluded], warnings: list[Finding]
) -> pd.DataFrame:
    """Of each size the runs with its most common value; rows older than the column are kept."""
    sizes = runs.groupby("params")[column]
    common = sizes.transform(lambda values: values.mode().iloc[0] if values.notna().any() else None)
    same = ((runs[column] == common) | runs[column].isna()).to_numpy()
    if not same.all():
        names = tuple(_label(runs, int(row)) for row in np.flatnonzero(~same))
        reason = f"{column} is not that of most runs of the same decoder"
        excluded.append(Excluded(reason, len(names), names))
        warnings.append(_left_out(excluded[-1]))
    return runs[same]


def _unlimited(runs: pd.DataFrame, excluded: list[Excluded]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs with the most data, and those with less: they ask what repeating costs, not what
    is best."""
    if "max_pairs" not in runs.columns:
        return runs, runs.iloc[:0]
    limit = pd.to_numeric(runs["max_pairs"], errors="coerce").fillna(math.inf).to_numpy()
    most = limit == limit.max()
    if not most.all():
        names = tuple(_label(runs, int(row)) for row in np.flatnonzero(~most))
        excluded.append(Excluded(LIMITED, len(names), names))
    return runs[most], runs[~most]


def below_chance(runs: pd.DataFrame) -> np.ndarray:
    """Which runs have learnt anything; all, where chance is not known."""
    ceiling = chance(runs)
    if math.isnan(ceiling):
        return np.ones(len(runs), bool)
    return (runs["loss"] < AT_CHANCE * ceiling).to_numpy()


def _below_chance(runs: pd.DataFrame, warnings: list[Finding]) -> pd.DataFrame:
    """The runs that a law can stand on: one above chance has memorised its pairs, or diverged."""
    learnt = below_chance(runs)
    if not learnt.any():
        raise ToolkitError(
            f"every loss is at or above chance (ln K = {chance(runs):.2f} nats): nothing was "
            "learnt, so nothing can be told; spend more on each run, or try other rates"
        )
    if not learnt.all():
        names = tuple(
            f"{_label(runs, int(row))} (loss {runs['loss'].iloc[row]:.4g})"
            for row in np.flatnonzero(~learnt)
        )
        found = Finding.of("above-chance", count=len(names), chance=chance(runs), runs=names)
        warnings.append(found)
    return runs[learnt]


def best_settings(runs: pd.DataFrame, cell: list[str]) -> pd.DataFrame:
    """Of each cell (method, size, budget) the runs of the setting with the lowest mean loss.

    A seed that was not run with the best setting has no say: it would tell of a poor one.
    """
    settings = [name for name in SETTINGS if name in runs.columns and name not in cell]
    groups = runs.groupby([*cell, *settings], dropna=False)["loss"]
    cells = runs.groupby(cell, dropna=False).ngroup()
    mean, group = groups.transform("mean"), groups.ngroup()
    best = mean == mean.groupby(cells).transform("min")
    one = group.where(best).groupby(cells).transform("min")  # Of two equally good settings.
    return runs[group == one]


def _label(table: pd.DataFrame, row: int) -> str:
    """A run's name, or its row's number from 1, and why it ended early where that is known."""
    name = str(table["run"].iloc[row]) if "run" in table.columns else f"row {row + 1}"
    if "status" not in table.columns or str(table["status"].iloc[row]) == "finished":
        return name
    reason = table["reason"].iloc[row] if "reason" in table.columns else None
    said = f": {reason}" if isinstance(reason, str) and reason else ""
    return f"{name} ({table['status'].iloc[row]}{said})"


def same_budget(budgets: pd.Series | float, budget_flop: float) -> np.ndarray:
    """Which of some budgets are this one: it may have been rounded when it was written down."""
    return np.isclose(budgets, budget_flop, rtol=1e-3, atol=0)


def _left_out(each: Excluded) -> Finding:
    return Finding("left-out", vars(each))

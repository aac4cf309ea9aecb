"""A study: one run table made ready for decisions, and the laws of every method in it.

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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError, nearest
from toolkit.laws import Crossover, IsoFlopFit, Rollout, crossovers, fit_isoflop, roll
from toolkit.laws.table import check
from toolkit.recipe.wording import count
from toolkit.runs import METHODS

CELL = ["method", "params", "budget_flop"]
SETTINGS = ("lr", "batch_pairs", "lora_rank", "trained_blocks")
COMPARABLE = ("data", "candidates", "temperature", "max_tokens")
FEW_RUNS = 9  # Three sizes at three budgets: the least that a law with any check can stand on.

BEST_SETTING = (
    "where several settings of a method were tried at one size and budget, only the best of them "
    "counts for the method's law, with all its seeds"
)


@dataclass(frozen=True)
class Excluded:
    """Runs that were left out for one reason: `runs` names them, as far as they are listed."""

    reason: str
    count: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One method at one size and budget, by the value of one of its settings.

    Attributes:
        budget_flop, params: Where. decoder: Its name, empty if the table does not tell.
        values: Tried, ascending.
        losses: Of each: seeds averaged, the other settings at their best.
    """

    budget_flop: float
    params: float
    decoder: str
    values: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """A run table and its laws.

    Attributes:
        runs: Finished, comparable runs with all their settings.
        best: Those that the laws stand on: the best setting of each method, size and budget.
        fits: The IsoFLOP analysis of each method, in the order of `toolkit.runs.METHODS`.
        crossovers: Of every two methods' loss laws.
        convention: In which the budgets are counted; "unstated" if the table does not tell.
        excluded: What was left out, and why.
        warnings: Sentences about the table as a whole; those about one method are its fit's.
        limited: Comparable runs on fewer distinct pairs than `runs` had (`toolkit.recipe.repeats`).
    """

    runs: pd.DataFrame = field(repr=False)
    best: pd.DataFrame = field(repr=False)
    fits: dict[str, IsoFlopFit]
    crossovers: tuple[Crossover, ...]
    convention: str
    excluded: tuple[Excluded, ...]
    warnings: tuple[str, ...]
    limited: pd.DataFrame = field(repr=False)

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        *,
        convention: str | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> Study:
        """Check a run table and fit every method in it.

        Args:
            table: Columns `method`, `params`, `budget_flop` and `loss` at least; `tokens`,
                `pairs`, settings, `seed` and `status` where they are known.
            convention: Use the runs whose budgets are counted so; by default the most common.
            resamples, seed: Of the bootstrap.

        Raises:
            ToolkitError: A column is missing or wrong, or no run is left.
        """
        runs, excluded, warnings = _finished(table)
        runs, convention = _one_convention(runs, convention, excluded, warnings)
        for column in COMPARABLE:
            if column in runs.columns:
                common = runs[column].fillna("").mode().iloc[0]
                runs = _only(runs, column, common, excluded, warnings)
        runs, limited = _unlimited(runs, excluded)
        best = _best_settings(runs)
        if len(best) < FEW_RUNS:
            warnings.append(f"only {_runs(len(best))} to fit: read every number here as a guess")
        present = runs["method"].unique()
        methods = [m for m in METHODS if m in present]
        methods += sorted(m for m in present if m not in METHODS)
        fits = {
            method: fit_isoflop(best[best["method"] == method], resamples=resamples, seed=seed)
            for method in methods
        }
        met = crossovers(fits)
        return cls(runs, best, fits, met, convention, tuple(excluded), tuple(warnings), limited)

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.fits)

    @property
    def budgets(self) -> tuple[float, ...]:
        """All budgets tried, ascending, in FLOP."""
        return tuple(sorted(float(b) for b in self.best["budget_flop"].unique()))

    @cached_property
    def cells(self) -> dict[str, dict[str, tuple[Cell, ...]]]:
        """By method and setting, what its values came to at every size and budget."""
        return {
            method: {
                name: _cells(rows, name)
                for name in SETTINGS
                if name in rows.columns and rows[name].notna().any()
            }
            for method, rows in self._runs_by_method
        }

    @cached_property
    def varied(self) -> dict[str, tuple[str, ...]]:
        """By method, the settings of which several values were tried at one size and budget."""
        return {
            method: tuple(n for n, cells in found.items() if any(len(c.values) > 1 for c in cells))
            for method, found in self.cells.items()
        }

    @cached_property
    def decoders(self) -> dict[str, dict[str, int]]:
        """By method, the decoders tried and their non-embedding parameters."""
        return {
            method: {
                str(name): int(params)
                for name, params in zip(
                    rows.get("decoder", rows["params"].map(count)), rows["params"], strict=True
                )
            }
            for method, rows in self._runs_by_method
        }

    @cached_property
    def tokens_per_pair(self) -> dict[str, float]:
        """By method; NaN where the table does not tell."""
        known = {"tokens", "pairs"} <= set(self.runs.columns)
        return {
            method: float(rows["tokens"].sum() / rows["pairs"].sum()) if known else math.nan
            for method, rows in self._runs_by_method
        }

    @cached_property
    def distinct_pairs(self) -> dict[str, float]:
        """By method, the most distinct pairs that a run had; NaN where the table does not tell."""
        known = "unique_pairs" in self.runs.columns
        return {
            method: float(pd.to_numeric(rows["unique_pairs"], errors="coerce").max())
            if known
            else math.nan
            for method, rows in self._runs_by_method
        }

    @cached_property
    def rollouts(self) -> Mapping[str, Rollout]:
        """By method, how well forms fitted at low budgets predict high ones; made when asked for.

        Methods with a single budget have none.
        """
        return _Rollouts(self)

    @property
    def _runs_by_method(self) -> list[tuple[str, pd.DataFrame]]:
        return [(method, self.runs[self.runs["method"] == method]) for method in self.fits]


class _Rollouts(Mapping[str, Rollout]):
    """Rollouts take a second a method, so each is made when it is first asked for."""

    def __init__(self, study: Study) -> None:
        self._best = study.best
        self._methods = [m for m, fit in study.fits.items() if len(fit.minima) > 1]
        self._made: dict[str, Rollout] = {}

    def __getitem__(self, method: str) -> Rollout:
        if method not in self._methods:
            raise KeyError(method)
        if method not in self._made:
            self._made[method] = roll(self._best[self._best["method"] == method])
        return self._made[method]

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)


def _cells(rows: pd.DataFrame, name: str) -> tuple[Cell, ...]:
    place = ["params", "budget_flop"]
    rows = rows.dropna(subset=[name])
    others = [other for other in SETTINGS if other != name and other in rows.columns]
    mean = rows.groupby([*place, name, *others], dropna=False)["loss"].mean()
    best = mean.groupby(level=[*place, name]).min().reset_index()
    decoders = dict(zip(rows["params"], rows.get("decoder", [""] * len(rows)), strict=True))
    return tuple(
        Cell(
            float(some["budget_flop"].iloc[0]),
            float(some["params"].iloc[0]),
            str(decoders[some["params"].iloc[0]]),
            tuple(map(float, some[name])),
            tuple(map(float, some["loss"])),
        )
        for _, some in best.groupby(place)
    )


def _finished(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Excluded], list[str]]:
    """The finished runs of a table, and those left out."""
    roles = {"size": "params", "budget": "budget_flop", "loss": "loss"}
    roles |= {name: name for name in ("tokens", "pairs") if name in table.columns}
    if "method" not in table.columns and len(table):
        names = [str(column) for column in table.columns]
        raise ToolkitError(f"the table has no column 'method'{nearest('method', names)}")
    table = table.reset_index(drop=True)  # Rows left out are numbered by the index.
    checked = check(table, roles)
    excluded = [
        Excluded(d.reason, d.count, tuple(_label(table, row - 1) for row in d.rows))
        for d in checked.dropped
    ]
    warnings = [f"{_runs(e.count)} left out: {e.reason} ({_some(e.runs)})" for e in excluded]
    runs = table.iloc[checked.rows].copy()
    unnamed = runs["method"].isna() | (runs["method"].astype(str).str.strip() == "")
    if unnamed.any():
        row = int(checked.rows[np.flatnonzero(unnamed)[0]]) + 1
        raise ToolkitError(f"column 'method' must name a method; row {row} is empty")
    for name, column in roles.items():
        runs[column] = checked.columns[name]
    for name in SETTINGS:
        if name in runs.columns:
            runs[name] = pd.to_numeric(runs[name], errors="coerce")
    runs["method"] = runs["method"].astype(str)
    return runs, excluded, warnings


def _one_convention(
    runs: pd.DataFrame, wanted: str | None, excluded: list[Excluded], warnings: list[str]
) -> tuple[pd.DataFrame, str]:
    """The runs whose budgets are counted in one convention: a FLOP is not a FLOP in another."""
    if "flop_convention" not in runs.columns:
        if wanted is not None:
            raise ToolkitError(
                "the table has no column 'flop_convention', so its runs cannot be chosen by it; "
                "leave the convention out"
            )
        warnings.append("the table does not say how its budgets are counted (flop_convention)")
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
    runs: pd.DataFrame, column: str, value: object, excluded: list[Excluded], warnings: list[str]
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
        warnings.append(f"{_runs(len(names))} left out: {reason}")
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
        reason = "limited to fewer distinct pairs than the others (max_pairs)"
        excluded.append(Excluded(reason, len(names), names))
    return runs[most], runs[~most]


def _best_settings(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each method, size and budget the runs of the setting with the lowest mean loss.

    A seed that was not run with the best setting has no say: it would tell of a poor one.
    """
    settings = [name for name in SETTINGS if name in runs.columns]
    groups = runs.groupby([*CELL, *settings], dropna=False)["loss"]
    cells = [runs[name] for name in CELL]
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


def _runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def _some(names: tuple[str, ...], most: int = 3) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest

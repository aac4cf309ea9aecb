"""A study: the comparable runs of a table, and the laws of every method in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from toolkit.laws import Crossover, IsoFlopFit, Rollout, crossovers, fit_isoflop, roll
from toolkit.recipe.comparable import SETTINGS, Comparable, Excluded, n_runs
from toolkit.runs import METHODS
from toolkit.text import count

FEW_RUNS = 9  # Three sizes at three budgets: the least that a law with any check can stand on.


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
        runs, best: As of `toolkit.recipe.comparable.Comparable`; laws stand on `best`.
        fits: The IsoFLOP analysis of each method, in the order of `toolkit.runs.METHODS`.
        crossovers: Of every two methods' loss laws.
        convention: In which the budgets are counted; "unstated" if the table does not tell.
        excluded: What was left out, and why.
        warnings: Sentences about the table as a whole; those about one method are its fit's.
        limited: As of `Comparable`.
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
        found = Comparable.of(table, convention=convention)
        runs, best, warnings = found.runs, found.best, found.warnings
        if len(best) < FEW_RUNS:
            few = f"only {n_runs(len(best))} to fit: read every number here as a guess"
            warnings = (*warnings, few)
        present = runs["method"].unique()
        methods = [m for m in METHODS if m in present]
        methods += sorted(m for m in present if m not in METHODS)
        fits = {
            method: fit_isoflop(best[best["method"] == method], resamples=resamples, seed=seed)
            for method in methods
        }
        met = crossovers(fits)
        return cls(runs, best, fits, met, found.convention, found.excluded, warnings, found.limited)

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

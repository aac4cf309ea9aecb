"""A study: the comparable runs of a table, and the one law that is fitted to all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from toolkit.decoders import KNOWN, catalogued, relatives
from toolkit.kept import kept
from toolkit.laws import IsoFlopFit, fit_isoflop
from toolkit.laws.cells import Cells
from toolkit.laws.chance import chance
from toolkit.laws.optimiser import Array
from toolkit.laws.surface import Surface, fit_surface
from toolkit.laws.tabular import FLOP_PER_PARAM_TOKEN
from toolkit.methods import METHODS
from toolkit.recipe.cell import Cell, cells_of
from toolkit.recipe.comparable import (
    CELL,
    NUMERIC_SETTINGS,
    SETTINGS,
    Comparable,
    below_chance,
    best_settings,
)
from toolkit.recipe.costs import Costs
from toolkit.recipe.findings import Finding
from toolkit.recipe.tuning import DRAWS, NAMED, PLACE, Tuning
from toolkit.text import count

FEW_RUNS = 9  # Three sizes at three budgets: the least that a law with any check can stand on.
# Of ln loss between seeds: what is likely, and how many runs that is worth.
SEEDS_NOISE = (0.01, 3)
EVERY_DRAW = 1000


@dataclass(frozen=True)
class Decoder:
    """A decoder that a recipe may name: its name, and its non-embedding parameters."""

    name: str
    params: int


@dataclass(frozen=True, eq=False)
class Study:
    """A run table and its law.

    Attributes:
        comparable: Its runs, sorted into what counts and what does not.
        tuning: Its settings, and what being off the best ones costs.
        surface: The law of all methods (`toolkit.laws.surface`).
        costs: What a budget buys.
        data: The column that counts data: pairs, or tokens where the table has no pairs.
        warnings: About the table as a whole.

    Example:
        >>> study = d2e.Study.of(d2e.read_runs("reference"))
        >>> study.methods, max(study.budgets)
        (('full', 'freeze', 'lora', 'bias'), 3000000000000.0)
    """

    comparable: Comparable
    tuning: Tuning = field(repr=False)
    surface: Surface = field(repr=False)
    costs: Costs = field(repr=False)
    data: str
    warnings: tuple[Finding, ...]

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        *,
        convention: str | None = None,
        draws: int = EVERY_DRAW,
        seed: int = 0,
    ) -> Study:
        """Check a run table and fit the law of all its methods.

        Args:
            table: Columns `method`, `params`, `budget_flop` and `loss` at least; `pairs`,
                `unique_pairs`, `candidates`, settings, `seed` and `status` where they are known.
            convention: Use the runs whose budgets are counted so; by default the most common.
            draws, seed: Of the posterior, from which every interval comes.

        Raises:
            ToolkitError: A column is missing or wrong, or no run is left that has learnt anything.
        """
        comparable = Comparable.of(table, convention=convention)
        warnings = list(comparable.warnings)
        if len(comparable.best) < FEW_RUNS:
            warnings.append(Finding.of("few-runs", count=len(comparable.best)))
        data, comparable = _data_column(comparable, warnings)
        tuning = _tuning(comparable, data, draws)
        if math.isnan(tuning.tries.chance):
            warnings.append(Finding("candidates-unknown"))
        surface = fit_surface(_cells(tuning, comparable.runs), draws=draws, seed=seed)
        costs = Costs.of(
            comparable.best, data, _tokens_per_pair(comparable.runs), comparable.convention
        )
        return cls(comparable, tuning, surface, costs, data, tuple(warnings))

    @property
    def runs(self) -> pd.DataFrame:
        return self.comparable.runs

    @property
    def best(self) -> pd.DataFrame:
        return self.comparable.best

    @property
    def limited(self) -> pd.DataFrame:
        return self.comparable.limited

    @property
    def convention(self) -> str:
        return self.comparable.convention

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """In the order of `toolkit.methods.METHODS`, others by name behind them."""
        present = set(self.best["method"])
        return (*(m for m in METHODS if m in present), *sorted(present.difference(METHODS)))

    @cached_property
    def budgets(self) -> tuple[float, ...]:
        """All budgets tried, ascending, in FLOP."""
        return tuple(sorted(float(b) for b in self.best["budget_flop"].unique()))

    @cached_property
    def sizes(self) -> tuple[float, float]:
        """The smallest and the largest decoder tried, non-embedding parameters."""
        return float(self.best["params"].min()), float(self.best["params"].max())

    @cached_property
    def fits(self) -> dict[str, IsoFlopFit]:
        """The IsoFLOP analysis of each method: a picture, and a second opinion."""
        return {
            method: fit_isoflop(self.best[self.best["method"] == method]) for method in self.methods
        }

    @cached_property
    def hand(self) -> tuple[Decoder, ...]:
        """The decoders at hand, by size: those tried, and others of their families by name."""
        tried = {
            int(params): str(name)
            for found in self.decoders.values()
            for name, params in found.items()
        }
        if "decoder" not in self.runs.columns:
            tried |= _recognised(set(tried))
        hand = {known.params: known.name for name in tried.values() for known in relatives(name)}
        return tuple(Decoder(name, params) for params, name in sorted((hand | tried).items()))

    @cached_property
    def distinct(self) -> float:
        """The most distinct pairs (or tokens) that a run had; infinite where that is not known."""
        unique = np.exp(self.surface.cells.log_unique)
        return float(unique[np.isfinite(unique)].max()) if np.isfinite(unique).any() else math.inf

    def losses(
        self,
        method: str,
        params: Array,
        budget_flop: float,
        unique: float | None = None,
        *,
        data: Array | None = None,
        common: bool = False,
    ) -> Array:
        """(R, q) draws of a method's mean loss with decoders of `params` (q,) for a budget.

        `data` (q,) is what it buys, where that is known better than by what such decoders cost;
        `unique` and `common` as `toolkit.laws.surface.Surface.draws` has them.
        """
        data = self.costs.data(method, params, budget_flop) if data is None else data
        unique = self.distinct if unique is None else unique
        return self.surface.draws(
            method, params, data, math.log(budget_flop), unique=unique, common=common
        )

    def reached(self, method: str, params: int, budget_flop: float, unique: float) -> Array | None:
        """(R,) draws of what a method and decoder came to with no more budget and data, if run.

        Whatever a law says: what was done once can be done again, with budget to spare.
        """
        cells = self.surface.cells
        there = cells.method == cells.methods.index(method)
        there &= cells.decoders[cells.decoder] == params
        there &= cells.log_flop <= math.log(budget_flop * (1 + 1e-3))
        there &= cells.log_unique <= math.log(unique * (1 + 1e-3))
        rows = np.flatnonzero(there)
        if not len(rows):
            return None
        least = int(rows[cells.promised[0][rows].argmin()])
        return _again(self.surface, least)

    @cached_property
    def cells(self) -> dict[str, dict[str, tuple[Cell, ...]]]:
        """By method and setting, what its values came to at every size and budget."""
        return {
            method: {
                name: cells_of(rows.astype({name: float}), name)
                for name in NUMERIC_SETTINGS
                if name in rows.columns and rows[name].notna().any()
            }
            for method, rows in self._runs_by_method
        }

    @cached_property
    def varied(self) -> dict[str, tuple[str, ...]]:
        """By method, the settings that are amounts and had several values at one size and budget.

        Others are `toolkit.recipe.options`.
        """
        return {
            method: tuple(
                name for name, some in cells.items() if any(len(c.values) > 1 for c in some)
            )
            for method, cells in self.cells.items()
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
        return {method: _tokens_per_pair(rows) for method, rows in self._runs_by_method}

    @property
    def _runs_by_method(self) -> list[tuple[str, pd.DataFrame]]:
        return [(method, self.runs[self.runs["method"] == method]) for method in self.methods]


@kept(1024)
def _again(surface: Surface, cell: int) -> Array:
    """(R,) draws of the mean loss of runs like a cell's."""
    cells = surface.cells
    draws = surface.draws(
        cells.methods[cells.method[cell]],
        cells.decoders[cells.decoder[cell : cell + 1]],
        np.exp(cells.log_pairs[cell : cell + 1]),
        float(cells.log_flop[cell]),
        unique=float(np.exp(cells.log_unique[cell])),
    )
    return draws[:, 0]


def _recognised(sizes: set[int]) -> dict[int, str]:
    """Names by size, where all sizes are those of one family's decoders to the last parameter."""
    for family in {each.family for each in KNOWN.values()}:
        known = {each.params: each.name for each in KNOWN.values() if each.family == family}
        if sizes <= set(known):
            return {params: known[params] for params in sizes}
    return {}


def _data_column(comparable: Comparable, warnings: list[Finding]) -> tuple[str, Comparable]:
    """Which column counts data; tokens as of C = 6ND where the table has neither it nor pairs."""
    for column in ("pairs", "tokens"):
        if column in comparable.runs.columns and comparable.runs[column].notna().all():
            return column, comparable
    warnings.append(Finding("data-unknown"))
    return "tokens", comparable.mapped(
        lambda runs: runs.assign(
            tokens=runs["budget_flop"] / (FLOP_PER_PARAM_TOKEN * runs["params"])
        )
    )


def _tokens_per_pair(runs: pd.DataFrame) -> float:
    if not {"tokens", "pairs"} <= set(runs.columns):
        return math.nan
    return float(runs["tokens"].sum() / runs["pairs"].sum())


def _tuning(comparable: Comparable, data: str, draws: int) -> Tuning:
    """The settings of every run that has learnt anything, limited data included."""
    unique = f"unique_{data}"
    runs = pd.concat([comparable.runs, comparable.limited])
    runs = runs.assign(
        unique=pd.to_numeric(runs[unique], errors="coerce").fillna(math.inf)
        if unique in runs.columns
        else math.inf
    )
    runs = runs[below_chance(runs)]
    best = best_settings(runs, [*PLACE, *(name for name in NAMED if name in runs.columns)])
    noise = _seeds_noise(comparable.runs[below_chance(comparable.runs)])
    return Tuning.of(best, data, chance(runs), noise, min(draws, DRAWS))


def _cells(tuning: Tuning, runs: pd.DataFrame) -> Cells:
    """What the surface is fitted to: every cell with its best settings."""
    cells, tries = tuning.cells, tuning.tries
    decoders = np.sort(cells["params"].unique()).astype(float)
    loss, spread = tuning.levels()
    return Cells(
        methods=tuning.methods,
        method=np.array([tuning.methods.index(m) for m in cells["method"]]),
        decoders=decoders,
        decoder=np.searchsorted(decoders, cells["params"]),
        single=np.isin(decoders, _single_blocks(runs)),
        log_pairs=np.log(cells["data"].to_numpy(float)),
        log_unique=np.log(cells["unique"].to_numpy(float)),
        log_flop=np.log(cells["budget_flop"].to_numpy(float)),
        log_loss=loss[0],
        runs=cells["runs"].to_numpy(float),
        chance=tries.chance,
        noise=tries.noise,
        spread=spread[0],
        named=np.stack([loss[1], spread[1]]),
    )


def _single_blocks(runs: pd.DataFrame) -> list[float]:
    """Sizes of decoders of one block, as far as they are known by name."""
    if "decoder" not in runs.columns:
        return []
    known = [catalogued(str(name)) for name in runs["decoder"].unique()]
    return [float(d.params) for d in known if d is not None and d.shape.layers == 1]


def _seeds_noise(runs: pd.DataFrame) -> float:
    """Standard deviation of ln loss between runs that differ in their seed alone."""
    same = [name for name in (*CELL, *SETTINGS) if name in runs.columns]
    groups = np.log(runs["loss"]).groupby([runs[name] for name in same], dropna=False)
    off = np.log(runs["loss"]) - groups.transform("mean")
    likely, worth = SEEDS_NOISE
    freedom = len(runs) - groups.ngroups
    return math.sqrt((float((off**2).sum()) + worth * likely**2) / (freedom + worth))

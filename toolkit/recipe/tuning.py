"""Settings that were tried: what being off the best ones costs, and where the best ones lie.

Values are taken relative to what a decoder's width or depth says of them (a learning rate to the
toolkit's default, trained blocks to all there are), so that what is found with one decoder holds
for another. The penalty itself is `toolkit.laws.penalty`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from toolkit import decoders
from toolkit.laws import Estimate
from toolkit.laws.optimiser import Array, Mask
from toolkit.laws.penalty import Penalty, Tries, fit_penalty
from toolkit.methods import METHODS, SETTINGS

# Settings that a recipe names: those that every method has, and methods' own.
COMMON = ("lr", "batch_pairs")
NAMED = (*COMMON, *(name for name, setting in SETTINGS.items() if setting.recommended))
WHOLE = ("batch_pairs", "lora_rank", "trained_blocks")
PLACE = ("method", "params", "budget_flop", "unique")
DRAWS = 200


@dataclass(frozen=True)
class Best:
    """The best value of a setting, between those tried.

    Attributes:
        value: With its 95 % interval.
        off_by_two: By how much of itself the loss rises with half or twice that value.
    """

    value: Estimate
    off_by_two: Estimate


@dataclass(frozen=True, eq=False)
class Tuning:
    """The settings of a table's runs, and the penalty fitted to them.

    Attributes:
        methods, names: Methods by number, and the settings that were varied.
        tries: Losses by settings. penalty: None where nothing was varied.
        cells: A row a cell, by its number: method, params, budget_flop, unique, data (of its best
            settings, which what a run costs may depend on), runs (of all its settings).
        related: By setting, whether its values are relative to the decoder's.
    """

    methods: tuple[str, ...]
    names: tuple[str, ...]
    tries: Tries
    penalty: Penalty | None = field(repr=False)
    cells: pd.DataFrame = field(repr=False)
    related: dict[str, bool]

    @classmethod
    def of(
        cls, runs: pd.DataFrame, data: str, chance: float, noise: float, draws: int = DRAWS
    ) -> Tuning:
        """Sort runs by their settings, and fit the penalty where something was varied.

        Args:
            runs: Columns of `PLACE`, loss, `data`; for every value of the settings in `NAMED` the
                best of all other settings.
            chance: ln K; NaN where it is unknown. noise: Of ln loss between seeds.
        """
        methods = tuple(sorted(runs["method"].unique()))
        names = tuple(n for n in NAMED if n in runs.columns and runs[n].notna().any())
        logs, related = _logarithms(runs, names)
        same = [*PLACE, *names]
        groups = logs.groupby(same, dropna=False)
        mean = groups.agg(loss=("loss", "mean"), runs=("loss", "size"), data=(data, "mean"))
        mean = mean.reset_index()
        cell = np.asarray(mean.groupby(list(PLACE)).ngroup(), np.int64)
        tries = Tries(
            cell.astype(int),
            np.array([methods.index(m) for m in mean["method"]], int),
            np.log(mean["budget_flop"].to_numpy(float)),
            np.log(mean["params"].to_numpy(float)),
            _varied(mean, names),
            np.log(mean["loss"].to_numpy(float)),
            mean["runs"].to_numpy(float),
            chance,
            noise,
        )
        places = mean.groupby(list(PLACE))
        cells = mean.loc[places["loss"].idxmin(), [*PLACE, "data"]].reset_index(drop=True)
        cells["runs"] = places["runs"].sum().to_numpy()
        tuned = bool(names) and bool((tries.varied > 1).any())
        penalty = fit_penalty(tries, draws=draws) if tuned else None
        return cls(methods, names, tries, penalty, cells, related)

    def levels(self) -> tuple[Array, Array]:
        """(2, cells) ln loss with the best settings, and with those that a recipe names; errors.

        No fitted level is surer than one run is of its seed. Cells of limited data keep the best of
        what they tried: theirs is another optimum, which the penalty does not know.
        """
        tries = self.tries
        rows = [np.flatnonzero(tries.cell == k) for k in range(len(self.cells))]
        best = [mine[tries.log_loss[mine].argmin()] for mine in rows]
        tried = tries.log_loss[best], tries.noise / np.sqrt(tries.runs[best])
        if self.penalty is None:
            return np.stack([tried[0]] * 2), np.stack([tried[1]] * 2)
        level, spread = self.penalty.levels()
        plenty = (self.cells["unique"] == self.cells["unique"].max()).to_numpy()
        spread = np.maximum(spread, tries.noise)
        return np.where(plenty, level, tried[0]), np.where(plenty, spread, tried[1])

    @cached_property
    def _told(self) -> Mask:
        return self.tries.told

    def told(self, method: str, name: str) -> bool:
        """Whether the runs tell where a method's best value lies: three values at two places."""
        if self.penalty is None or name not in self.names or method not in self.methods:
            return False
        return bool(self._told[self.methods.index(method), self.names.index(name)])

    def best(
        self, method: str, name: str, budget_flop: float, params: float, decoder: str, loss: float
    ) -> Best | None:
        """A setting's best value for a budget and a decoder, whose loss is about `loss`.

        None where the runs do not tell it, or it is relative to a decoder that is not known.
        """
        unit = _unit(name, method, decoder) if self.related.get(name) else 1.0
        if not self.told(method, name) or self.penalty is None or math.isnan(unit):
            return None
        number, place = self.methods.index(method), self.names.index(name)
        where = (number, math.log(budget_flop), math.log(params))
        best = self.penalty.optimum(*where)
        logs = best[:, place] + math.log(unit)
        ends = np.quantile(logs, (0.5, 0.025, 0.975))
        value, low, high = (_allowed(name, math.exp(z), decoder) for z in ends)
        rise = np.quantile(self.penalty.rise(place, math.log(2), loss), (0.5, 0.025, 0.975))
        return Best(
            Estimate(value, low, high),
            Estimate(float(rise[0]), float(rise[1]), float(rise[2])),
        )


def _logarithms(runs: pd.DataFrame, names: tuple[str, ...]) -> tuple[pd.DataFrame, dict[str, bool]]:
    """Runs with the logarithms of their settings, relative to their decoders' where these are
    all known."""
    related: dict[str, bool] = {}
    for name in names:
        values = pd.to_numeric(runs[name], errors="coerce").where(lambda v: v > 0)
        keys = list(zip(runs["method"], runs.get("decoder", [""] * len(runs)), strict=True))
        each = {key: _unit(name, *key) for key in set(keys)}
        units = np.array([each[key] for key in keys])
        related[name] = bool(np.isfinite(units[values.notna().to_numpy()]).all())
        runs = runs.assign(**{name: np.log(values / (units if related[name] else 1.0)).round(9)})
    return runs, related


def _varied(mean: pd.DataFrame, names: tuple[str, ...]) -> Array:
    """(n, S) settings; NaN for a method that had one value of it in each cell."""
    values = mean[list(names)].to_numpy(float, copy=True)
    for k, name in enumerate(names):
        most = mean.groupby(list(PLACE))[name].nunique().groupby(level="method").max()
        values[mean["method"].map(most).to_numpy() < 2, k] = np.nan
    return values


def _unit(name: str, method: str, decoder: str) -> float:
    """What a decoder says of a setting; NaN where it is not known."""
    if name not in ("lr", "trained_blocks"):
        return 1.0
    known = decoders.catalogued(str(decoder))
    if known is None or method not in METHODS:
        return math.nan
    return float(METHODS[method].learning_rate(known) if name == "lr" else known.shape.layers)


def _allowed(name: str, value: float, decoder: str) -> float:
    """The nearest value that a run can have."""
    known = decoders.catalogued(decoder)
    if known is not None:
        most = {"lora_rank": known.shape.hidden, "trained_blocks": known.shape.layers}
        value = min(value, most.get(name, math.inf))
    return float(max(1, round(value))) if name in WHOLE else value

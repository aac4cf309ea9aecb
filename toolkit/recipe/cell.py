"""What the values of one setting came to at one size and budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from toolkit.recipe.comparable import SETTINGS
from toolkit.text import count

P = TypeVar("P", bound=Any)  # Of a place: it has a budget_flop and params.


@dataclass(frozen=True)
class Cell:
    """One method at one size and budget, by the value of one of its settings.

    Attributes:
        budget_flop, params: Where. decoder: Its name, empty if the table does not tell.
        values: Tried, ascending.
        losses: Of each: seeds averaged, the other settings at their best.
        runs: That each loss is the mean of.
    """

    budget_flop: float
    params: float
    decoder: str
    values: tuple[Any, ...]
    losses: tuple[float, ...]
    runs: tuple[int, ...]

    @property
    def best(self) -> tuple[Any, float]:
        """The value with the least loss, and that loss."""
        return min(zip(self.values, self.losses, strict=True), key=lambda tried: tried[1])

    @property
    def where(self) -> str:
        """The decoder, or its size where the table does not name it."""
        return self.decoder or f"{count(self.params)} parameters"


def cells_of(runs: pd.DataFrame, name: str) -> tuple[Cell, ...]:
    """The cells of one setting, by size and budget."""
    place = ["params", "budget_flop"]
    runs = runs.dropna(subset=[name])
    others = [other for other in SETTINGS if other != name and other in runs.columns]
    groups = runs.groupby([*place, name, *others], dropna=False)["loss"]
    attempts = groups.agg(loss="mean", runs="size").reset_index()
    best = attempts.sort_values("loss", kind="stable").drop_duplicates([*place, name])
    decoders = dict(zip(runs["params"], runs.get("decoder", [""] * len(runs)), strict=True))
    return tuple(
        Cell(
            float(some["budget_flop"].iloc[0]),
            float(some["params"].iloc[0]),
            str(decoders[some["params"].iloc[0]]),
            tuple(some[name]),
            tuple(map(float, some["loss"])),
            tuple(map(int, some["runs"])),
        )
        for _, some in best.sort_values(name).groupby(place)
    )


def nearest(places: Sequence[P], budget_flop: float, params: float) -> P:
    """Of places with a budget and a size the one that is nearest, in logs."""

    def distance(place: P) -> float:
        budgets, sizes = place.budget_flop / budget_flop, place.params / params
        return math.hypot(math.log(budgets), math.log(sizes))

    return min(places, key=distance)

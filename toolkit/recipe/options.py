"""What a run is told besides amounts: attention, prefixes, negatives, pooling, a schedule, …

These are all fields of RunConfig that a recipe does not seek the best amount of. Where runs at one
size and budget differ in such an option, the value of the best of them is the recipe's, since the
law stands on that run; where they agree, so does the recipe.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from toolkit.choices import nested_dimensions
from toolkit.decoders import catalogued
from toolkit.errors import ToolkitError
from toolkit.kept import kept
from toolkit.recipe.cell import Cell, cells_of, nearest
from toolkit.recipe.comparable import COMPARABLE, SETTINGS
from toolkit.recipe.study import Study
from toolkit.recipe.tuning import NAMED
from toolkit.runs import RunConfig
from toolkit.values import convert, field_types

VARIED = tuple(name for name in SETTINGS if name not in NAMED)
# Not what says how the table's own pairs were read: a recipe may be for others.
PAIRS = ("data", "query_column", "positive_column", "skip_bad", "without", "fingerprint")
AGREED = tuple(name for name in COMPARABLE if name not in PAIRS)
DEFAULTS = {f.name: f.default for f in fields(RunConfig)}
SURE = 2.0  # Standard deviations of the difference between seeds.


@dataclass(frozen=True)
class Option:
    """A field of RunConfig and the value that the recipe has for it.

    Attributes:
        name, value: As of RunConfig, in plain JSON types.
        beaten: Other values tried at the nearest size and budget, best first; empty where all runs
            there agree on one that is not the default.
        gain: By which share of it the loss lies below that of the first of those; NaN without.
        runs: The fewer of the runs that the two losses are means of; 0 without.
        sure: Whether the gain is more than seeds scatter (two standard deviations).
        decoder, budget_flop: Where that was.
    """

    name: str
    value: Any
    beaten: tuple[Any, ...]
    gain: float
    runs: int
    sure: bool
    decoder: str
    budget_flop: float


def choose_options(
    study: Study, method: str, budget_flop: float, params: float
) -> tuple[Option, ...]:
    """Options that were varied with the method, and those that differ from the default.

    Each is read where it was varied nearest to the budget and size, in logs. Of every value the
    best of all other settings counts, seeds averaged.
    """
    found = []
    for name, cells in _cells(study, method).items():
        varied = [cell for cell in cells if len(cell.values) > 1]
        here = nearest(varied or cells, budget_flop, params)
        if varied:
            found.append(_winner(name, here, study.surface.cells.noise))
        elif here.values[0] != _text(name, DEFAULTS[name]):
            value = json.loads(here.values[0])
            found.append(
                Option(name, value, (), math.nan, 0, False, here.decoder, here.budget_flop)
            )
    return tuple(found)


def _winner(name: str, cell: Cell, noise: float) -> Option:
    tried = zip(cell.losses, cell.values, cell.runs, strict=True)
    losses, values, runs = zip(*sorted(tried), strict=True)
    scatter = noise * math.sqrt(1 / runs[0] + 1 / runs[1])
    first, *others = map(json.loads, values)
    return Option(
        name,
        first,
        tuple(others),
        1 - losses[0] / losses[1],
        min(runs[:2]),
        math.log(losses[1] / losses[0]) > SURE * scatter,
        cell.decoder,
        cell.budget_flop,
    )


def winners(study: Study) -> tuple[tuple[str, str, Any, int, int], ...]:
    """Method, option, the value that did best at most sizes and budgets where several were tried,
    at how many, and of how many."""
    found = []
    for method in study.methods:
        for name, cells in _cells(study, method).items():
            varied = [cell for cell in cells if len(cell.values) > 1]
            wins = Counter(min(zip(c.losses, c.values, strict=True))[1] for c in varied)
            for value, count in wins.most_common(1):
                found.append((method, name, json.loads(value), count, wins.total()))
    return tuple(found)


@kept(64)
def _cells(study: Study, method: str) -> dict[str, tuple[Cell, ...]]:
    """Of each option the cells, its values as JSON text."""
    runs = study.runs[study.runs["method"] == method]
    names = [name for name in (*VARIED, *AGREED) if name in runs.columns]
    runs = runs.assign(**{name: [_text(name, v) for v in runs[name]] for name in names})
    return {name: cells_of(runs, name) for name in names}


def _text(name: str, value: Any) -> str:
    """A table's value as JSON, the field's default where it is missing."""
    several = isinstance(value, (list, tuple))
    if not several and pd.isna(value):
        value = DEFAULTS[name]
    if hasattr(value, "item"):
        value = value.item()
    kinds = field_types(RunConfig)[name]
    try:
        if isinstance(value, str) and str not in kinds:
            value = json.loads(value)
        value = convert(name, value, kinds)
    except (ToolkitError, ValueError):
        pass  # A table from elsewhere may have a value that no run here can have.
    return json.dumps(value, default=str)


def fitting(values: dict[str, Any], options: Sequence[Option]) -> dict[str, Any]:
    """A run's values with those options that go with them.

    Options that were read at different sizes and budgets need not go together (a margin for
    negatives where none are used): one that does not fit those before it is left out.
    """
    for option in options:
        wider = {**values, option.name: option.value}
        try:
            config = RunConfig.from_dict(wider)
            known = catalogued(config.decoder)
            if known is not None:
                nested_dimensions(config, known.shape.hidden)
        except ToolkitError:
            continue
        values = wider
    return values

"""What seeing the same pairs again costs: equal budgets on fewer and fewer distinct pairs.

Muennighoff et al. 2023 (arXiv:2305.16264) found that repeated data are worth less and less: after
R_D* repeats the value of one more has fallen to 1/e of a fresh one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.recipe.comparable import SETTINGS
from toolkit.recipe.study import Study

_SAME = ("method", "decoder", "params", "budget_flop", *SETTINGS)


@dataclass(frozen=True)
class Repeats:
    """One configuration on fewer and fewer distinct pairs.

    Attributes:
        method, decoder, params, budget_flop: Which.
        distinct: Distinct pairs, ascending.
        epochs: How often each was seen on average.
        losses: Held-out, seeds averaged.
    """

    method: str
    decoder: str
    params: float
    budget_flop: float
    distinct: tuple[float, ...]
    epochs: tuple[float, ...]
    losses: tuple[float, ...]


def repeats(study: Study) -> tuple[Repeats, ...]:
    """Every configuration of a study that was run on several numbers of distinct pairs.

    Empty where none was, or where the table does not tell the pairs.
    """
    runs = pd.concat([study.runs, study.limited])
    if study.limited.empty or not {"pairs", "unique_pairs"} <= set(runs.columns):
        return ()
    same = [name for name in _SAME if name in runs.columns]
    found = []
    for _, some in runs.groupby(same, dropna=False):
        mean = some.groupby("unique_pairs")[["pairs", "loss"]].mean()
        if len(mean) < 2:
            continue
        first = some.iloc[0]
        found.append(
            Repeats(
                str(first["method"]),
                str(first.get("decoder", "")),
                float(first["params"]),
                float(first["budget_flop"]),
                tuple(map(float, mean.index)),
                tuple(map(float, mean["pairs"] / mean.index)),
                tuple(map(float, mean["loss"])),
            )
        )
    places = {method: place for place, method in enumerate(study.methods)}
    found.sort(key=lambda each: (places[each.method], each.params, each.budget_flop))
    return tuple(found)


def with_unique_tokens(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs with `unique_tokens`: the distinct pairs' share of the tokens that were seen.

    Raises:
        ToolkitError: The table does not tell tokens and pairs.
    """
    lacking = {"tokens", "pairs", "unique_pairs"} - set(runs.columns)
    if lacking:
        raise ToolkitError(
            f"the table has no column {sorted(lacking)[0]!r}, so repeats are unknown"
        )
    distinct = (runs["unique_pairs"] / runs["pairs"]).clip(upper=1.0) * runs["tokens"]
    return runs.assign(unique_tokens=distinct)

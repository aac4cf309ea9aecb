"""A first study for a person's own pairs: which runs a stated share of a budget is spent on.

Three budgets half a decade apart, both methods that are worth a first look (full fine-tuning and
LoRA) at every decoder and budget, and at the lowest one, with the middle decoder, half and twice
the default rate. Their sum is the share, or less where a small budget does not buy enough steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from toolkit import decoders
from toolkit.errors import ToolkitError
from toolkit.methods import METHODS
from toolkit.runs import RunConfig
from toolkit.sweep.plan import cost

FRACTIONS = (0.1, math.sqrt(0.1), 1.0)  # Of the largest budget of the study.
METHODS_TRIED = ("full", "lora")
_FEWEST_STEPS = 20


@dataclass(frozen=True)
class Proposal:
    """A study.

    Attributes:
        grid: Of its `sweep.yaml`. flop: Of all its runs. largest: Budget of its largest runs.
    """

    grid: tuple[dict[str, Any], ...]
    flop: float
    largest: float


def sizes(names: list[str]) -> list[str]:
    """The decoders of a study: those named, or, of a single one, its first half and quarter too.

    A law of sizes needs several; a decoder cut after some of its blocks is one.
    """
    names = list(dict.fromkeys(names))
    if len(names) > 1:
        return sorted(names, key=lambda name: decoders.find(name).params)
    (name,) = names
    layers = decoders.find(name).shape.layers
    if "@" in name or layers < 3:
        return names
    cuts = sorted({max(1, layers // 4), max(1, layers // 2)})
    return [*(f"{name}@{blocks}" for blocks in cuts), name]


def propose(names: list[str], base: dict[str, Any], *, flop: float, share: float) -> Proposal:
    """A study of these decoders.

    Args:
        names: From `sizes`. base: What all runs have in common.
        flop: The budget that the recipe is wanted for. share: Of it, for the study.

    Raises:
        ToolkitError: The share does not buy enough steps of the smallest decoder at two budgets.
    """
    runs = len(names) * len(METHODS_TRIED)
    largest = float(
        f"{share * flop / (sum(FRACTIONS) * runs + 2 * FRACTIONS[0] * len(METHODS_TRIED)):.2g}"
    )
    able = {}
    for fraction in FRACTIONS:
        budget = float(f"{largest * fraction:.2g}")
        enough = [name for name in names if _steps(name, budget, base) >= _FEWEST_STEPS]
        if enough:
            able[budget] = enough
    if len(able) < 2:
        steps = max(_steps(name, largest * FRACTIONS[1], base) for name in names)
        needed = flop * _FEWEST_STEPS / steps if steps else 100 * flop
        raise ToolkitError(
            f"{share:.0%} of {flop:.3g} FLOP is too little for a study of {', '.join(names)}: only "
            f"runs of {_FEWEST_STEPS} steps at two budgets tell something; give --flop "
            f"{1.1 * needed:.2g} or more, a larger --share, or smaller decoders"
        )
    grid = [
        {"method": list(METHODS_TRIED), "decoder": enough, "budget_flop": budget}
        for budget, enough in able.items()
    ]
    lowest, enough = next(iter(able.items()))
    middle = enough[len(enough) // 2]
    for method in METHODS_TRIED:
        rate = METHODS[method].learning_rate(decoders.find(middle))
        tried = [float(f"{rate * factor:.2g}") for factor in (0.5, 2.0)]
        grid.append({"method": method, "decoder": middle, "budget_flop": lowest, "lr": tried})
    spent = sum(budget * len(enough) * len(METHODS_TRIED) for budget, enough in able.items())
    return Proposal(tuple(grid), spent + 2 * lowest * len(METHODS_TRIED), max(able))


def _steps(name: str, budget: float, base: dict[str, Any]) -> float:
    try:
        return cost(RunConfig.from_dict({**base, "decoder": name, "budget_flop": budget})).steps
    except ToolkitError:  # under one step
        return 0.0

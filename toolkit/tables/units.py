"""Whether a table's columns can be in the units that ours are in: FLOP, parameters, tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from toolkit.text import scientific

Floats = NDArray[np.float64]
FLOP_PER_PARAM_TOKEN = 6.0
FAR = 2.0  # Powers of ten; attention, frozen weights and experts stay within.
NEAR = 1.3
LEAST = {"params": 1e3, "tokens": 1e3, "budget_flop": 1e6}  # No study has only less.
PLURALS = {"params": "parameters", "tokens": "tokens", "budget_flop": "FLOP"}
NAMES = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
USUAL: tuple[dict[str, float], ...] = (
    {"params": 1e6, "tokens": 1e9},
    {"params": 1e9, "tokens": 1e9},
    {"params": 1e6, "tokens": 1e6},
    {"params": 1e9, "tokens": 1e12},
    {"params": 1e6},
    {"tokens": 1e9},
    {"tokens": 1e6},
    {"params": 1e9},
    {"params": 1e3},
    {"tokens": 1e3},
    {"tokens": 1e12},
    *({"budget_flop": 10.0**power} for power in (12, 15, 18, 21, 9)),
    *({"params": 1e6, "tokens": 1e9, "budget_flop": 10.0**power} for power in (12, 15, 18, 21)),
    *({"params": 1e9, "tokens": 1e9, "budget_flop": 10.0**power} for power in (12, 15, 18, 21)),
    *({"params": 1e6, "budget_flop": 10.0**power} for power in (12, 15, 18, 21)),
    *({"tokens": 1e9, "budget_flop": 10.0**power} for power in (12, 15, 18, 21)),
)


def doubt(columns: Mapping[str, NDArray[np.float64]], names: Mapping[str, str]) -> str:
    """A sentence where columns can hardly be in parameters, tokens and FLOP; empty if they can.

    Training takes about 6 FLOP a parameter and token (Kaplan et al. 2020, arXiv:2001.08361, eq.
    2.2), 4 or 2 where weights are frozen: a table that is out by more than a factor of 100 counts
    in other units. Which ones is guessed from those that people use; nothing is changed.

    Args:
        columns: By `params`, `tokens` and `budget_flop`, as far as there are, (n,) numbers.
        names: What the table calls them.
    """
    middle = {}
    for role, values in columns.items():
        usable = values[np.isfinite(values) & (values > 0)]
        if usable.size:
            middle[role] = float(np.median(usable))
    if len(middle) < len(LEAST):
        return _too_small(middle, names)
    params, tokens, budget = (columns[role] for role in LEAST)
    with np.errstate(all="ignore"):
        ratios = FLOP_PER_PARAM_TOKEN * params * tokens / budget
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    if not ratios.size:
        return ""
    off = float(np.log10(np.median(ratios)))
    if abs(off) <= FAR:
        return _too_small(middle, names)
    told = (
        f"6 {names['params']} {names['tokens']} is {scientific(10**off, 1)} of "
        f"{names['budget_flop']}, where a table in parameters, tokens and FLOP has about 1"
    )
    units = _likely(off, middle)
    return f"{told}: {_option(units, names)}" if units else f"{told}: name the units with --unit"


def _likely(off: float, middle: Mapping[str, float]) -> dict[str, float]:
    """The units in use that would bring 6 N D to the budget and leave sensible columns."""
    for units in USUAL:
        change = sum(
            math.log10(unit) * (-1 if role == "budget_flop" else 1) for role, unit in units.items()
        )
        sensible = all(middle[role] * units.get(role, 1.0) >= LEAST[role] for role in LEAST)
        # Nobody writes millions of millions.
        sensible &= all(middle[role] < max(1e6, 1e12 / unit) for role, unit in units.items())
        if abs(off + change) < NEAR and sensible:
            return units
    return {}


def _too_small(middle: Mapping[str, float], names: Mapping[str, str]) -> str:
    """The sentence where a column on its own is too small to be a count."""
    small = [role for role in LEAST if role in middle and middle[role] < LEAST[role] / 10]
    if not small:
        return ""
    guess = {"params": 1e6, "tokens": 1e9, "budget_flop": 1e18}
    said = " and ".join(f"{names[role]} {middle[role]:.3g}" for role in small)
    units = {role: guess[role] for role in small}
    return f"in the middle row are {said}, very little for a count: {_option(units, names)}"


def _option(units: Mapping[str, float], names: Mapping[str, str]) -> str:
    what = " and ".join(
        f"{PLURALS[role]} in {NAMES.get(unit, scientific(unit))}" for role, unit in units.items()
    )
    said = ",".join(f"{names[role]}=1e{round(math.log10(unit))}" for role, unit in units.items())
    return f"{what}? then say --unit {said}"

"""Chance: over K candidates a model that has learnt nothing has a loss of ln K."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.laws.table import Checked

USUAL = "candidates"  # The column that tells K.
NEAR = 0.01  # Where the least loss is nearer to chance than this share of it, none has learnt.


def chance(table: pd.DataFrame) -> float:
    """ln K over the K candidates of a table's losses; NaN where the table does not tell K.

    A table whose loss is another has a column `chance`, what an encoder comes to that knows
    nothing. Of several K the largest counts.
    """
    if "chance" in table.columns:
        return float(table["chance"].iloc[0])
    if USUAL not in table.columns:
        return math.nan
    most = pd.to_numeric(table[USUAL], errors="coerce").max()
    return math.log(most) if most > 0 else math.nan


def number(table: pd.DataFrame, given: str | None = None) -> float | None:
    """Over how many candidates the losses were taken, where a table or a text tells one number."""
    name = given or USUAL
    told = pd.to_numeric(table[name] if name in table.columns else [name], errors="coerce")
    seen = np.unique(told[~np.isnan(told)])
    return float(seen[0]) if len(seen) == 1 and seen[0] > 1 else None


def candidates(table: pd.DataFrame, given: str | None) -> str | float:
    """The column that tells how many candidates there were, or their number.

    Args:
        table: The runs.
        given: The column's name, or the number; None for the usual column.

    Raises:
        ToolkitError: The table has no such column, and it is no number of candidates.
    """
    name = given or USUAL
    if name in table.columns:
        return name
    try:
        number = float(name)
    except ValueError:
        raise ToolkitError(
            f"chance must be known and the table has no column {name!r}, over how many candidates "
            "the loss was taken: add it, or give the number as --candidates 1024"
        ) from None
    return _proper(number, "--candidates")


def ceiling(checked: Checked, told: str | float) -> float:
    """ln K, of checked rows with the role `candidates`, or of the number.

    Raises:
        ToolkitError: The rows have several numbers, or one below two.
    """
    if not isinstance(told, str):
        return math.log(told)
    seen = np.unique(checked.columns[USUAL])
    if len(seen) > 1:
        listed = ", ".join(f"{k:g}" for k in seen[:5]) + (", ..." if len(seen) > 5 else "")
        one = f"--keep {told}={seen[-1]:g}:{seen[-1]:g}"
        raise ToolkitError(
            f"column {told!r} has several values ({listed}): losses over different numbers of "
            f"candidates have different chance; keep one, as {one}"
        )
    return math.log(_proper(float(seen[0]), f"column {told!r}"))


def below(table: pd.DataFrame, checked: Checked, limit: float) -> Checked:
    """The rows whose loss is below chance; a run that memorised or diverged tells no law.

    Raises:
        ToolkitError: Nothing was learnt in any run.
    """
    loss = checked.columns["loss"]
    chance = f"chance, ln {math.exp(limit):.6g} = {limit:.4g}"
    if loss.min() > (1 - NEAR) * limit:
        raise ToolkitError(
            f"all {len(loss)} runs are at {chance}, or above it (the least loss is "
            f"{loss.min():.4g}): nothing was learnt that a law could tell"
        )
    reason = f"loss is not below {chance}: memorised or diverged"
    return checked.without(table, loss >= limit, reason)


def _proper(number: float, where: str) -> float:
    if not 2 <= number < math.inf:
        raise ToolkitError(f"a loss is taken over two candidates or more; {where} has {number:g}")
    return number

"""A number with its interval, and results as plain JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from toolkit.laws.optimiser import Array

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval.

    Attributes:
        value: The estimate.
        low, high: Of the interval; NaN where there is none (no resamples, no residual), and
            infinite where the data leaves that side open.
        extrapolated: Whether it lies outside the budgets that were fitted.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    extrapolated: bool = False

    @classmethod
    def of(cls, value: Any, draws: Array, freedom: int, extrapolated: Any = False) -> Estimate:
        """A value, or the one value of an array, with the `interval` of its resamples (R,)."""
        low, high = interval(draws, freedom)
        return cls(np.asarray(value, float).item(), low, high, bool(extrapolated))

    @property
    def ends(self) -> dict[str, float]:
        """Value, low and high by name, as reports tell them."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @property
    def is_told(self) -> bool:
        """Whether a best size or amount lies, with its interval, within all that was searched."""
        return self.low > 0 and math.isfinite(self.high)


UNKNOWN = Estimate(math.nan)


def interval(draws: Array, freedom: int, level: float = LEVEL) -> tuple[float, float]:
    """The expanded percentile interval of resampled values (R,); NaN draws are left out.

    Plain percentiles are too narrow for few points: they put the normal quantile where Student's
    belongs. The expanded ones are read at the levels that the t quantile with `freedom` degrees
    corresponds to (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3).
    """
    draws = draws[~np.isnan(draws)]
    if freedom < 1 or draws.size < 2:
        return math.nan, math.nan
    tail = float(ndtr(stdtrit(freedom, (1 - level) / 2)))
    # Between finite and infinite draws there is nothing to interpolate.
    levels = np.array([tail, 1 - tail])
    if np.isfinite(draws).all():
        low, high = np.quantile(draws, levels, method="median_unbiased")
    else:
        low, high = np.quantile(draws, levels, method="inverted_cdf")
    return float(low), float(high)


def as_json(value: Any, *, draws: bool = False) -> Any:
    """Dataclasses, arrays and mappings as plain JSON types at full precision.

    Numbers that are not finite become None. Resamples (`draws` fields) are left out unless asked.
    """
    if is_dataclass(value) and not isinstance(value, type):
        kept = [f.name for f in fields(value) if draws or f.name != "draws"]
        return {name: as_json(getattr(value, name), draws=draws) for name in kept}
    if isinstance(value, dict):
        return {str(key): as_json(v, draws=draws) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist(), draws=draws)
    if isinstance(value, (list, tuple)):
        return [as_json(v, draws=draws) for v in value]
    if isinstance(value, np.generic):
        return as_json(value.item(), draws=draws)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

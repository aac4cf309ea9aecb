"""What a budget buys: pairs by method and decoder, as the runs of a table paid for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd

from toolkit import decoders, flops, methods
from toolkit.errors import ToolkitError
from toolkit.flops import CONVENTIONS
from toolkit.laws.optimiser import Array
from toolkit.methods import METHODS
from toolkit.runs import RunConfig

QUERY_SHARE = 0.2  # Of a pair's tokens; it matters for attention alone.
BATCH = 32  # Pairs a step; it matters for the loss's own few products.


@dataclass(frozen=True, eq=False)
class Costs:
    """FLOP of a unit of data (a pair, or a token) by method and size.

    Attributes:
        tried: By method, ln parameters (ascending) and ln FLOP a unit of the decoders tried.
        counted: By method, the same for decoders that the toolkit can count, at the table's tokens
            a pair; the tried ones among them calibrate it.
        paid: By method, ln parameters (ascending) of the decoders tried that can be counted, and ln
            of what their runs paid over what is counted for their settings.
        tokens_per_pair, convention: Of the table; tokens may be NaN.
    """

    tried: Mapping[str, tuple[Array, Array]]
    counted: Mapping[str, tuple[Array, Array]]
    paid: Mapping[str, tuple[Array, Array]]
    tokens_per_pair: float
    convention: str

    @classmethod
    def of(cls, runs: pd.DataFrame, data: str, tokens_per_pair: float, convention: str) -> Costs:
        """From the budgets of each cell's best runs, and how much `data` (a column) they bought."""
        tried, counted, paid = {}, {}, {}
        for method, rows in runs.groupby("method"):
            name, cost = str(method), rows["budget_flop"] / rows[data]
            each = cost.groupby(rows["params"]).median()
            tried[name] = tuple(np.log(v.to_numpy(float)) for v in (each.index, each))
            counted[name] = _counted(name, tokens_per_pair, convention)
            paid[name] = _paid(rows.assign(cost=cost), name, tokens_per_pair, convention)
        return cls(tried, counted, paid, tokens_per_pair, convention)

    def flop(self, method: str, params: Array) -> Array:
        """(q,) FLOP a unit of data for decoders of `params` (q,) parameters.

        As counted by `toolkit.flops`, scaled so that the runs' own decoders cost what they did.
        """
        z = np.log(np.asarray(params, float))
        at, cost = self.tried[method]
        sizes, guide = self.counted[method]
        if len(sizes) == 0:
            slope = float(np.polyfit(at, cost, 1)[0]) if len(at) > 1 else 1.0
            sizes, guide = at[[0, -1]], at[[0, -1]] * slope
        ratio = cost - _line(at, sizes, guide)
        return np.exp(_line(z, sizes, guide) + np.interp(z, at, ratio))

    def of_run(self, method: str, decoder: str, settings: Mapping[str, float]) -> float:
        """FLOP a unit of data of a run of a decoder by name, with a method's own settings.

        `flop` is smooth in the size; a run trains a whole number of blocks. NaN where the toolkit
        cannot count it, or could count none of the runs that tell what was paid.
        """
        known = decoders.catalogued(decoder)
        at, ratio = self.paid[method]
        if known is None or len(at) == 0:
            return math.nan
        cost = flop_per_pair(
            known.shape, decoder, method, self.tokens_per_pair, self.convention, settings
        )
        scale = float(np.exp(np.interp(math.log(known.params), at, ratio)))
        return cost * scale or math.nan

    def data(self, method: str, params: Array, budget_flop: float) -> Array:
        """(q,) units of data that a budget buys."""
        return budget_flop / self.flop(method, params)


def _line(z: Array, at: Array, value: Array) -> Array:
    """Linear between points, and beyond them along the outermost piece."""
    inside = np.interp(z, at, value)
    if at[0] == at[-1]:
        return value[0] + (z - at[0])
    slopes = np.diff(value) / np.diff(at)
    low, high = np.minimum(z - at[0], 0), np.maximum(z - at[-1], 0)
    return inside + low * slopes[0] + high * slopes[-1]


def _paid(rows: pd.DataFrame, method: str, tokens: float, convention: str) -> tuple[Array, Array]:
    """ln parameters and ln of paid over counted, of decoders in rows with their `cost`."""
    if not _countable(method, tokens, convention) or "decoder" not in rows.columns:
        return np.empty(0), np.empty(0)
    own = [s.name for s in METHODS[method].settings if s.recommended and s.name in rows.columns]
    found: dict[int, list[float]] = {}
    for (name, *values), cost in rows.groupby(["decoder", *own], dropna=False)["cost"]:
        known = decoders.catalogued(str(name))
        numbers = pd.to_numeric(pd.Series(values, own), errors="coerce").dropna()
        settings = {str(k): float(v) for k, v in numbers.items()}
        if known is not None:
            each = flop_per_pair(known.shape, known.name, method, tokens, convention, settings)
            found.setdefault(known.params, []).extend(np.log(cost / each) if each else ())
    sizes = sorted(params for params, ratios in found.items() if ratios)
    return np.log(np.array(sizes, float)), np.array([np.median(found[size]) for size in sizes])


def _countable(method: str, tokens: float, convention: str) -> bool:
    return method in METHODS and bool(np.isfinite(tokens)) and convention in CONVENTIONS


def _counted(method: str, tokens: float, convention: str) -> tuple[Array, Array]:
    """ln parameters and ln FLOP a pair of the decoders that the toolkit knows by name."""
    if not _countable(method, tokens, convention):
        return np.empty(0), np.empty(0)
    found = {
        known.params: flop_per_pair(known.shape, name, method, tokens, convention)
        for name, known in decoders.KNOWN.items()
    }
    sizes = sorted(params for params, cost in found.items() if cost > 0)
    return np.log(np.array(sizes, float)), np.log([found[params] for params in sizes])


def flop_per_pair(
    shape: decoders.Shape,
    name: str,
    method: str,
    tokens: float,
    convention: str,
    settings: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """FLOP of one pair of so many tokens; 0 where method and settings do not fit the decoder."""
    values = {"decoder": name, "budget_flop": 1.0, "method": method}
    own = {k: int(v) if float(v).is_integer() else v for k, v in settings.items()}
    try:
        resolved = methods.resolve(RunConfig.from_dict({**values, **own}), shape)
    except ToolkitError:
        return 0.0
    if convention == "paper":
        return float(resolved.paper_flops_per_token(shape) * tokens)
    whole = flops.pass_costs(shape, resolved).whole
    squares = tokens**2 * (QUERY_SHARE**2 + (1 - QUERY_SHARE) ** 2)
    return whole.token * tokens + whole.square * squares + 6 * BATCH * shape.hidden


def encoding_flop(params: Array, tokens_per_pair: float) -> Array:
    """FLOP to embed one text: a forward pass, 2N a token of half a pair."""
    return 2 * np.asarray(params, float) * tokens_per_pair / 2

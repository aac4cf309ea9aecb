"""What a budget buys: pairs by method and decoder, as the runs of a table paid for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    """

    tried: Mapping[str, tuple[Array, Array]]
    counted: Mapping[str, tuple[Array, Array]]

    @classmethod
    def of(cls, runs: pd.DataFrame, data: str, tokens_per_pair: float, convention: str) -> Costs:
        """From the runs' budgets and how much data (column `data`) they bought."""
        tried, counted = {}, {}
        for method, rows in runs.groupby("method"):
            each = (rows["budget_flop"] / rows[data]).groupby(rows["params"]).median()
            tried[str(method)] = tuple(np.log(v.to_numpy(float)) for v in (each.index, each))
            counted[str(method)] = _counted(str(method), tokens_per_pair, convention)
        return cls(tried, counted)

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


def _counted(method: str, tokens: float, convention: str) -> tuple[Array, Array]:
    """ln parameters and ln FLOP a pair of the decoders that the toolkit knows by name."""
    if method not in METHODS or not np.isfinite(tokens) or convention not in CONVENTIONS:
        return np.empty(0), np.empty(0)
    found = {
        known.params: flop_per_pair(known.shape, name, method, tokens, convention)
        for name, known in decoders.KNOWN.items()
    }
    sizes = sorted(params for params, cost in found.items() if cost > 0)
    return np.log(np.array(sizes, float)), np.log([found[params] for params in sizes])


def flop_per_pair(
    shape: decoders.Shape, name: str, method: str, tokens: float, convention: str
) -> float:
    """FLOP of one pair of so many tokens; 0 where the method does not fit the decoder."""
    try:
        resolved = methods.resolve(RunConfig(decoder=name, budget_flop=1, method=method), shape)
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

"""The compute-optimal recipe: four questions, answered for a budget from a table of runs.

How large a model? How much data? Which fine-tuning method? Which hyperparameters? Each answer has
its interval, and says when it reaches beyond what was tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from toolkit import decoders
from toolkit.errors import ToolkitError
from toolkit.laws import Crossover, Estimate, as_json
from toolkit.laws.estimate import interval
from toolkit.recipe.comparable import BEST_SETTING, Excluded, same_budget
from toolkit.recipe.forecast import Forecast, forecast
from toolkit.recipe.settings import Setting, choose_settings
from toolkit.recipe.study import Study
from toolkit.text import count, scientific

NEAR_OPTIMAL = 0.01


@dataclass(frozen=True)
class NamedSize:
    """A decoder that exists: its name, non-embedding parameters, and its expected loss above the
    best size's (NaN where the runs do not tell)."""

    name: str
    params: int
    excess: float


@dataclass(frozen=True)
class Size:
    """How large a model.

    Attributes:
        params: Best number of non-embedding parameters. Its interval is of 95 % for a "law" or a
            "minimum"; for "best-tried" it is what the edge of the sizes tried leaves open.
        source: See `toolkit.recipe.forecast.Forecast`.
        near_optimal: The sizes within 1 % of the best loss, low and high.
        nearest: The nearest decoder that the toolkit knows by name.
        nearest_tried: The nearest one among the method's runs.
        capped: Whether `max_params` decided.
    """

    params: Estimate
    source: str
    near_optimal: tuple[float, float]
    nearest: NamedSize | None
    nearest_tried: NamedSize
    capped: bool


@dataclass(frozen=True)
class Data:
    """How much data.

    Attributes:
        pairs, tokens, steps: To train on, repetitions counted; NaN where the table does not tell.
        tokens_per_pair: Of the method's runs.
        distinct_pairs: Those that there are: `max_pairs`, or what the runs had; NaN if unknown.
        epochs: Pairs over distinct pairs.
    """

    pairs: Estimate
    tokens: Estimate
    steps: Estimate
    tokens_per_pair: float
    distinct_pairs: float
    epochs: float


@dataclass(frozen=True)
class MethodChoice:
    """A method at this budget, beside the best one.

    Attributes:
        method: Its name.
        params, source: Its own best size and where that comes from.
        loss: Expected held-out loss there.
        regret: Loss above the recommended method's; the same resamples give its interval. Zero for
            the recommended method.
        best_share: The share of resamples in which this method is the best; NaN without intervals.
        comparable: False where neither a law nor a run speaks for this budget; then the loss is
            that of the nearest budget tried, and the method is passed over.
        reason: Why it has no law, or no bracketed minimum.
    """

    method: str
    params: Estimate
    source: str
    loss: Estimate
    regret: Estimate
    best_share: float
    comparable: bool
    reason: str


@dataclass(frozen=True)
class Recipe:
    """What to do with a budget.

    Attributes:
        budget_flop, convention: The budget, and how its FLOP are counted.
        max_pairs, max_params: Limits that were asked for.
        method: The recommended one.
        size, data: Of the recommended method.
        methods: All of them, best first.
        settings: Hyperparameters of the recommended method.
        crossovers: At which budgets one method overtakes another.
        budgets: Smallest and largest budget tried with any method.
        n_runs: Runs that the laws stand on; `n_tried`: those that were compared for it.
        warnings: What a reader must know before trusting this; `notes`: how it was made.
        excluded: Runs left out, and why.
    """

    budget_flop: float
    convention: str
    max_pairs: int | None
    max_params: float | None
    method: str
    size: Size
    data: Data
    methods: tuple[MethodChoice, ...]
    settings: tuple[Setting, ...]
    crossovers: tuple[Crossover, ...]
    budgets: tuple[float, float]
    n_runs: int
    n_tried: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    excluded: tuple[Excluded, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what is unknown or infinite is None."""
        values: dict[str, Any] = as_json(self)
        return values


def recommend(
    table: pd.DataFrame,
    *,
    budget_flop: float,
    max_pairs: int | None = None,
    max_params: float | None = None,
    convention: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Recipe:
    """The recipe for a budget, from a run table.

    Per method an IsoFLOP law of its best settings (`toolkit.recipe.study`), then the frontier over
    methods. For many budgets from one table make the `Study` once and call `recommend_from`.

    Args:
        table: A run table (`toolkit.tables.read_table`), or any table with its columns.
        budget_flop: In FLOP, counted as the table's budgets are.
        max_pairs: Distinct pairs at hand; more than that means repeating them.
        max_params: Largest size that may be recommended, non-embedding parameters.
        convention: Use the runs with budgets counted so; by default the most common.
        resamples, seed: Of the bootstrap.

    Raises:
        ToolkitError: The table or an argument is wrong, or `max_params` leaves nothing.
    """
    study = Study.of(table, convention=convention, resamples=resamples, seed=seed)
    return recommend_from(
        study, budget_flop=budget_flop, max_pairs=max_pairs, max_params=max_params
    )


def recommend_from(
    study: Study,
    *,
    budget_flop: float,
    max_pairs: int | None = None,
    max_params: float | None = None,
) -> Recipe:
    """`recommend` from laws that were fitted before: quick enough for a slider."""
    limits = {"budget_flop": budget_flop, "max_pairs": max_pairs, "max_params": max_params}
    for name, value in limits.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ToolkitError(f"{name} must be a positive finite number, not {value}")
    forecasts = {
        method: forecast(method, fit, budget_flop, max_params) for method, fit in study.fits.items()
    }
    possible = [f for f in forecasts.values() if math.isfinite(f.loss.value)]
    if not possible:
        smallest = min(study.best["params"])
        raise ToolkitError(
            f"no decoder with at most {max_params:,.0f} parameters was tried; "
            f"the smallest has {smallest:,.0f}"
        )
    best = min([f for f in possible if f.comparable] or possible, key=lambda f: f.loss.value)
    size = _size(best, study, max_params)
    settings = choose_settings(study, best.method, budget_flop, size.params.value, _decoder(size))
    data = _data(best, study, settings, max_pairs)
    varied = {method: names for method, names in study.varied.items() if names}
    notes = [f"in each law {BEST_SETTING}"] if varied else []
    notes += [
        f"{method}: several values of {' and '.join(v)} were tried" for method, v in varied.items()
    ]
    if best.method in study.rollouts:
        notes.append(f"{best.method}: {study.rollouts[best.method].statement}")
    notes += _about_weights(study)
    return Recipe(
        budget_flop=budget_flop,
        convention=study.convention,
        max_pairs=max_pairs,
        max_params=max_params,
        method=best.method,
        size=size,
        data=data,
        methods=_compare(forecasts.values(), best),
        settings=settings,
        crossovers=study.crossovers,
        budgets=(study.budgets[0], study.budgets[-1]),
        n_runs=len(study.best),
        n_tried=len(study.runs),
        warnings=(*_warnings(best, study, size, data), *study.warnings),
        notes=tuple(notes),
        excluded=study.excluded,
    )


def _about_weights(study: Study) -> list[str]:
    """What to know about the weights of the decoders that were tried, each thing once."""
    names = study.runs["decoder"].astype(str).unique() if "decoder" in study.runs.columns else ()
    known = filter(None, map(decoders.catalogued, names))
    return list(dict.fromkeys(decoder.note for decoder in known if decoder.note))


def _size(best: Forecast, study: Study, max_params: float | None) -> Size:
    tried = study.decoders[best.method]
    known = {name: decoder.params for name, decoder in decoders.KNOWN.items()}
    nearest = _nearest(best, known, max_params)
    nearest_tried = _nearest(best, tried, max_params) or _nearest(best, tried, None)
    assert nearest_tried is not None
    near = best.near_optimal(NEAR_OPTIMAL)
    return Size(best.params, best.source, near, nearest, nearest_tried, best.capped)


def _nearest(best: Forecast, sizes: dict[str, int], cap: float | None) -> NamedSize | None:
    """The decoder with the nearest size by ratio, within the cap."""
    allowed = [name for name in sizes if cap is None or sizes[name] <= cap]
    if not allowed:
        return None
    name = min(allowed, key=lambda n: abs(math.log(sizes[n] / best.params.value)))
    excess = best.excess(sizes[name]) - best.excess(best.params.value)
    return NamedSize(name, sizes[name], excess)


def _decoder(size: Size) -> str:
    return size.nearest.name if size.nearest else size.nearest_tried.name


def _data(
    best: Forecast, study: Study, settings: tuple[Setting, ...], max_pairs: int | None
) -> Data:
    per_pair = study.tokens_per_pair[best.method]
    pairs = _scaled(best.tokens, 1 / per_pair)
    batch = next((s.value for s in settings if s.name == "batch_pairs"), math.nan)
    distinct = study.distinct_pairs[best.method] if max_pairs is None else float(max_pairs)
    steps = _scaled(pairs, 1 / batch)
    return Data(pairs, best.tokens, steps, per_pair, distinct, pairs.value / distinct)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return replace(
        estimate,
        value=estimate.value * factor,
        low=estimate.low * factor,
        high=estimate.high * factor,
    )


def _compare(forecasts: Iterable[Forecast], best: Forecast) -> tuple[MethodChoice, ...]:
    """Each method's loss and regret; the resamples of different methods are paired as they come."""
    forecasts = list(forecasts)
    rivals = [f for f in forecasts if f.comparable and len(f.draws) and f.source != "none"]
    shares: dict[str, float] = {}
    if rivals:
        rows = min(len(f.draws) for f in rivals)
        losses = np.stack([f.draws[:rows] for f in rivals])
        losses = losses[:, np.isfinite(losses).all(axis=0)]
        if losses.size:
            won = np.bincount(losses.argmin(axis=0), minlength=len(rivals)) / losses.shape[1]
            shares = {f.method: float(s) for f, s in zip(rivals, won, strict=True)}
    choices = [
        MethodChoice(
            f.method,
            f.params,
            f.source,
            f.loss,
            _regret(f, best),
            shares.get(f.method, math.nan),
            f.comparable,
            f.reason,
        )
        for f in forecasts
    ]
    last = math.inf
    return tuple(
        sorted(
            choices,
            key=lambda c: (
                c.method != best.method,
                not c.comparable,
                c.loss.value if math.isfinite(c.loss.value) else last,
            ),
        )
    )


def _regret(one: Forecast, best: Forecast) -> Estimate:
    beyond = one.loss.extrapolated or best.loss.extrapolated
    if one is best:
        return Estimate(0.0, 0.0, 0.0, beyond)
    rows = min(len(one.draws), len(best.draws))
    ends = interval(one.draws[:rows] - best.draws[:rows], min(one.freedom, best.freedom))
    return Estimate(one.loss.value - best.loss.value, *ends, beyond)


def _warnings(best: Forecast, study: Study, size: Size, data: Data) -> list[str]:
    """What must be known about this very recommendation; study-wide warnings come on top."""
    fit = study.fits[best.method]
    said = []
    tried = [m.budget_flop for m in fit.minima]
    low, high = min(tried), max(tried)
    for factor, side in ((low / best.budget_flop, "below"), (best.budget_flop / high, "above")):
        if factor > 1.001:
            edge = scientific(low if side == "below" else high)
            said.append(
                f"extrapolation: the budget is {factor:.3g} times {side} the budgets tried with "
                f"{best.method} (up to {edge} FLOP)"
                if side == "above"
                else f"extrapolation: the budget is {factor:.3g} times below the least budget "
                f"tried with {best.method} ({edge} FLOP)"
            )
    if best.source == "best-tried":
        instead = ""
        if fit.params_law.usable:
            law = count(fit.params_law.predict(best.budget_flop).value)
            instead = f" (the law through the other budgets says {law})"
        said.append(
            f"unbracketed: at {scientific(best.nearest.budget_flop)} FLOP {best.reason}; the best "
            f"size tried, {count(best.optimum)}, stands in for the optimum{instead}"
        )
    elif best.source == "minimum":
        said.append(
            f"no law of the size ({best.reason}): it is the minimum at "
            f"{scientific(best.nearest.budget_flop)} FLOP"
        )
    sizes = [s for m in fit.minima for s in m.parabola.sizes]
    if best.source == "law" and not min(sizes) <= best.params.value <= max(sizes):
        said.append(
            f"the size lies outside those tried with {best.method} "
            f"({count(min(sizes))} to {count(max(sizes))})"
        )
    said += _did_better(best, study, size)
    if not best.comparable:
        said.append("no law of the loss: they are those at the nearest budget tried")
    if size.capped:
        said.append(
            f"held to {count(best.params.value)} parameters; without the cap {count(best.optimum)} "
            f"would be best, {best.excess(best.params.value):.3g} lower in loss"
        )
    if data.epochs > 1.001:
        said.append(
            f"{count(data.pairs.value)} pairs are {count(data.epochs)} times the "
            f"{count(data.distinct_pairs)} distinct ones: the laws do not know what repeating "
            "beyond what the runs did costs"
        )
    elif math.isnan(data.tokens.value):
        said.append("the table has no tokens, so the amount of data is not known")
    said += [f"{best.method}: {warning}" for warning in fit.warnings]
    return said


def _did_better(best: Forecast, study: Study, size: Size) -> list[str]:
    """What runs at this very budget say against the decoder that the curve through them chose."""
    there = study.best[same_budget(study.best["budget_flop"], best.budget_flop)]
    if size.capped:
        there = there[there["params"] <= best.params.value]
    if there.empty:  # As at most budgets that a slider passes.
        return []
    runs = there.groupby(["method", "params"])["loss"].mean().reset_index().sort_values("loss")
    mine = (runs["method"] == best.method) & (runs["params"] == size.nearest_tried.params)
    if not mine.any() or runs["loss"].iloc[0] >= (1 - NEAR_OPTIMAL) * runs[mine]["loss"].iloc[0]:
        return []
    first, chosen = runs.iloc[0], runs[mine].iloc[0]
    names = {params: name for name, params in study.decoders[first["method"]].items()}
    name = names.get(first["params"], count(first["params"]))
    return [
        f"runs at this budget speak against it: {name} ({first['method']}) came to "
        f"{first['loss']:.3f}, {size.nearest_tried.name} ({best.method}) to {chosen['loss']:.3f}"
    ]

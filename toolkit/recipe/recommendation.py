"""The compute-optimal recipe: four questions, answered for a budget from a study's law.

How large a model? How much data? Which fine-tuning method? Which hyperparameters? Every decoder at
hand and every method is priced for the budget and asked of the one surface
(`toolkit.laws.surface`); the best of them is the answer, and what every other would cost stands
beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from toolkit.decoders import catalogued
from toolkit.laws import Estimate, as_json
from toolkit.recipe.cautions import cautions, outlying
from toolkit.recipe.comparable import Excluded
from toolkit.recipe.crossing import Crossing, crossings
from toolkit.recipe.findings import Finding
from toolkit.recipe.limits import Limits
from toolkit.recipe.options import Option, choose_options, winners
from toolkit.recipe.question import NEAR_OPTIMAL, Choice, Data, FormChoice, Ideal, Question
from toolkit.recipe.settings import Setting, choose_settings
from toolkit.recipe.study import Decoder, Study
from toolkit.recipe.truncation import nearest


@dataclass(frozen=True)
class Recipe:
    """What to do with a budget.

    Attributes:
        budget_flop, convention: The budget, and how its FLOP are counted.
        max_pairs, max_params, queries: Limits that were asked for.
        method, decoder: Recommended.
        loss: Predicted held-out loss, a mean of runs. run_loss: the same for one more run.
        ideal: The best size of all, were there one.
        choices: Every decoder at hand with every method, best first.
        near: Of these, the ones predicted within 1 % of the best, as (decoder, method).
        data, settings: Of the recommended choice. options: Its attention, prefixes, negatives and
            the like, where runs differ in them or agree on what is not the default.
        form: Of the law.
        crossings: At which budgets one method overtakes another.
        budgets: Smallest and largest budget tried with any method.
        extrapolated: Whether the budget, the decoder or the amount of data lies beyond the runs.
        n_runs: Runs that the law stands on; `n_tried`: those that were compared for it.
        warnings: What a reader must know before trusting this; `notes`: how it was made.
        excluded: Runs left out, and why.

    Example:
        >>> recipe = d2e.recommend(d2e.read_runs("reference"), budget_flop=1e12)
        >>> recipe.choices[0].decoder, recipe.method
        ('small-15k', 'full')
    """

    budget_flop: float
    convention: str
    max_pairs: int | None
    max_params: float | None
    queries: float | None
    method: str
    decoder: Decoder
    loss: Estimate
    run_loss: Estimate
    ideal: Ideal
    choices: tuple[Choice, ...]
    near: tuple[tuple[str, str], ...]
    data: Data
    settings: tuple[Setting, ...]
    options: tuple[Option, ...]
    form: FormChoice
    crossings: tuple[Crossing, ...]
    budgets: tuple[float, float]
    extrapolated: bool
    n_runs: int
    n_tried: int
    warnings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    excluded: tuple[Excluded, ...]

    @property
    def methods(self) -> tuple[Choice, ...]:
        """The best choice of every method, best first."""
        first: dict[str, Choice] = {}
        for choice in self.choices:
            first.setdefault(choice.method, choice)
        return tuple(first.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what is unknown or infinite is None, warnings have their sentences."""
        from toolkit.words import say

        values: dict[str, Any] = as_json(self)
        for kind in ("warnings", "notes"):
            found = getattr(self, kind)
            values[kind] = [
                {"kind": f.kind, "sentence": say(f), **as_json(dict(f.values))} for f in found
            ]
        return values


def recommend(
    table: pd.DataFrame,
    *,
    budget_flop: float,
    max_pairs: int | None = None,
    max_params: float | None = None,
    queries: float | None = None,
    decoders: Sequence[str] = (),
    convention: str | None = None,
    seed: int = 0,
) -> Recipe:
    """The recipe for a budget, from a run table.

    For many budgets from one table make the `Study` once and call `recommend_from`.

    Args:
        table: A run table, or any table with its columns.
        budget_flop: In FLOP, counted as the table's budgets are.
        max_pairs: Distinct pairs at hand; more than that means repeating them.
        max_params: Largest decoder that may be recommended, non-embedding parameters.
        queries: Texts to be embedded over the encoder's life; the budget pays for these, too.
        decoders: Names of further decoders at hand (`toolkit.decoders.find`).
        convention: Use the runs with budgets counted so; by default the most common.
        seed: Of the draws.

    Example:
        >>> recipe = d2e.recommend(d2e.read_runs("reference"), budget_flop=1e13)
        >>> recipe.decoder.name, recipe.method, recipe.loss.low < 2.31 < recipe.loss.high
        ('small-85k', 'full', True)

    Raises:
        ToolkitError: The table or an argument is wrong, or the limits leave nothing.
    """
    study = Study.of(table, convention=convention, seed=seed)
    return recommend_from(
        study, budget_flop=budget_flop, max_pairs=max_pairs, max_params=max_params,
        queries=queries, decoders=decoders,
    )  # fmt: skip


def recommend_from(
    study: Study,
    *,
    budget_flop: float,
    max_pairs: int | None = None,
    max_params: float | None = None,
    queries: float | None = None,
    decoders: Sequence[str] = (),
) -> Recipe:
    """`recommend` from a law that was fitted before: quick enough for a slider.

    Example:
        >>> study = d2e.Study.of(d2e.read_runs("reference"))
        >>> [d2e.recommend_from(study, budget_flop=c).decoder.name for c in (1e12, 1e13)]
        ['small-15k', 'small-85k']
    """
    limits = Limits(max_pairs, max_params, queries, tuple(decoders))
    return recipe_for(Question(study, budget_flop, limits))


def recipe_for(asked: Question) -> Recipe:
    """The recipe that answers a question."""
    study, budget_flop, limits = asked.study, asked.budget_flop, asked.limits
    method, place = asked.best()
    decoder, best = asked.hand[place], asked.least()
    choices = sorted(
        (choice for m in study.methods for choice in asked.choices(m, best)),
        key=lambda choice: choice.regret.value,  # Not cut at chance, as what is told is.
    )
    near = NEAR_OPTIMAL * choices[0].loss.value
    settings = choose_settings(study, method, budget_flop, decoder.params, decoder.name)
    data = asked.data(method, place, settings)
    choices[0] = replace(choices[0], pairs=data.pairs, tokens=data.tokens)
    ideal = asked.ideal(method)
    extrapolated = asked.beyond(decoder, data)
    loss = asked.estimate(method, best, extrapolated)
    noise = np.random.default_rng(7).standard_normal(len(best)) * study.surface.cells.noise
    return Recipe(
        budget_flop=budget_flop,
        convention=study.convention,
        max_pairs=limits.max_pairs,
        max_params=limits.max_params,
        queries=limits.queries,
        method=method,
        decoder=decoder,
        loss=loss,
        run_loss=asked.estimate(method, best * np.exp(noise), extrapolated),
        ideal=ideal,
        choices=tuple(choices),
        near=tuple((c.decoder, c.method) for c in choices if c.regret.value <= near),
        data=data,
        settings=settings,
        options=choose_options(study, method, budget_flop, decoder.params),
        form=asked.form(choices[0]),
        crossings=crossings(study),
        budgets=(study.budgets[0], study.budgets[-1]),
        extrapolated=extrapolated,
        n_runs=int(study.surface.cells.runs.sum()),
        n_tried=len(study.runs) + len(study.limited),
        warnings=(*cautions(asked, method, decoder, data, ideal), *study.warnings),
        notes=(*_notes(study), *_truncation(study, method, decoder), *outlying(study)),
        excluded=study.comparable.excluded,
    )


def _truncation(study: Study, method: str, decoder: Decoder) -> list[Finding]:
    return [
        Finding("truncation", vars(each)) for each in nearest(study, method, float(decoder.params))
    ]


def _notes(study: Study) -> tuple[Finding, ...]:
    varied = {method: names for method, names in study.varied.items() if names}
    notes = [Finding("best-settings")] if varied else []
    notes += [Finding.of("varied", method=m, settings=names) for m, names in varied.items()]
    names = ("method", "option", "value", "wins", "places")
    notes += [Finding("option", dict(zip(names, each, strict=True))) for each in winners(study)]
    apart = [m for m in study.methods if m not in study.surface.contenders]
    if apart:
        notes.append(Finding.of("apart", methods=tuple(apart)))
    tried = {name for names in study.decoders.values() for name in names}
    known = [decoder for decoder in map(catalogued, sorted(tried)) if decoder is not None]
    about = dict.fromkeys(decoder.note for decoder in known if decoder.note)
    notes += [Finding.of("said", sentence=note) for note in about]
    return tuple(notes)

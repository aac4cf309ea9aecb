"""What each method comes to, budget by budget: its best decoder at hand, and its ideal size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.kept import kept
from toolkit.recipe.crossing import Crossing, crossings
from toolkit.recipe.question import Choice, Ideal, Question
from toolkit.recipe.study import Study

POINTS = 60


def budgets_between(study: Study, low: float, high: float) -> tuple[float, ...]:
    """Budgets at which curves are evaluated, ascending, in FLOP; those tried are among them."""
    tried = [budget for budget in study.budgets if low <= budget <= high]
    return tuple(sorted({*map(float, np.geomspace(low, high, POINTS)), *tried}))


@kept(16)
def best_choices(study: Study, low: float, high: float) -> Mapping[str, tuple[Choice, ...]]:
    """By method, its best decoder at hand at each of `budgets_between`; regrets are its own."""
    found: dict[str, list[Choice]] = {method: [] for method in study.methods}
    for budget in budgets_between(study, low, high):
        asked = Question(study, budget)
        for method, choices in found.items():
            _, place = asked.best(method)
            choices.append(asked.choices(method, asked.least(method))[place])
    return {method: tuple(choices) for method, choices in found.items()}


@kept(16)
def ideals(study: Study, low: float, high: float) -> Mapping[str, tuple[Ideal, ...]]:
    """By method, its ideal size at each of `budgets_between`."""
    asked = [Question(study, budget) for budget in budgets_between(study, low, high)]
    return {method: tuple(q.ideal(method) for q in asked) for method in study.methods}


def frontier_crossings(study: Study) -> tuple[Crossing, ...]:
    """The crossings at which the best method of all changes."""
    found = []
    for crossing in crossings(study):
        if crossing.status == "never" or not crossing.budget_flop.value > 0:
            continue
        best, _ = Question(study, crossing.budget_flop.value).best()
        if best in (crossing.lower, crossing.upper):
            found.append(crossing)
    return tuple(found)

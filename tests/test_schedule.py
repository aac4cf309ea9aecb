"""Schedules: every epoch sees every pair of the pool once, in an order of its own."""

from itertools import pairwise

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.flops import StepFlops
from toolkit.pairs.ragged import TokenColumn
from toolkit.pairs.store import TokenisedPairs
from toolkit.training.schedule import make_schedule, warmup_cosine


def pairs(count: int, tokens: int = 3) -> TokenisedPairs:
    column = TokenColumn(np.zeros(count * tokens, np.int32), np.arange(count + 1) * tokens)
    keys = np.random.default_rng(0).permutation(count).astype(np.uint64)
    return TokenisedPairs(column, column, keys)


def cost(queries, positives):
    tokens = int(queries.sum() + positives.sum())
    return StepFlops(paper=tokens, model=2 * tokens, hardware=3 * tokens)


def plan(count=100, budget=1000, convention="model", batch=10, **settings):
    return make_schedule(
        pairs(count),
        cost,
        budget_flop=budget,
        convention=convention,
        batch_pairs=batch,
        **settings,
    )


@pytest.mark.parametrize(("convention", "steps"), [("paper", 16), ("model", 8), ("hardware", 5)])
def test_as_many_whole_steps_as_the_budget_pays_for(convention, steps):
    schedule = plan(convention=convention)
    assert schedule.steps == steps
    assert schedule.spent[-1].tolist() == [60 * steps, 120 * steps, 180 * steps]
    assert schedule.tokens[-1] == 60 * steps


def test_a_budget_that_is_met_exactly_is_spent_whole():
    assert plan(budget=240).steps == 2


def test_every_epoch_sees_every_pair_once_in_its_own_order():
    schedule = plan(budget=2400)
    epochs = [np.concatenate([schedule.batch(e * 10 + s) for s in range(10)]) for e in (0, 1)]
    assert all(sorted(epoch) == list(range(100)) for epoch in epochs)
    assert (epochs[0] != epochs[1]).any()


def test_seeds_change_the_order_and_nothing_else():
    assert (plan(seed=1).batch(0) != plan(seed=2).batch(0)).any()
    assert (plan(seed=1).batch(0) == plan(seed=1).batch(0)).all()
    assert plan(seed=1).steps == plan(seed=2).steps


def test_limited_pairs_are_the_same_whatever_the_seed():
    few = [set(plan(max_pairs=20, seed=seed).pool) for seed in (0, 1)]
    assert few[0] == few[1] and len(few[0]) == 20
    assert few[0] <= set(plan(max_pairs=30).pool)


def test_the_cost_of_one_step_is_named_when_the_budget_is_below_it():
    with pytest.raises(ToolkitError, match=r"under one step of 10 pairs, which costs 120"):
        plan(budget=119)


def test_the_rate_warms_up_and_falls_to_zero():
    rates = [warmup_cosine(step, 100, warmup=0.1) for step in range(100)]
    assert 0 < rates[0] < rates[9] < 1
    assert rates[10] == 1
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] < 0.001
    assert warmup_cosine(99, 100, warmup=0.0, floor=0.1) > 0.1

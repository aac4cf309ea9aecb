"""A budget split between size and data, by a law of both."""

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.laws import FORMS, allocate, fit

GRID = np.stack(
    [a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6))]
)
THETA = [1.8, 400.0, 0.34, 2000.0, 0.37]


@pytest.fixture(scope="module")
def law():
    noise = 0.003 * np.random.default_rng(0).normal(size=GRID.shape[1])
    loss = FORMS["parametric"].value(THETA, GRID) * np.exp(noise)
    return fit("parametric", GRID, loss, starts=30, resamples=100)


def test_the_optimum_is_the_closed_form(law):
    found = allocate(law, 1e20)
    g, a = law.derived["G"].value, law.derived["exponent_params"].value
    assert found.params.value == pytest.approx(g * (1e20 / 6) ** a, rel=1e-5)
    assert found.params.value * found.tokens.value == pytest.approx(1e20 / 6)


def test_no_other_split_of_the_budget_does_better(law):
    found = allocate(law, 1e20)
    for factor in (0.7, 1.4):
        n = found.params.value * factor
        assert law.form.value(law.theta, [[n], [1e20 / 6 / n]])[0] > found.loss.value


def test_every_answer_has_an_interval(law):
    found = allocate(law, 1e20)
    for estimate in (found.params, found.tokens, found.loss):
        assert estimate.low < estimate.value < estimate.high
    assert found.draws.shape == (100, 3)


def test_cheaper_training_affords_more_of_both(law):
    full, frozen = allocate(law, 1e20), allocate(law, 1e20, flop_per_param_token=4)
    assert frozen.params.value > full.params.value
    assert frozen.tokens.value > full.tokens.value


def test_budgets_beyond_the_runs_are_marked(law):
    assert not allocate(law, 1e20).params.extrapolated
    assert allocate(law, 1e26).params.extrapolated


def test_scarce_data_shifts_the_budget_as_the_law_says():
    unique = np.vstack([np.repeat(GRID, 2, axis=1), np.tile([1e9, 4e10], GRID.shape[1])])
    loss = FORMS["data-constrained"].value([*THETA, 5.0, 15.0], unique)
    found = fit("data-constrained", unique, loss, starts=40)
    scarce = allocate(found, 1e21, unique_tokens=1e9)
    plenty = allocate(found, 1e21, unique_tokens=1e12)
    assert scarce.loss.value > plenty.loss.value
    grid = np.geomspace(1e6, 1e12, 2001)
    inputs = np.stack([grid, 1e21 / 6 / grid, np.full_like(grid, 1e9)])
    assert scarce.loss.value <= found.form.value(found.theta, inputs).min() * (1 + 1e-9)


def test_a_law_of_one_input_cannot_split_a_budget():
    x = np.geomspace(1e15, 1e20, 10)
    found = fit("saturating", x, FORMS["saturating"].value([2, 500, 0.15], x))
    with pytest.raises(ToolkitError, match="fit parametric"):
        allocate(found, 1e20)


def test_unique_tokens_are_asked_for_where_the_law_needs_them(law):
    with pytest.raises(ToolkitError, match="does not take"):
        allocate(law, 1e20, unique_tokens=1e9)


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_must_be_a_positive_number(law, budget):
    with pytest.raises(ToolkitError, match="budget must be a positive number"):
        allocate(law, budget)

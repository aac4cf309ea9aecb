import math

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.explorer.words import examination_in_words
from toolkit.laws.examination import examine
from toolkit.laws.heldout import KNOWN
from toolkit.synthetic import BUDGETS, TRUTH, run_table


@pytest.fixture(scope="module")
def rows():
    decoders = ("small-7k", "small-15k", "small-38k", "small-85k", "small-200k", "small-559k")
    budgets = (*BUDGETS, 10**13.5)
    return run_table(truth={"full": TRUTH["full"]}, decoders=decoders, budgets=budgets, noise=0)


@pytest.fixture(scope="module")
def everything(rows):
    return np.ones(len(rows), bool)


def test_the_parametric_law_recovers_the_truth_and_predicts_what_it_has_not_seen(rows, everything):
    result = examine(rows, "parametric", held_out=2, keep=everything)
    truth = TRUTH["full"]
    for name, value in (("E", truth.floor), ("alpha", truth.alpha), ("beta", truth.beta)):
        assert result.parameters[name] == pytest.approx(value, rel=0.02)
    assert result.prediction.budgets == pytest.approx((1e13, 10**13.5))
    assert result.held_out_error < 0.02
    assert np.nanmax(np.abs(result.residuals)) < 0.005


def test_the_bounded_law_ends_at_chance_and_must_know_it(rows, everything):
    result = examine(rows, "bounded", held_out=1, keep=everything)
    assert result.parameters["ceiling"] == pytest.approx(math.log(rows["candidates"][0]))
    assert result.held_out_error < 0.1 and len(result.curves) == len(BUDGETS) + 1
    unknown = examine(rows.drop(columns="candidates"), "bounded", held_out=1, keep=everything)
    assert "candidates" in unknown.prediction.reason and "No bounded law" in examination_in_words(
        unknown
    )


@pytest.mark.parametrize("form", ["power", "saturating"])
def test_laws_of_the_budget_go_through_the_optimal_losses(rows, everything, form):
    result = examine(rows, form, held_out=1, keep=everything)
    assert not result.prediction.reason
    grid, line = result.line
    at = np.interp(np.log(result.optima[0][:-1]), np.log(grid), line)
    assert at == pytest.approx(result.optima[1][:-1], rel=0.03)


def test_runs_left_out_have_no_residual_and_move_the_fit(rows, everything):
    keep = everything.copy()
    keep[[0, 5, 11]] = False
    result = examine(rows, "parametric", held_out=1, keep=keep)
    assert np.isnan(result.residuals[[0, 5, 11]]).all()
    assert result.n_points == len(rows) - 3
    spoilt = rows.assign(loss=np.where(keep, rows["loss"], 2 * rows["loss"]))
    assert examine(spoilt, "parametric", held_out=1, keep=keep).parameters == result.parameters
    assert examine(spoilt, "parametric", held_out=1, keep=everything).parameters != (
        result.parameters
    )


def test_too_few_budgets_for_a_law_are_said_in_words(rows, everything):
    result = examine(rows, "saturating", held_out=4, keep=everything)
    assert "needs at least 5" in result.prediction.reason
    assert "No saturating law" in examination_in_words(result)
    assert math.isnan(result.held_out_error) and not len(result.line[0])


def test_nothing_left_to_judge_by_is_refused(rows, everything):
    with pytest.raises(ToolkitError, match="held out"):
        examine(rows, "power", held_out=6, keep=everything)


@pytest.mark.parametrize("form", KNOWN)
def test_the_words_name_the_held_out_error(rows, everything, form):
    result = examine(rows, form, held_out=1, keep=everything)
    assert f"held-out error {result.held_out_error:.2%}" in examination_in_words(result)

"""Runs recounted: the same truth, seen through another count of FLOP."""

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.recipe.recount import recount
from toolkit.recipe.study import Study
from toolkit.synthetic import TRUTH, run_table

pytestmark = pytest.mark.usefixtures("fitted_once")


@pytest.fixture(scope="module")
def table():
    return run_table(noise=0.0)


def study(table):
    return Study.of(table, draws=20)


def test_a_count_that_is_a_constant_multiple_moves_budgets_and_nothing_else(table):
    """Every synthetic run's paper count is 0.8 of its model count."""
    ours, paper = (recount(study(table), name) for name in ("model", "paper"))
    assert np.allclose(paper["budget_flop"], 0.8 * ours["budget_flop"])
    assert np.allclose(paper["loss"], ours["loss"])
    assert set(paper["flop_convention"]) == {"paper"}


def test_interpolated_losses_are_near_the_truth(table):
    recounted = recount(study(table), "model")
    truth = [
        TRUTH[row.method].loss(row.params, row.budget_flop)
        for row in recounted.itertuples()
        if row.method != "freeze" and row.method != "lora"
    ]
    seen = recounted[~recounted["method"].isin(["freeze", "lora"])]["loss"]
    assert np.allclose(seen, truth, rtol=0.01)


def test_a_count_that_charges_large_models_more_makes_the_best_size_smaller(table):
    dear = table[table["method"] == "full"].copy()
    dear["flop_hardware"] = dear["budget_flop"] * (dear["params"] / dear["params"].min()) ** 0.2
    small, plain = (
        Study.of(recount(study(dear), name), draws=20).fits["full"].minima[1].params.value
        for name in ("hardware", "model")
    )
    assert small < 0.8 * plain


def test_a_curve_is_never_read_beyond_its_runs(table):
    few = table[(table["params"] > 10_000) | (table["budget_flop"] < 5e11)]
    recounted = recount(study(few), "model")
    smallest = recounted[recounted["params"] < 10_000]
    assert smallest["budget_flop"].max() < 10**11.5 < recounted["budget_flop"].max()


def test_every_seed_of_a_curve_counts_though_settings_change_with_the_budget():
    """A recounted point lies between two runs and has the settings of neither."""
    table = run_table(truth={"full": TRUTH["full"]}, noise=0.01, seeds=(0, 1, 2))
    table.loc[table["budget_flop"] > 5e11, "batch_pairs"] = 64
    again = Study.of(recount(study(table), "model"), draws=20)
    assert not {"lr", "batch_pairs"} & set(again.best.columns)
    assert again.best.groupby(["method", "params", "budget_flop"]).size().eq(3).all()


def test_what_cannot_be_recounted_is_a_sentence(table):
    with pytest.raises(ToolkitError, match="no column 'flop_paper'"):
        recount(study(table.drop(columns="flop_paper")), "paper")
    with pytest.raises(ToolkitError, match="nothing to interpolate"):
        recount(study(table[table["budget_flop"] == 1e12]), "paper")

"""Runs that went wrong with a finite loss are named, with what leaving them out changes."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from toolkit.cli import main
from toolkit.laws.outliers import outliers
from toolkit.laws.suspects import suspects
from toolkit.synthetic import run_table


def table(seed=0, noise=0.01, method="full"):
    runs = run_table(seed=seed, noise=noise)
    return runs[runs["method"] == method].reset_index(drop=True)


def rows(runs, **options):
    found = outliers(
        runs["loss"].to_numpy(float),
        budgets=runs["budget_flop"].to_numpy(float),
        sizes=runs["params"].to_numpy(float),
        **options,
    )
    return {one.row for one in found}


def spoilt(runs, *places, factor=1.6):
    losses = runs["loss"].to_numpy().copy()
    losses[list(places)] *= factor
    return runs.assign(loss=losses)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_ordinary_runs_are_not_accused(seed, noise):
    for _, part in run_table(seed=seed, noise=noise, seeds=(0, 1)).groupby("method"):
        assert rows(part) == set()


def test_one_run_far_above_its_neighbours_is_found_wherever_it_lies():
    runs = table()
    corner = runs["params"].eq(runs["params"].min()) & runs["budget_flop"].eq(1e11)
    for place in range(len(runs)):
        if not corner[place]:  # There no run has less: it might just have begun to learn.
            assert rows(spoilt(runs, place)) == {place}
    assert rows(spoilt(runs, 0, factor=3)) == {0}


def test_several_do_not_hide_each_other():
    rng, found, missed, wrong = np.random.default_rng(0), 0, 0, 0
    for seed in range(40):
        runs = table(seed, noise=0.02)
        bad = set(map(int, rng.choice(len(runs), 3, replace=False)))
        seen = rows(spoilt(runs, *bad, factor=rng.uniform(1.5, 3)))
        found, missed, wrong = (
            found + len(seen & bad),
            missed + len(bad - seen),
            wrong + len(seen - bad),
        )
    assert found >= 110 and wrong == 0, (found, missed, wrong)


def test_runs_that_have_not_begun_to_learn_are_not_accused():
    chance = math.log(1024)
    runs = table()
    slow = (runs["params"] > 1e5) & (runs["budget_flop"] < 1e12)
    assert slow.sum() == 4
    assert rows(runs.assign(loss=runs["loss"].mask(slow, chance))) == set()
    only = runs["params"].eq(runs["params"].max()) & runs["budget_flop"].eq(1e11)
    early = runs.assign(loss=(runs["loss"] * 0.6).mask(only, chance))
    assert rows(early, chance=chance) == set()


def test_a_curve_of_one_input_is_judged_by_what_had_less():
    budgets = np.geomspace(1e10, 1e15, 12)
    losses = 2 + 300 * budgets**-0.2
    assert outliers(losses, budgets=budgets) == ()
    losses[7] = 9.0
    (one,) = outliers(losses, budgets=budgets)
    assert one.row == 7 and one.allowed < 6 and one.loss == 9.0


def test_methods_do_not_accuse_each_other():
    runs = run_table()
    worse = runs.assign(loss=runs["loss"].where(runs["method"] != "bias", runs["loss"] * 2))
    assert suspects(worse).found == ()


def test_tables_of_any_length_are_judged_quickly_or_not_at_all():
    rng = np.random.default_rng(0)
    for n in (0, 3, 20_000):
        assert outliers(rng.uniform(2, 3, n), budgets=rng.uniform(1, 9, n) * 1e12) == ()


@pytest.fixture
def diverged(tmp_path):
    """Two diverged runs among those of two methods."""
    runs = run_table(budgets=tuple(np.geomspace(1e11, 1e13, 5)))
    runs = runs[runs["method"].isin(["full", "lora"])].reset_index(drop=True)
    runs["run"] = [f"r{i}" for i in range(len(runs))]
    runs.loc[[7, 40], "loss"] = 11.0, 10.8
    runs.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_a_recipe_names_diverged_runs(diverged, capsys):
    assert main(["recipe", str(diverged), "--flop", "1e13"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "above chance" in shown and "r7 (loss 11" in shown and "r40 (loss 10.8" in shown


def test_a_fit_names_them_and_says_what_leaving_them_out_changes(diverged, capsys):
    fit = ["fit", str(diverged), "--form", "isoflop", "--group", "method", "--bootstrap", "0"]
    assert main(fit) == 0
    shown = capsys.readouterr().out
    assert "r7 (loss 11," in shown and "r40 (loss 10.8," in shown
    assert "without it" in shown and "instead of" in shown and "--drop-outliers" in shown

    def exponent(*options):
        assert main([*fit, *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["groups"]["full"]

    before, after = exponent(), exponent("--drop-outliers")
    assert before["outliers"]["left_out"] is False and after["outliers"]["left_out"] is True
    assert [one["run"] for one in after["outliers"]["runs"]] == ["r7"]
    assert after["n_points"] == before["n_points"] - 1
    told = before["outliers"]["params_without"]["exponent of the params law"]
    assert after["params"]["exponent"]["value"] == pytest.approx(told)


def test_rows_keep_their_numbers_where_runs_have_no_names(tmp_path, capsys):
    runs = spoilt(table(), 8, factor=2).drop(columns="run")
    runs.loc[3, "loss"] = np.nan
    pd.concat([runs.iloc[:0], runs]).to_csv(tmp_path / "t.csv", index=False)
    fit = ["fit", str(tmp_path / "t.csv"), "--form", "parametric", "--bootstrap", "0"]
    assert main([*fit, "--starts", "20"]) == 0
    assert "row 9 (loss" in capsys.readouterr().out

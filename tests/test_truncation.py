"""Runs that were trained to be cut tell what their first features cost."""

import json

import numpy as np
import pandas as pd
import pytest

from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.recipe.truncation import truncations
from toolkit.report import truncation_table
from toolkit.synthetic import TRUTH, run_table
from toolkit.words import as_text


def table(**columns) -> pd.DataFrame:
    truth = {name: TRUTH[name] for name in ("full", "lora")}
    runs = run_table(truth=truth, decoders=("small-7k", "small-38k"), seeds=(0, 1), noise=0.0)
    return runs.assign(**columns)


def cut(runs: pd.DataFrame, **share: float) -> pd.DataFrame:
    """Runs whose first features lose so much."""
    told = [
        json.dumps({name[1:]: loss * (1 + rise) for name, rise in share.items()})
        for loss in runs["loss"]
    ]
    return runs.assign(matryoshka="[16, 8]", loss_by_dimension=told)


@pytest.fixture(scope="module")
def study() -> Study:
    plain = table(loss_by_dimension="{}", matryoshka=np.nan)
    full = plain[plain["method"] == "full"]
    better = cut(full, _8=0.10, _16=0.02).assign(seed=[7, 8] * (len(full) // 2))
    worse = cut(full.assign(loss=1.5 * full["loss"]), _8=0.5).assign(pooling="last")
    whole = cut(full.assign(loss=1.2 * full["loss"]), _8=0.4).assign(matryoshka=np.nan, seed=9)
    small = whole[whole["params"] == whole["params"].min()]
    return Study.of(pd.concat([plain, better, worse, small], ignore_index=True), draws=20)


def test_each_method_and_decoder_has_its_best_attempt_at_its_largest_budget(study):
    found = truncations(study)
    assert [(each.method, each.decoder, each.trained_for) for each in found] == [
        ("full", "small-7k", ()),
        ("full", "small-7k", (16, 8)),
        ("full", "small-38k", (16, 8)),
    ]
    for each in found[1:]:
        assert each.budget_flop == study.budgets[-1] and each.runs == 2
        assert [dimension for dimension, _ in each.losses] == [16, 8]
        ratios = [loss / each.loss for _, loss in each.losses]
        assert ratios == pytest.approx([1.02, 1.10])


def test_the_report_shows_dimension_loss_and_difference_to_the_whole(study):
    shown = truncation_table(study)
    first = truncations(study)[1]
    rows = shown.xs("16, 8", level="trained for").loc["full fine-tuning", "small-7k"].droplevel(0)
    assert list(rows.index) == [first.width, 16, 8]
    assert list(rows["above the whole"]) == [
        "–",
        f"+{0.02 * first.loss:.3f}",
        f"+{0.1 * first.loss:.3f}",
    ]
    assert next(iter(rows["loss"])) == f"{first.loss:.3f}"


def test_the_recipe_says_it_and_json_has_the_figures(study):
    recipe = recommend_from(study, budget_flop=1e12, max_params=1e4)
    told = [n for n in recipe.to_dict()["notes"] if n["kind"] == "truncation"]
    assert recipe.method == "full" and [n["trained_for"] for n in told] == [[], [16, 8]]
    assert [dimension for dimension, _ in told[1]["losses"]] == [16, 8]
    text = " ".join(as_text(recipe).split())
    assert "what truncation costs small-7k (full fine-tuning, trained to be cut" in text


@pytest.mark.parametrize("value", ["{}", None, "not json", "[1, 2]", "3"])
def test_a_table_without_such_runs_tells_nothing(value):
    study = Study.of(table(loss_by_dimension=value), draws=20)
    assert truncations(study) == () and truncation_table(study).empty

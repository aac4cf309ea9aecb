"""Repeated data: told apart, lined up, and their cost in the law."""

import math

import pandas as pd
import pytest

from toolkit.errors import ToolkitError
from toolkit.figures import loss_by_repeats_panels
from toolkit.laws.constants import constants
from toolkit.recipe.repeats import repeats, with_unique_tokens
from toolkit.recipe.study import Study
from toolkit.synthetic import run_table

WORTH = 8.0  # R_D* of the made-up truth.


def limited_table():
    """Full fine-tuning whose data are worth less each time they are seen."""
    table = run_table(noise=0.002)
    table = table[table["method"] == "full"].assign(max_pairs=math.nan)
    rows = []
    for row in table.to_dict("records"):
        for limit in (math.nan, 1_000, 4_000, 16_000):
            distinct = min(row["pairs"], 1e9 if math.isnan(limit) else limit)
            again = row["pairs"] / distinct - 1
            effective = distinct * (1 + WORTH * (1 - math.exp(-again / WORTH)))
            fresh = 160 / row["tokens"] ** 0.35
            loss = row["loss"] + fresh * ((row["pairs"] / effective) ** 0.35 - 1)
            rows.append({**row, "max_pairs": limit, "unique_pairs": distinct, "loss": loss})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def study():
    return Study.of(limited_table(), draws=100)


def test_limited_runs_are_kept_apart_from_the_best_of_each_size(study):
    assert len(study.limited) == 3 * len(study.runs)
    assert study.best["max_pairs"].isna().all()
    assert any("fewer distinct pairs" in each.reason for each in study.comparable.excluded)


def test_the_same_configuration_is_lined_up_by_its_distinct_pairs(study):
    found = repeats(study)
    line = next(f for f in found if f.decoder == "small-15k" and f.budget_flop == 1e12)
    assert line.distinct[:3] == (1_000, 4_000, 16_000)
    assert list(line.epochs) == sorted(line.epochs, reverse=True)
    assert line.losses[0] > line.losses[-1]


def test_the_worth_of_repeats_is_found_again(study):
    worth = constants(study.surface, "full")["R_D"]
    assert worth.value == pytest.approx(WORTH, rel=0.25)
    assert worth.low < WORTH < worth.high


def test_its_figure_has_a_panel_a_decoder_and_a_line_a_budget(study):
    figure = loss_by_repeats_panels(repeats(study))
    assert [ax.get_title() for ax in figure.axes] == [
        f"full fine-tuning, small-{name}" for name in ("7k", "15k", "38k", "85k", "200k", "559k")
    ]
    assert sum(len(ax.lines) for ax in figure.axes) == len(repeats(study))


def test_a_table_without_limits_or_pairs_has_no_repeats():
    table = run_table()
    assert repeats(Study.of(table, draws=20)) == ()
    with pytest.raises(ToolkitError, match="no column 'pairs'"):
        with_unique_tokens(table.drop(columns="pairs"))

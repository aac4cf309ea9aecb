"""A recipe put to the test on runs that its law has not seen."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from toolkit.cli import main
from toolkit.decoders import KNOWN
from toolkit.errors import ToolkitError
from toolkit.figures import predicted_and_measured
from toolkit.methods import METHODS
from toolkit.recipe.study import Study
from toolkit.recipe.trial import as_text, put_to_test, sentences
from toolkit.synthetic import BUDGETS, TRUTH, run_table

pytestmark = pytest.mark.usefixtures("fitted_once")
ABOVE = BUDGETS[-1] * 3
WIDE = ("small-7k", "small-15k", "small-38k", "small-85k", "small-200k", "small-559k")


def made(**where):
    """Made-up runs at the rates that suit each width, so that a recipe's rate is one of them."""
    table = run_table(**{"decoders": WIDE, "noise": 0.002} | where)
    rates = [
        METHODS[m].learning_rate(KNOWN[d]) for m, d in zip(table.method, table.decoder, strict=True)
    ]
    return table.assign(lr=rates)


def of_the_recipe(table, recipe):
    """Which rows have the recipe's method and size."""
    return (table["method"] == recipe.method) & (table["params"] == recipe.decoder.params)


@pytest.fixture(scope="module")
def known():
    return made(seeds=(0, 1))


@pytest.fixture(scope="module")
def unseen():
    return made(budgets=(ABOVE,), seeds=(5,))


@pytest.fixture(scope="module")
def study(known, fit_once):
    return fit_once(known, draws=200)


@pytest.fixture(scope="module")
def trial(study, unseen):
    return put_to_test(study, unseen)


def test_one_configuration_is_the_recipes_and_its_regret_is_measured(trial):
    assert [one.followed for one in trial.tried].count(True) == 1
    assert trial.followed.method == trial.recipe.method
    assert trial.followed.decoder == trial.recipe.decoder.name
    assert trial.regret == trial.followed.measured - min(one.measured for one in trial.tried)
    assert trial.regret >= 0


SHARED = {method: replace(law, floor=1.5) for method, law in TRUTH.items()}


@pytest.mark.parametrize("truth", [SHARED, TRUTH], ids=["one asymptote", "one for each method"])
def test_the_law_of_a_known_truth_predicts_what_comes(truth):
    """The made-up truth has no noise to speak of, so a step of three beyond it is no leap."""
    study = Study.of(made(truth=truth, seeds=(0, 1)), draws=200)
    trial = put_to_test(study, made(truth=truth, budgets=(ABOVE,), seeds=(5,)))
    assert trial.regret < 0.05
    followed = trial.followed
    assert followed.measured == pytest.approx(followed.predicted.value, rel=0.05)


def test_losses_are_listed_from_the_best(trial):
    measured = [one.measured for one in trial.tried]
    assert measured == sorted(measured)
    assert trial.tried[0].regret == 0


def test_seeds_of_one_configuration_are_one_line(study):
    seeds = run_table(decoders=WIDE, budgets=(ABOVE,), noise=0.002, seeds=(5, 6, 7))
    assert {one.seeds for one in put_to_test(study, seeds).tried} == {3}


def test_what_is_no_test_is_refused_in_a_sentence(study, known, unseen):
    with pytest.raises(ToolkitError, match="no test of it"):
        put_to_test(study, known[known["budget_flop"] == BUDGETS[-1]])
    with pytest.raises(ToolkitError, match="several budgets"):
        put_to_test(study, known)
    with pytest.raises(ToolkitError, match="no run at"):
        put_to_test(study, unseen, 7e13)
    with pytest.raises(ToolkitError, match="differ in candidates"):
        put_to_test(study, unseen.assign(candidates=64))
    with pytest.raises(ToolkitError, match="run that as well"):
        put_to_test(study, unseen[unseen["method"] == "bias"])


def test_the_recipes_own_decoder_and_nearest_settings_stand_for_it(study, unseen):
    """Not another rate, not a row of which nothing is known, however low their losses."""
    recipe = put_to_test(study, unseen).recipe
    unseen = unseen.assign(batch_pairs=64)  # As the recipe says: twice that of the study.
    mine = of_the_recipe(unseen, recipe)
    lower = unseen[mine].assign(loss=unseen[mine]["loss"] - 0.1)
    table = pd.concat([unseen, lower.assign(lr=4e-1), lower.assign(lr=math.nan)])
    trial = put_to_test(study, table)
    assert trial.followed.settings["lr"] == unseen[mine]["lr"].item()
    assert trial.regret == pytest.approx(0.1)
    assert not any("not exactly" in line for line in sentences(trial))


def test_a_run_that_is_not_quite_the_recipe_says_so(study, unseen):
    said = " ".join(sentences(put_to_test(study, unseen.assign(batch_pairs=128))))
    assert "not exactly the recipe: batch 128 where it says 64" in said


def test_limited_data_is_no_test_of_a_law_without_limits(study, unseen):
    full = Study.of(made(budgets=BUDGETS[:3]).assign(max_pairs=math.nan), draws=50)
    with pytest.raises(ToolkitError, match="differ in max_pairs"):
        put_to_test(full, unseen.assign(max_pairs=4_000))


def test_a_recipe_that_diverged_is_told(study, unseen):
    recipe = put_to_test(study, unseen).recipe
    lost = unseen.copy()
    mine = of_the_recipe(lost, recipe)
    lost.loc[mine, ["status", "reason"]] = ["diverged", "loss is not finite"]
    with pytest.raises(ToolkitError, match="run that as well; 1 left out"):
        put_to_test(study, lost)


def test_tables_that_tell_little_can_be_tested(known):
    few = ["method", "params", "budget_flop", "loss"]
    unseen = made(decoders=(*WIDE, "small-1.2m", "small-2.7m"), budgets=(ABOVE,))
    trial = put_to_test(Study.of(known[few], draws=50), unseen[few])
    assert trial.followed.settings == {}
    assert "nan" not in as_text(trial)
    figure = predicted_and_measured(trial)
    assert len(figure.axes) == 1


def test_every_configuration_has_its_own_interval_and_most_hold_what_came(trial):
    ends = [(one.predicted.low, one.predicted.value, one.predicted.high) for one in trial.tried]
    assert len(set(ends)) == len(trial.tried)
    held = [
        low <= one.measured <= high for one, (low, _, high) in zip(trial.tried, ends, strict=True)
    ]
    assert np.mean(held) > 0.8
    said = next(line for line in sentences(trial) if "root mean square" in line)
    assert f"{sum(held)} of {len(held)} intervals hold" in said


def test_the_mean_of_many_seeds_is_predicted_more_closely_than_one_run():
    unseen = made(decoders=(*WIDE, "small-1.2m", "small-2.7m"), budgets=(ABOVE,))
    noisy = Study.of(made(decoders=WIDE[::2], seeds=(0, 1, 2), noise=0.08), draws=200)
    many = pd.concat([unseen.assign(seed=seed) for seed in range(30)])
    widths = [
        [one.predicted.high - one.predicted.low for one in put_to_test(noisy, table).tried]
        for table in (many, unseen)
    ]
    assert np.mean(widths[0]) < 0.9 * np.mean(widths[1])


def test_a_run_is_predicted_at_the_pairs_that_it_bought(study, unseen):
    """Settings can make a run cheaper or dearer than the law's smooth costs have it."""
    cheaper = unseen.assign(pairs=3 * unseen["pairs"])
    unknown = unseen.drop(columns="pairs")
    some, more, smooth = (
        {one.name: one.predicted.value for one in put_to_test(study, table).tried}
        for table in (unseen, cheaper, unknown)
    )
    assert all(more[name] < some[name] for name in some)
    assert all(smooth[name] == pytest.approx(some[name], rel=0.02) for name in some)


def test_a_test_of_the_recipe_alone_leaves_its_regret_unknown(study, unseen):
    recipe = put_to_test(study, unseen).recipe
    mine = of_the_recipe(unseen, recipe)
    assert any("regret is unknown" in line for line in sentences(put_to_test(study, unseen[mine])))


def test_a_method_that_the_study_lacks_has_no_prediction(known, unseen):
    full = Study.of(known[known["method"] == "full"], draws=50)
    others = [one for one in put_to_test(full, unseen).tried if one.method != "full"]
    assert others
    assert all(math.isnan(one.predicted.value) for one in others)


def test_the_command_prints_draws_and_gives_json(known, unseen, tmp_path, capsys):
    tables = [tmp_path / "known.csv", tmp_path / "unseen.csv"]
    for table, path in zip((known, unseen), tables, strict=True):
        table.to_csv(path, index=False)
    words = ["trial", *map(str, tables), "--figure", str(tmp_path / "trial.png")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "predicted" in out
    assert "→ " in out
    assert (tmp_path / "trial.png").stat().st_size > 10_000
    assert main([*words[:3], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["regret"] >= 0
    assert len(told["tried"]) == unseen.groupby(["method", "params"]).ngroups
    assert main([*words[:3], "--figure", str(tmp_path / "nowhere" / "trial.png")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_figure_has_a_line_a_configuration(trial):
    (ax,) = predicted_and_measured(trial).axes
    assert len(ax.get_yticks()) == len(trial.tried)
    assert as_text(trial).count("\n") > len(trial.tried)

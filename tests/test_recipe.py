import json
import math

import numpy as np
import pandas as pd
import pytest

from toolkit.cli import main
from toolkit.decoders import KNOWN
from toolkit.errors import ToolkitError
from toolkit.recipe.forecast import forecast
from toolkit.recipe.recommendation import recommend, recommend_from
from toolkit.recipe.settings import choose_settings
from toolkit.recipe.study import Study
from toolkit.recipe.wording import as_text
from toolkit.synthetic import BUDGETS, TRUTH, run_table
from toolkit.text import count, read_number, scientific
from toolkit.training.defaults import batch_pairs

WIDE = ("small-7k", "small-15k", "small-38k", "small-85k", "small-200k", "small-559k", "small-1.2m")


@pytest.fixture(scope="module")
def study() -> Study:
    return Study.of(run_table(decoders=WIDE, seeds=(0, 1), noise=0.003), resamples=300)


@pytest.mark.parametrize("budget", [3e11, 1e12, 6e12])
def test_the_recipe_recovers_the_optimum_that_the_runs_were_made_from(study, budget):
    recipe = recommend_from(study, budget_flop=budget)
    best = min(TRUTH, key=lambda method: TRUTH[method].optimum(budget)[2])
    params, tokens, loss = TRUTH[recipe.method].optimum(budget)
    assert recipe.method == best
    # A parabola is not quite the shape of the truth: a few per cent in loss, more in size.
    assert recipe.size.params.value == pytest.approx(params, rel=0.25)
    assert recipe.data.tokens.value == pytest.approx(tokens, rel=0.25)
    assert recipe.methods[0].loss.value == pytest.approx(loss, rel=0.02)


def test_every_answer_has_an_interval_around_its_value(study):
    recipe = recommend_from(study, budget_flop=1e12)
    estimates = [recipe.size.params, recipe.data.pairs, recipe.data.tokens, recipe.data.steps]
    estimates += [choice.loss for choice in recipe.methods]
    estimates += [choice.regret for choice in recipe.methods]
    for estimate in estimates:
        assert estimate.low <= estimate.value <= estimate.high
    low, high = recipe.size.near_optimal
    assert low < recipe.size.params.value < high


def test_pairs_tokens_and_steps_agree_with_the_tables_own_tokens_per_pair(study):
    data = recommend_from(study, budget_flop=1e12).data
    assert data.tokens_per_pair == pytest.approx(65, rel=0.01)
    assert data.pairs.value * data.tokens_per_pair == pytest.approx(data.tokens.value)
    assert data.steps.value == pytest.approx(data.pairs.value / 32)


def test_sizes_at_the_ends_of_the_near_optimal_range_lose_one_per_cent(study):
    prediction = forecast("full", study.fits["full"], 1e12)
    for end in prediction.near_optimal():
        assert prediction.excess(end) == pytest.approx(0.01 * prediction.loss.value)


def test_rows_keep_together_when_others_are_left_out():
    table = run_table()
    table.loc[[0, 7], "status"] = "diverged"
    for rows in (Study.of(table, resamples=0).runs, Study.of(table[3:], resamples=0).best):
        assert (rows["decoder"].map(lambda name: KNOWN[name].params) == rows["params"]).all()


def test_the_nearest_decoder_is_the_nearest_by_ratio(study):
    size = recommend_from(study, budget_flop=1e12).size
    ratios = {name: abs(math.log(d.params / size.params.value)) for name, d in KNOWN.items()}
    assert size.nearest is not None
    assert size.nearest.name == min(ratios, key=lambda name: ratios[name])


def test_regrets_are_differences_of_loss_and_come_best_first(study):
    methods = recommend_from(study, budget_flop=1e12).methods
    assert [c.loss.value for c in methods] == sorted(c.loss.value for c in methods)
    for choice in methods:
        assert choice.regret.value == pytest.approx(choice.loss.value - methods[0].loss.value)
    assert sum(c.best_share for c in methods) == pytest.approx(1)


def test_the_method_changes_over_where_the_truth_does(study):
    assert recommend_from(study, budget_flop=BUDGETS[0]).method == "full"
    assert recommend_from(study, budget_flop=BUDGETS[-1] * 3).method == "lora"


def test_only_the_best_setting_of_a_method_counts_and_the_recipe_says_so():
    ranks = run_table(ranks=(8, 64, 512), decoders=WIDE, noise=0)
    alone = run_table(ranks=(64,), decoders=WIDE, noise=0)
    recipe = recommend(ranks, budget_flop=1e12, resamples=50)
    expected = recommend(alone, budget_flop=1e12, resamples=50)
    assert recipe.methods[0].loss.value == pytest.approx(expected.methods[0].loss.value)
    assert (recipe.n_runs, recipe.n_tried) == (len(alone), len(ranks))
    assert any("only the best" in note for note in recipe.notes)
    assert any("lora_rank" in note for note in recipe.notes)
    assert not any("only the best" in note for note in expected.notes)


def test_a_seed_that_was_not_run_with_the_best_setting_has_no_say():
    """Two seeds of a poor rank do not pull the law of a good one up."""
    good, poor = (run_table(ranks=(rank,), decoders=WIDE, noise=0) for rank in (64, 8))
    again = poor.assign(seed=1)
    study = Study.of(pd.concat([good, poor, again]), resamples=0)
    lora = study.best[study.best["method"] == "lora"]
    assert set(lora["lora_rank"]) == {64}
    assert set(lora["seed"]) == {0}


def test_one_setting_counts_at_each_size_and_budget_with_all_its_seeds():
    """With this much noise the seeds alone would not agree which rank is best."""
    table = run_table(ranks=(32, 64), decoders=WIDE, seeds=(0, 1, 2), noise=0.05)
    lora = Study.of(table, resamples=0).best.query("method == 'lora'")
    cells = lora.groupby(["params", "budget_flop"])
    assert cells.size().eq(3).all()
    assert cells["lora_rank"].nunique().eq(1).all()


def test_of_two_equally_good_settings_one_counts():
    table = run_table(truth={"full": TRUTH["full"]}, decoders=WIDE, noise=0)
    twice = pd.concat([table, table.assign(batch_pairs=64)])
    assert len(Study.of(twice, resamples=0).best) == len(table)


def test_without_seeds_runs_with_the_same_settings_are_replicates():
    table = run_table(seeds=(0, 1, 2), ranks=(8, 64))
    study = Study.of(table.drop(columns="seed"), resamples=0)
    assert len(study.best) == len(Study.of(table, resamples=0).best)


def test_hyperparameters_come_from_the_best_runs_near_by():
    table = run_table(
        truth={"lora": TRUTH["lora"]}, ranks=(8, 32, 64, 2048), decoders=WIDE, noise=0
    )
    recipe = recommend(table, budget_flop=1e12, resamples=50)
    by_name = {s.name: s for s in recipe.settings}
    assert by_name["lora_rank"].tried == (8, 32, 64, 2048)
    assert by_name["lora_rank"].value == min(64, KNOWN[recipe.size.nearest.name].shape.hidden)
    assert "best of 4 tried" in by_name["lora_rank"].source
    assert by_name["lr"].value == 4e-3
    assert "the only value tried" in by_name["lr"].source
    assert "trained_blocks" not in by_name


def test_hyperparameters_that_the_table_lacks_are_the_defaults_and_say_so():
    table = run_table(truth={"lora": TRUTH["lora"]}, decoders=WIDE, noise=0)
    recipe = recommend(
        table.drop(columns=["lr", "lora_rank", "batch_pairs"]), budget_flop=1e12, resamples=0
    )
    assert {s.name for s in recipe.settings} == {"lr", "batch_pairs", "lora_rank"}
    for setting in recipe.settings:
        assert "default" in setting.source
        assert setting.value > 0


def test_a_learning_rate_found_with_one_width_is_carried_to_another_as_the_default_is():
    """0.0054 is half the default at width 24, so at width 48 the recipe says half of that."""
    table = run_table(truth={"full": TRUTH["full"]}, decoders=WIDE, noise=0)
    table.loc[table["decoder"] != "small-15k", "lr"] = np.nan
    table.loc[table["decoder"] == "small-15k", "lr"] = 0.26 / 24 / 2
    study = Study.of(table, resamples=0)
    (lr, *_) = choose_settings(study, "full", 1e12, 85_000, "small-85k")
    assert lr.name == "lr"
    assert lr.value == pytest.approx(0.26 / 48 / 2)
    assert lr.source.startswith("carried over from 0.00542, the only value tried with small-15k")


def test_the_default_batch_of_small_decoders_grows_with_the_pairs_that_the_budget_buys():
    budgets = (1e8, 1e10, 1e11, 3e11, 1e12, 3e12)
    assert [batch_pairs(KNOWN["small-15k"], c) for c in budgets] == [16, 16, 16, 32, 64, 64]
    assert [batch_pairs(KNOWN["small-85k"], c) for c in budgets] == [16, 16, 16, 16, 32, 32]
    assert {batch_pairs(KNOWN["pythia-70m"], c) for c in (1e15, 1e18)} == {1024}


def test_trained_blocks_keep_their_share_of_the_blocks():
    table = run_table(truth={"freeze": TRUTH["freeze"]}, shares=(0.5, 1.0), noise=0)
    recipe = recommend(table, budget_flop=1e12, max_params=40_000, resamples=0)
    (blocks,) = [s for s in recipe.settings if s.name == "trained_blocks"]
    layers = KNOWN[recipe.size.nearest.name].shape.layers
    assert blocks.value / layers == pytest.approx(0.5, abs=0.5 / layers)


def test_an_unbracketed_minimum_gives_the_best_size_tried_marked_as_such():
    table = run_table(truth={"full": TRUTH["full"]}, decoders=WIDE[3:], budgets=(1e10, 2e10, 4e10))
    recipe = recommend(table, budget_flop=2e10, resamples=50)
    assert recipe.size.source == "best-tried"
    assert recipe.size.params.value == KNOWN["small-85k"].params
    assert recipe.size.params.low == 0 and recipe.size.params.high == KNOWN["small-200k"].params
    assert any("unbracketed" in w for w in recipe.warnings)
    assert "not bracketed; the optimum is below 200k" in as_text(recipe)


def test_beyond_the_budgets_tried_it_warns_of_extrapolation(study):
    beyond = recommend_from(study, budget_flop=1e15)
    assert any("extrapolation" in w and "100 times above" in w for w in beyond.warnings)
    assert beyond.size.params.extrapolated
    below = recommend_from(study, budget_flop=1e10)
    assert any("extrapolation" in w and "10 times below" in w for w in below.warnings)
    assert not any("extrapolation" in w for w in recommend_from(study, budget_flop=1e12).warnings)


def test_a_cap_on_the_size_is_kept_and_priced(study):
    free = recommend_from(study, budget_flop=1e12)
    capped = recommend_from(study, budget_flop=1e12, max_params=20_000)
    assert capped.size.capped and capped.size.params.value == 20_000
    assert capped.size.nearest.params <= 20_000
    assert capped.size.near_optimal[1] <= 20_000
    assert capped.methods[0].loss.value > free.methods[0].loss.value
    assert capped.data.tokens.value > free.data.tokens.value
    assert any("held to 20k" in w for w in capped.warnings)
    truth = TRUTH[capped.method]
    assert capped.methods[0].loss.value == pytest.approx(truth.loss(20_000, 1e12), rel=0.05)


def test_runs_at_the_budget_that_speak_against_the_recipe_are_named():
    table = run_table(decoders=WIDE, noise=0.003)
    budget = table.budget_flop.unique()[2]
    calm = recommend(table, budget_flop=budget, resamples=0)
    assert not any("speak against" in w for w in calm.warnings)

    larger = KNOWN["small-200k"].params
    lucky = (table.method == "bias") & (table.params == larger) & (table.budget_flop == budget)
    table.loc[lucky, "loss"] = 0.9 * table[table.budget_flop == budget].loss.min()
    warned = recommend(table, budget_flop=budget, resamples=0)
    (said,) = [w for w in warned.warnings if "speak against" in w]
    assert f"small-200k (bias) came to {table[lucky].loss.mean():.3f}" in said
    assert f"{warned.size.nearest_tried.name} ({warned.method}) to" in said

    smaller = recommend(table, budget_flop=budget, max_params=20_000, resamples=0)
    assert not any("small-200k" in w for w in smaller.warnings)


def test_a_cap_above_the_optimum_changes_nothing(study):
    free = recommend_from(study, budget_flop=1e12)
    assert recommend_from(study, budget_flop=1e12, max_params=1e9).size == free.size


def test_a_cap_below_every_size_tried_is_refused_where_there_is_no_law():
    table = run_table(decoders=WIDE[3:], budgets=(1e10, 2e10))
    with pytest.raises(ToolkitError, match="at most 1,000 parameters was tried"):
        recommend(table, budget_flop=2e10, max_params=1000, resamples=0)


def test_more_pairs_than_there_are_warns_of_repetition(study):
    recipe = recommend_from(study, budget_flop=1e13, max_pairs=1000)
    assert recipe.data.epochs == pytest.approx(recipe.data.pairs.value / 1000)
    assert any("distinct" in w for w in recipe.warnings)
    enough = recommend_from(study, budget_flop=1e12, max_pairs=10**9)
    assert not any("distinct" in w for w in enough.warnings)


def test_diverged_runs_are_left_out_and_named():
    table = run_table(noise=0.003)
    table.loc[5, ["status", "loss", "reason"]] = ["diverged", math.nan, "loss is NaN"]
    recipe = recommend(table, budget_flop=1e12, resamples=0)
    (excluded,) = recipe.excluded
    assert excluded.count == 1
    assert excluded.runs == (f"{table['run'][5]} (diverged: loss is NaN)",)
    assert any("1 run left out" in w and table["run"][5] in w for w in recipe.warnings)


def test_budgets_counted_differently_are_never_mixed():
    table = run_table()
    paper = table.assign(flop_convention="paper", budget_flop=table["budget_flop"] * 7)
    mixed = pd.concat([table, paper.iloc[:20]], ignore_index=True)
    recipe = recommend(mixed, budget_flop=1e12, resamples=0)
    assert recipe.convention == "model" and recipe.n_runs == len(table)
    assert any("20 runs left out" in w and "paper" in w for w in recipe.warnings)
    chosen = Study.of(mixed, convention="paper", resamples=0)
    assert chosen.convention == "paper" and len(chosen.runs) == 20
    with pytest.raises(ToolkitError, match="hardware convention; this table has model and paper"):
        Study.of(mixed, convention="hardware", resamples=0)


def test_losses_over_other_candidates_are_never_compared():
    table = run_table()
    table.loc[:3, "candidates"] = 256
    recipe = recommend(table, budget_flop=1e12, resamples=0)
    assert recipe.n_tried == len(table) - 4
    assert any("candidates" in w for w in recipe.warnings)


def test_a_table_from_elsewhere_needs_four_columns_only():
    table = run_table()[["method", "params", "budget_flop", "loss"]]
    recipe = recommend(table, budget_flop=1e12, resamples=50)
    assert recipe.method == "lora" or recipe.method == "full"
    assert recipe.convention == "unstated"
    assert math.isnan(recipe.data.pairs.value)
    assert any("no tokens" in w for w in recipe.warnings)
    assert "How much data?\n  unknown" in as_text(recipe)


def test_one_size_at_one_budget_still_gets_an_answer_with_warnings():
    table = run_table(decoders=("small-38k",), budgets=(1e12,))
    recipe = recommend(table, budget_flop=1e12)
    assert recipe.size.nearest_tried.name == "small-38k"
    assert recipe.method == min(TRUTH, key=lambda m: TRUTH[m].loss(KNOWN["small-38k"].params, 1e12))
    assert any("read every number here as a guess" in w for w in recipe.warnings)
    assert as_text(recipe)


def test_a_method_without_a_law_is_not_recommended_at_a_budget_it_was_not_tried_at():
    table = run_table(noise=0)
    lucky = table[(table["method"] == "bias") & (table["budget_flop"] == BUDGETS[-1])]
    lucky = lucky.assign(loss=0.1 * lucky["loss"])
    mixed = pd.concat([table[table["method"] == "full"], lucky], ignore_index=True)
    assert recommend(mixed, budget_flop=1e12, resamples=50).method == "full"
    assert recommend(mixed, budget_flop=BUDGETS[-1], resamples=50).method == "bias"


def test_the_recipe_is_plain_json(study):
    text = json.dumps(recommend_from(study, budget_flop=1e12).to_dict(), allow_nan=False)
    values = json.loads(text)
    assert values["method"] in TRUTH
    assert values["size"]["params"]["low"] < values["size"]["params"]["value"]
    assert "draws" not in text


@pytest.mark.parametrize("name", ["budget_flop", "max_pairs", "max_params"])
@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan])
def test_limits_must_be_positive_numbers(study, name, value):
    with pytest.raises(ToolkitError, match=name):
        recommend_from(study, **{"budget_flop": 1e12, name: value})


def test_numbers_are_written_as_people_write_them():
    assert [scientific(x) for x in (3e11, 1e12, 10**12.5)] == ["3×10¹¹", "10¹²", "3.2×10¹²"]
    assert [count(x) for x in (950, 18_915_328, 85e3, 999_999, math.inf)] == [
        "950",
        "18.9M",
        "85k",
        "1M",
        "∞",
    ]


def test_written_numbers_can_be_read_again():
    for value in (3e11, 1e12, 3.2e12, 950, 18.9e6, 85e3, 2.5e9):
        assert read_number(scientific(value)) == pytest.approx(value, rel=0.05)
        assert read_number(count(value)) == pytest.approx(value)
    written = ["3e12", " 3 × 10^12", "3*10^12", "3x10¹²", "3T", "3,000,000,000,000"]
    assert [read_number(text) for text in written] == [3e12] * len(written)
    assert read_number("10^12") == 1e12


@pytest.mark.parametrize("text", ["", "lots", "-1", "0", "1e", "3×", "nan", "inf", "1e999", "k"])
def test_what_is_no_positive_number_is_refused(text):
    with pytest.raises(ToolkitError, match="not a positive number"):
        read_number(text)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    run_table(ranks=(8, 64)).to_csv(folder / "runs.csv", index=False)
    return str(folder)


def test_the_command_answers_the_four_questions(sweep, capsys):
    assert main(["recipe", sweep, "--flop", "1e12"]) == 0
    said = capsys.readouterr().out
    for question in ("How large a model?", "How much data?", "Which method?", "Which hyperp"):
        assert question in said
    assert "10¹² model FLOP" in said and "full fine-tuning" in said


def test_the_command_takes_hours_on_a_gpu_and_prints_json(sweep, capsys):
    hours = ["--gpu-hours", "1e-6", "--gpu", "H100", "--utilisation", "0.5"]
    assert main(["recipe", sweep, *hours, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["budget_flop"] == pytest.approx(989.4e12 * 0.5 * 3600 * 1e-6)
    assert values["gpu"] == "h100" and values["utilisation"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--flop"),
        (["--flop", "lots"], "--flop must be a positive number"),
        (["--flop", "-1"], "--flop must be a positive number"),
        (["--flop", "1e12", "--gpu", "h100"], "belong to --gpu-hours"),
        (["--gpu-hours", "1"], "--gpu"),
        (["--gpu-hours", "1", "--gpu", "h1000"], "did you mean h100"),
        (["--gpu-hours", "1", "--gpu", "h100", "--utilisation", "40"], "share"),
        (["--flop", "1e12", "--max-pairs", "0"], "--max-pairs"),
        (["--flop", "1e12", "--convention", "paper"], "paper convention"),
    ],
)
def test_bad_arguments_are_one_sentence(sweep, capsys, arguments, sentence):
    assert main(["recipe", sweep, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and sentence in said and said.count("\n") == 1


def test_bad_tables_are_one_sentence(tmp_path, capsys):
    good = run_table()
    bad = {
        "nothing": None,
        "empty": good.iloc[:0],
        "no-loss": good.drop(columns="loss"),
        "text": good.astype({"loss": object}).assign(loss="low"),
        "zero": good.assign(params=0),
        "all-diverged": good.assign(status="diverged"),
        "unnamed": good.assign(method=[None, *good["method"][1:]]),
    }
    for name, table in bad.items():
        path = tmp_path / f"{name}.csv"
        if table is not None:
            table.to_csv(path, index=False)
        assert main(["recipe", str(path), "--flop", "1e12"]) == 2, name
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1, name


def test_the_truth_of_a_synthetic_table_is_where_its_formula_says():
    sizes = np.geomspace(1e4, 1e6, 2001)
    for truth in TRUTH.values():
        params, _, loss = truth.optimum(1e12)
        losses = [truth.loss(size, 1e12) for size in sizes]
        assert sizes[int(np.argmin(losses))] == pytest.approx(params, rel=0.005)
        assert min(losses) == pytest.approx(loss, rel=1e-6)


def test_the_recipe_says_which_form_predicted_held_out_budgets_best():
    recipe = recommend(run_table(), budget_flop=1e13, resamples=50)
    (said,) = [note for note in recipe.notes if "held-out budgets" in note]
    assert said.startswith(f"{recipe.method}: predicting held-out budgets over 2 cuts, ")
    assert "was best (root mean square relative error: " in said
    one_budget = run_table(budgets=(1e12,))
    recipe = recommend(one_budget, budget_flop=1e12, resamples=50)
    assert not any("held-out budgets" in note for note in recipe.notes)


def test_what_to_know_about_a_decoders_weights_is_said_once():
    cuts = [f"smollm2-135m@{blocks}" for blocks in (2, 4, 8, 15, 30)]
    table = run_table(truth={"full": TRUTH["full"]}, decoders=WIDE, noise=0)
    for old, new in zip(WIDE, cuts, strict=False):
        table.loc[table["decoder"] == old, "decoder"] = new
    notes = recommend(table, budget_flop=1e12).notes
    assert sum("de-quantised" in note and "instruct-tuned" in note for note in notes) == 1

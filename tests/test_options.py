"""Attention, prefixes, negatives and the like: what did better is what the recipe runs."""

import io
import json
import shlex

import pandas as pd
import pytest
import yaml

from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.runnable import papermill_command, run_config, sweep_yaml
from toolkit.recipe.study import Study
from toolkit.recipe.tuning import NAMED
from toolkit.runs import RunConfig, fields_that
from toolkit.sweep.plan import expand
from toolkit.synthetic import TRUTH, run_table
from toolkit.words import as_text, say, setting_name

BETTER = {
    "attention": {"attention": "bidirectional"},
    "pooling": {"pooling": "last"},
    "query_prefix": {"query_prefix": "query: "},
    "positive_prefix": {"positive_prefix": "passage: "},
    "prefix_in_pooling": {"query_prefix": "query: ", "prefix_in_pooling": False},
    "negatives": {"negatives": "mined", "negatives_per_query": 3, "negative_margin": 0.05},
    "negative_column": {"negatives": "given", "negative_column": "hard"},
    "matryoshka": {"matryoshka": [8, 4]},
    "false_negative_margin": {"false_negative_margin": 0.1},
    "special_tokens": {"special_tokens": False},
    "weight_decay": {"weight_decay": 0.0},
    "warmup": {"warmup": 0.02},
    "schedule": {"schedule": "trunk", "cooldown": 0.2, "warmup_flop": 1e9},
    "lora_alpha": {"lora_alpha": 64.0},
    "lora_targets": {"lora_targets": ["query_key_value"]},
}


def study_of(*tables: pd.DataFrame) -> Study:
    """As a run table is read from its file."""
    text = pd.concat(tables, ignore_index=True).to_csv(index=False)
    return Study.of(pd.read_csv(io.StringIO(text)), draws=20)


def runs(factor: float = 1.0, method: str = "full", seeds=(0,), **columns) -> pd.DataFrame:
    table = run_table(
        truth={method: TRUTH[method]}, decoders=("small-7k", "small-38k"), seeds=seeds, noise=0.0
    )
    values = {k: json.dumps(v) if isinstance(v, list) else v for k, v in columns.items()}
    return table.assign(loss=table["loss"] * factor, **values)


def defaults(names) -> dict:
    return {name: getattr(RunConfig("small-7k", 1e9), name) for name in names}


@pytest.mark.parametrize("name", BETTER)
def test_the_value_that_won_is_named_and_in_what_the_recipe_runs(name):
    better = BETTER[name]
    method = "lora" if name.startswith("lora") else "full"
    study = study_of(runs(method=method, **defaults(better)), runs(0.9, method=method, **better))
    recipe = recommend_from(study, budget_flop=1e12)
    (option,) = [each for each in recipe.options if each.name == name]
    assert option.value == better[name] and option.gain == pytest.approx(0.1)
    assert (option.runs, option.sure) == (1, True)
    (config,) = expand(None, yaml.safe_load(sweep_yaml(recipe))["grid"])
    assert config == run_config(recipe)
    for field, value in better.items():
        assert config.to_dict()[field] == value
    (line,) = [
        line for line in as_text(recipe).splitlines() if "beats" in line and _named(line, name)
    ]
    assert "by 10.0%" in line and "one seed each" in line


def _named(line: str, name: str) -> bool:
    return line.strip().startswith(f"{setting_name(name):15} ")


def won(recipe) -> list:
    """Of the recipe's options those that beat another value."""
    return [option for option in recipe.options if option.beaten]


def test_every_setting_that_is_no_amount_is_tried_above():
    assert {n for case in BETTER.values() for n in case} == set(fields_that("setting")) - set(NAMED)


def test_the_command_has_lists_as_lists():
    study = study_of(runs(), runs(0.9, matryoshka=[8, 4]))
    words = shlex.split(papermill_command(recommend_from(study, budget_flop=1e12)))
    assert yaml.safe_load(words[words.index("-y") + 1]) == {"matryoshka": [8, 4]}


def test_a_gain_that_seeds_could_make_is_said_to_be_one():
    columns = {"attention": "bidirectional", "seeds": (0, 1)}
    study = study_of(runs(attention="causal", seeds=(0, 1)), runs(0.999, **columns))
    recipe = recommend_from(study, budget_flop=1e12)
    (option,) = won(recipe)
    assert (option.value, option.runs, option.sure) == ("bidirectional", 2, False)
    assert "no more than seeds scatter" in as_text(recipe)


def test_an_option_is_read_where_it_was_varied_nearest():
    """Bidirectional attention pays at the larger budgets alone."""
    table = runs(attention="causal")
    middle = table["budget_flop"].median()
    other = table.assign(attention="bidirectional")
    other["loss"] *= (other["budget_flop"] < middle).map({True: 1.1, False: 0.9})
    study = study_of(table, other)
    low, *_, high = study.budgets
    for budget, value in ((low, "causal"), (high, "bidirectional"), (30 * high, "bidirectional")):
        (option,) = won(recommend_from(study, budget_flop=budget))
        assert option.value == value
    notes = [say(n) for n in recommend_from(study, budget_flop=high).notes if n.kind == "option"]
    assert len(notes) == 1 and "attention bidirectional did best at" in notes[0]


def test_what_all_runs_agree_on_is_kept_where_it_is_not_the_default():
    study = study_of(runs(pooling="last").assign(max_tokens=128, temperature=0.05))
    recipe = recommend_from(study, budget_flop=1e12)
    config = run_config(recipe)
    assert (config.pooling, config.max_tokens, config.temperature) == ("last", 128, 0.05)
    assert {o.name: o.beaten for o in recipe.options}["pooling"] == ()
    assert "as in these runs" in as_text(recipe)


def test_runs_older_than_an_option_had_its_default():
    old, new = runs(), runs(seeds=(1,), attention="causal")
    study = study_of(old, new, runs(0.9, attention="bidirectional"))
    (option,) = won(recommend_from(study, budget_flop=1e12))
    assert (option.value, option.beaten) == ("bidirectional", ("causal",))


def test_an_option_that_does_not_go_with_the_others_is_not_run():
    """Wider dimensions than the decoder has; negatives' number where none are used."""
    study = study_of(runs(), runs(0.9, matryoshka=[10**4]))
    recipe = recommend_from(study, budget_flop=1e12)
    assert run_config(recipe).matryoshka is None
    study = study_of(runs(pooling="mean"), runs(0.9, pooling="cls"))
    recipe = recommend_from(study, budget_flop=1e12)
    assert won(recipe)[0].value == "cls" and run_config(recipe).pooling == "mean"


def test_options_are_plain_json():
    study = study_of(runs(), runs(0.9, matryoshka=[8, 4]), runs(0.95, query_prefix="query: "))
    values = json.loads(json.dumps(recommend_from(study, budget_flop=1e12).to_dict()))["options"]
    by_name = {value["name"]: value for value in values}
    assert by_name["matryoshka"]["value"] == [8, 4]
    assert by_name["query_prefix"]["value"] is None
    assert by_name["query_prefix"]["beaten"] == ["query: "]

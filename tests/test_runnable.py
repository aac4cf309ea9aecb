import shlex

import pytest
import yaml

from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.runnable import papermill_command, run_config, runnable, sweep_yaml
from toolkit.recipe.study import Study
from toolkit.sweep.plan import expand
from toolkit.synthetic import TRUTH, run_table


@pytest.fixture(scope="module", params=list(TRUTH))
def recipe(request):
    table = run_table(truth={request.param: TRUTH[request.param]}, ranks=(8, 64))
    study = Study.of(table, draws=50)
    return recommend_from(study, budget_flop=1.23456789e12, max_pairs=5000)


def test_the_sweep_file_is_the_recommended_run(recipe):
    body = yaml.safe_load(sweep_yaml(recipe, data="my pairs.jsonl"))
    (config,) = expand(None, body["grid"])
    assert config == run_config(recipe, data="my pairs.jsonl")
    assert (config.method, config.decoder) == (recipe.method, recipe.decoder.name)
    assert config.budget_flop == 1.235e12 and config.max_pairs == 5000
    values = {s.name: s.value for s in recipe.settings}
    assert config.lr == values["lr"] and config.batch_pairs == values["batch_pairs"]
    assert config.lora_rank == values.get("lora_rank")
    assert config.trained_blocks == values.get("trained_blocks")


def test_the_command_gives_papermill_the_same_run(recipe):
    words = shlex.split(papermill_command(recipe, data="my pairs.jsonl"))
    assert words[:3] == ["papermill", "notebooks/train.ipynb", "my-run.ipynb"]
    pairs = dict(zip(words[4::3], words[5::3], strict=True))
    assert set(words[3::3]) == {"-p"} and pairs.pop("folder") == "my-run"
    values = {name: yaml.safe_load(text) for name, text in pairs.items()}
    (config,) = expand(None, [values])
    assert config == run_config(recipe, data="my pairs.jsonl")


def test_a_method_from_elsewhere_is_not_runnable():
    table = run_table(truth={"prompt": TRUTH["full"]})
    recipe = recommend_from(Study.of(table, draws=50), budget_flop=1e12)
    assert not runnable(recipe)

"""A sweep's plan: every mistake in its file is named, and every cost is known, before it starts."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sweeps import make_sweep, write_template
from toolkit import decoders
from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig
from toolkit.sweep.plan import cost, expand, makespan, read_plan
from toolkit.sweep.preflight import validate
from toolkit.sweep.templates import Template

PAPER = Path(__file__).parent.parent / "runs" / "paper"
TWO = "  - {budget_flop: [1e9, 2e9]}"


def test_each_entry_is_every_combination_of_its_lists_over_the_base():
    configs = expand(
        {"decoder": "small-7k", "seed": [0, 1]},
        [
            {"method": ["full", "bias"], "budget_flop": ["1e9", 2e9]},
            {"method": "lora", "lora_rank": [4, 8], "budget_flop": 1e9, "seed": 5},
        ],
    )
    assert len(configs) == 2 * 2 * 2 + 2
    assert {config.seed for config in configs if config.method == "lora"} == {5}


def test_the_same_run_twice_is_one_run():
    entry = {"decoder": "small-7k", "budget_flop": [1e9, "1e9", 1000000000]}
    assert len(expand({}, [entry, entry])) == 1


def test_lora_targets_are_one_list_of_names_or_several():
    entry = {"decoder": "d", "budget_flop": 1e9, "method": "lora"}
    one = expand({}, [{**entry, "lora_targets": ["dense", "query_key_value"]}])
    several = expand({}, [{**entry, "lora_targets": [["dense"], ["query_key_value"], None]}])
    assert [config.lora_targets for config in one] == [("dense", "query_key_value")]
    assert [c.lora_targets for c in several] == [("dense",), ("query_key_value",), None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("workers: true\ngrid: [{decoder: d, budget_flop: 1}]", "workers has the bad value True"),
        ("workers: 1.5\ngrid: [{decoder: d, budget_flop: 1}]", "workers must be a whole number"),
        ("workers: two\ngrid: [{decoder: d, budget_flop: 1}]", "workers must be a whole number"),
        ("gird: []", "unknown key 'gird'; did you mean grid"),
        ("grid: []", "at least one mapping"),
        ("grid: {a: 1}", "grid must be a list"),
        ("- 1", "a sweep file is a mapping"),
        ("", "a sweep file is a mapping"),
        ("grid: [{decoder: d, bugdet_flop: 1}]", "grid entry 1: .*did you mean budget_flop"),
        ("grid: [{decoder: d, budget_flop: 1}, 3]", "grid entry 2 must be a mapping"),
        ("grid: [{decoder: d, budget_flop: []}]", "empty list"),
        ("grid: [{decoder: d}]", "a run needs budget_flop"),
        ("grid: [{decoder: d, budget_flop: 1, lora_rank: 4}]", "belongs to method lora"),
        ("base: 3\ngrid: [{decoder: d}]", "base must be a mapping"),
        ("grid: [{decoder: d, decoder: e}]", "'decoder' is given twice"),
        ("grid: [\n", "not valid YAML"),
        ("grid: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("title: [1]\ngrid: [{decoder: d, budget_flop: 1}]", "title must be text"),
        ("workers: 0\ngrid: [{decoder: d, budget_flop: 1}]", "workers must be a whole number"),
        ("template: ../x.ipynb\ngrid: [{decoder: d, budget_flop: 1}]", "unknown template"),
        (f"grid: [{{decoder: d, budget_flop: 1, seed: {list(range(1000))}, max_pairs: "
         f"{list(range(1, 1000))}}}]", "at most 100,000 runs"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named_with_its_place(tmp_path, text, words):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ToolkitError, match=words) as caught:
        read_plan(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "sweep.yaml"))
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_sweep_says_what_a_sweep_is(tmp_path):
    with pytest.raises(ToolkitError, match=r"a sweep is a folder with a sweep\.yaml"):
        read_plan(tmp_path / "nowhere")


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "sweep.yaml").write_bytes(b"title: \xff")
    with pytest.raises(ToolkitError, match="cannot be read"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{decoder: small-8k, budget_flop: 1e9}", "did you mean small-"),
        ("{method: lora, lora_rank: 17, budget_flop: 1e9}", "over the width 16"),
        ("{method: freeze, trained_blocks: 3, budget_flop: 1e9}", "only 2 blocks"),
        ("{budget_flop: 1e6, batch_pairs: 64}", "under one step of 64 pairs"),
    ],
)
def test_an_impossible_run_is_refused_before_any_starts(tmp_path, entry, words):
    plan = make_sweep(tmp_path, f"  - {entry}")
    with pytest.raises(ToolkitError, match=words):
        validate(plan)


def test_a_template_that_lacks_a_parameter_is_refused(tmp_path):
    plan = make_sweep(tmp_path, TWO)
    path = write_template(tmp_path / "other.ipynb", parameters="decoder = None; folder: str = ''")
    with pytest.raises(ToolkitError, match="has no parameter attention, batch_pairs, budget_flop"):
        validate(replace(plan, template=Template(path)))


def test_cost_is_the_budget_in_the_models_convention():
    config = RunConfig("pythia-160m", 1e15, flop_convention="model")
    assert cost(config).flop == pytest.approx(1e15)
    paper = cost(replace(config, flop_convention="paper"))
    # Attention and the loss are left out of the paper's count.
    assert 1.0e15 < paper.flop < 1.1e15
    step = 6 * 85_056_000 * 1024 * (21 + 70)
    assert paper.steps == 1e15 // step


@pytest.mark.process
def test_the_studys_own_grid_is_planned_without_torch_or_a_download():
    code = (
        "import sys; from toolkit.sweep.plan import read_plan, cost;"
        "plan = read_plan(sys.argv[1]); costs = [cost(config) for config in plan.configs];"
        "print(len(costs), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, PAPER], capture_output=True, text=True)
    assert done.stdout.split() == ["486", "False"], done.stderr
    configs = read_plan(PAPER).configs
    assert len({config.decoder for config in configs}) == 8
    assert len({config.budget_flop for config in configs}) == 6
    assert {c.lora_rank for c in configs if c.method == "lora"} == {8, 32, 128, 512, 2048}
    assert max(c.budget_flop for c in configs) == 1.5e18
    whole = {
        c.decoder
        for c in configs
        if c.trained_blocks == decoders.KNOWN[c.decoder].shape.layers and c.method == "freeze"
    }
    assert whole == {c.decoder for c in configs}  # freezing with all blocks active, at every size
    assert {c.lr for c in configs} == {None}  # the defaults are the study's


def test_the_last_run_ends_when_the_longest_are_started_first():
    assert makespan([4, 3, 3, 2], 2) == 6
    assert makespan([5], 8) == 5
    assert makespan([], 2) == 0


def test_the_number_of_workers_is_read_like_every_number(tmp_path):
    for text, number in (("2", 2), ("2.0", 2), ("'1e1'", 10), ("null", None)):
        (tmp_path / "sweep.yaml").write_text(
            f"workers: {text}\ngrid: [{{decoder: small-7k, budget_flop: 1e9}}]"
        )
        assert read_plan(tmp_path).workers == number


def test_a_plan_counts_on_no_more_workers_than_there_are_runs_as_the_sweep_does(tmp_path, capsys):
    plan = make_sweep(tmp_path, "  - {budget_flop: [1e9, 2e9], batch_pairs: 16}\n")
    asked = ["plan", str(tmp_path), "--template", str(plan.template.path), "--json"]
    for workers, used in ((1, 1), (2, 2), (64, 2)):
        assert main([*asked, "--workers", str(workers)]) == 0
        assert json.loads(capsys.readouterr().out)["cpu_workers"] == used

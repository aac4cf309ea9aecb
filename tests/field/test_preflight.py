"""What is in the way of runs is told before the first step, all of it at once; and whose fault."""

import json
import shutil
from dataclasses import replace

import pytest
import yaml

from tests.field.decoders import decoder
from tests.sweeps import make_sweep
from toolkit import cli
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.runs import RunConfig
from toolkit.sweep.attempt import _is_from_outside
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.plan import read_plan
from toolkit.sweep.preflight import check_run, problems, validate

GRID = "  - {budget_flop: [1e9, 2e9]}"


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(cache))


def sweep(folder, **base):
    plan = {"base": {"decoder": "small-7k", "budget_flop": 1e9, **base}, "grid": [{"seed": [0, 1]}]}
    folder.mkdir(exist_ok=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plan))
    return folder


def bad_decoder(folder, missing):
    decoder(folder)
    for path in folder.glob(missing):
        path.unlink()
    return str(folder)


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({"data": "nowhere.jsonl"}, "data file nowhere.jsonl does not exist"),
        ({"data": "pairs.docx"}, "unknown data"),
        ({"data": "bad.jsonl"}, "bad.jsonl, line 2"),
        ({"data": "few.jsonl", "candidates": 64}, "64 held-out candidates are asked for"),
        ({"data": "few.jsonl", "candidates": 2, "batch_pairs": 512}, "a batch needs 512 pairs"),
        ({"decoder": "./gone"}, "decoder folder ./gone does not exist"),
        ({"decoder": "weightless"}, "has no weights in safetensors format"),
        ({"decoder": "wordless"}, "has no tokenizer"),
    ],
)
def test_a_sweep_that_cannot_start_is_refused_before_it_does(
    tmp_path, monkeypatch, capsys, command, base, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"query": "q", "positive": "p"}\n{"query": 3}\n')
    rows = [json.dumps({"query": f"query {i}", "positive": f"answer {i}"}) for i in range(200)]
    (tmp_path / "few.jsonl").write_text("\n".join(rows))
    bad_decoder(tmp_path / "weightless", "*.safetensors")
    bad_decoder(tmp_path / "wordless", "tokenizer*")
    folder = sweep(tmp_path / "s", **base)
    assert cli.main([command, str(folder)]) == 2
    assert words in capsys.readouterr().err
    assert not list(folder.glob("runs/*/failure.json"))


def test_everything_in_the_way_is_told_at_once_and_of_how_many_runs(tmp_path):
    text = (
        "grid:\n"
        "  - {decoder: small-7k, budget_flop: [1e9, 2e9], data: nowhere.jsonl}\n"
        "  - {decoder: ./gone, budget_flop: 1e9}\n"
        "  - {decoder: small-7k, budget_flop: 1e3}\n"
    )
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(ToolkitError) as caught:
        validate(read_plan(tmp_path))
    said = str(caught.value)
    assert "3 things are in the way" in said
    assert "and 1 more: data file nowhere.jsonl" in said
    assert "./gone does not exist" in said and "under one step" in said


def test_a_folder_that_cannot_be_written_in_is_known_to_the_plan(tmp_path, monkeypatch):
    plan = make_sweep(tmp_path, GRID)
    with pytest.raises(SurroundingsError, match="cannot write in /proc/nowhere"):
        validate(replace(plan, folder=type(plan.folder)("/proc/nowhere")))


def test_one_run_is_told_all_that_is_in_its_way(tmp_path):
    (tmp_path / "mine").touch()
    config = RunConfig("small-7k", 1e9, data="nowhere.jsonl")
    with pytest.raises(ToolkitError) as caught:
        check_run(config, "/dev/null/run", tmp_path)
    said = str(caught.value)
    assert "3 things are in the way" in said
    for words in ("nowhere.jsonl", "cannot write in /dev/null/run", "is not empty"):
        assert words in said


def test_pairs_are_counted_once(tmp_path, monkeypatch, pairs_file):
    config = RunConfig("small-7k", 1e9, data=str(pairs_file), candidates=16, batch_pairs=16)
    assert problems(config) == []
    monkeypatch.setattr("toolkit.pairs.split.read_pairs", lambda *_: pytest.fail("read again"))
    assert problems(config) == []


@pytest.mark.process
@pytest.mark.parametrize(
    ("cause", "name"),
    [
        ("open('nowhere.jsonl')", "interrupted"),
        ("raise PermissionError(13, 'Permission denied')", "interrupted"),
        ("raise OSError(28, 'No space left on device')", "interrupted"),
        ("from toolkit.pairs.sources import read_pairs; read_pairs('nowhere.csv')", "interrupted"),
        ("raise ValueError('a mistake of its own')", "failed"),
        ("from toolkit.runs import RunConfig; RunConfig('d', -1)", "failed"),
    ],
)
def test_a_failure_of_the_surroundings_is_not_the_runs_own(tmp_path, cause, name):
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}", cause)
    states = run_sweep(plan, workers=1, warm=False).states
    assert [state.name for state in states] == [name]
    assert states[0].reason
    mended = read_plan(tmp_path, make_sweep(tmp_path, "  - {budget_flop: 1e9}").template.path)
    again = run_sweep(mended, workers=1, warm=False)
    assert again.started == (1 if name == "interrupted" else 0)


def test_a_weight_file_that_went_is_the_surroundings_affair(tmp_path):
    folder = decoder(tmp_path / "d")
    config = RunConfig(str(folder), 1e9)
    shutil.rmtree(folder)
    (error,) = problems(replace(config, decoder=f"{tmp_path}/d"))
    assert type(error) is SurroundingsError and _is_from_outside(error)

"""`make bench` runs every benchmark that keeps its promise to be run so."""

import importlib
import inspect
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_each_benchmark_is_run_or_says_how_it_is_run(script):
    known = script("run").known()
    assert {"step", "encode", "recipe", "sweep"} <= set(known)
    for path in BENCHMARKS.glob("bench_*.py"):
        name = path.stem.removeprefix("bench_")
        if name in known:
            wanted = inspect.signature(script(path.stem).measure).parameters.values()
            assert all(each.default is not each.empty for each in list(wanted)[1:]), name
        else:
            assert f"python benchmarks/{path.name}" in path.read_text(), name


@pytest.mark.process
def test_encode_gives_entries_with_the_same_vectors(script):
    encode = script("bench_encode")
    told = encode.compare("small-7k", 64, 1, "float32")
    assert told["apart"] < 1e-5
    assert told["ratio"] > 0

"""`make bench` runs every benchmark that keeps its promise to be run so."""

import importlib
import inspect
import json
import re
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


def test_rows_take_the_place_of_older_ones_of_the_same_device_alone(script, monkeypatch, tmp_path):
    run = script("run")
    monkeypatch.setattr(run, "LATEST", tmp_path / "latest.json")

    def row(benchmark, device, ours):
        return {"benchmark": benchmark, "device": device, "ours": ours}

    for rows in (
        [row("step", "an EPYC", 1), row("step", "an EPYC", 2)],
        [row("step", "a Xeon, avx512_bf16, products 2.1 times as fast as in float32", 0)],
        [row("step", "a Xeon, avx512_bf16, products 2.2 times as fast as in float32", 3)],
        [row("laws", "an EPYC", 4)],
        [row("step", "an EPYC", 5)],
    ):
        run.keep(rows)
    kept = json.loads(run.LATEST.read_text())
    assert [each["ours"] for each in kept] == [3, 4, 5]


@pytest.mark.process
def test_encode_gives_entries_with_the_same_vectors(script):
    encode = script("bench_encode")
    told = encode.compare("small-7k", 64, 1, "float32")
    assert told["apart"] < 1e-5
    assert told["ratio"] > 0


@pytest.mark.parametrize(
    "goal, met",
    [
        ("at least 1.7", False),
        ("at least 1.69", True),
        ("at most 1", False),
        ("ours at most 1 s", True),
        ("for information: at equal memory", None),
    ],
)
def test_a_row_says_whether_its_goal_is_met(script, goal, met):
    row = script("entry").entry("seconds", [0.8, 0.9], [0.5, 0.5], goal, [1.6, 1.78])
    assert row["ratio"]["median"] == pytest.approx(1.69)
    assert script("entry").met(row) is met


@pytest.mark.parametrize(
    "flags, speedup, words",
    [
        ({"avx2"}, 0.1, "no bfloat16"),
        ({"avx512_bf16"}, 0.5, "avx512_bf16, but products only 0.5 times .* float32 is taken"),
        ({"avx512_bf16"}, 2.1, "avx512_bf16, products 2.1 times as fast"),
    ],
)
def test_a_row_says_what_the_processor_makes_of_bfloat16(
    script, monkeypatch, flags, speedup, words
):
    machine = script("entry").machine
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset(flags))
    monkeypatch.setattr(machine, "bfloat16_speedup", lambda: speedup)
    machine.multiplies_bfloat16.cache_clear()
    try:
        assert re.search(words, script("entry").device())
    finally:
        machine.multiplies_bfloat16.cache_clear()

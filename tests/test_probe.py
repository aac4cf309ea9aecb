"""On a machine that has never trained, a few timed steps stand in for the runs that it lacks."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from tests.sweeps import make_sweep, record
from toolkit import decoders, hardware
from toolkit.cli import main
from toolkit.contrast import bodies
from toolkit.decoders.untrained import untrained
from toolkit.runs import RunConfig
from toolkit.sweep import footprint, probe, throughput, timing
from toolkit.sweep.plan import RunCost, cost, seen_here
from toolkit.sweep.prediction import Prediction
from toolkit.sweep.throughput import Seen, Throughput

GRID = [
    RunConfig(decoder, budget, method=method, batch_pairs=16)
    for decoder in ("small-15k", "small-7k")
    for method in ("full", "bias")
    for budget in (6e10, 5.4e11)
]
FOUND = Throughput((Seen(9488, "full", "float32", 16, 4e9),), probe_seconds=4.0)


def priced(configs) -> dict[RunConfig, RunCost]:
    return {config: cost(config) for config in configs}


@pytest.fixture
def worthwhile(monkeypatch):
    """A short probe, however little there is to do."""
    monkeypatch.setattr(probe, "WORTH", 0.0)
    monkeypatch.setattr(probe, "SECONDS", 1.0)
    monkeypatch.setattr(probe, "PATIENCE", 300.0)
    monkeypatch.setattr(hardware, "visible_gpus", lambda: ())


def test_each_size_method_and_batch_is_tried_once_the_fastest_steps_first():
    found = probe.trials(priced(GRID), 1)
    tried = [(trial.config.decoder, trial.config.method) for trial in found]
    assert len(tried) == 4 and set(tried) == {(c.decoder, c.method) for c in GRID}
    assert tried[0] == ("small-7k", "bias") and tried[-1] == ("small-15k", "full")
    assert {trial.batch_pairs for trial in found} == {16}


def test_of_too_many_some_are_tried_from_the_fastest_to_the_slowest(monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 60.0)
    configs = [RunConfig("small-7k", 1e12, batch_pairs=16 + n) for n in range(60)]
    pairs = [trial.batch_pairs for trial in probe.trials(priced(configs), 1)]
    assert len(pairs) == 24 and pairs == sorted(pairs)
    assert (pairs[0], pairs[-1]) == (16, 75)


def test_a_step_that_takes_long_is_tried_with_fewer_pairs_or_not_at_all():
    some = RunConfig("small-1.2m", 1e15, batch_pairs=1024), RunConfig("pythia-1b", 1e19)
    (only,) = probe.trials(priced(some), 1)
    assert only.config == some[0] and 16 <= only.batch_pairs < 1024
    assert only.seconds <= probe.SECONDS


def test_what_does_not_fit_in_memory_as_often_as_there_are_workers_is_left_out(monkeypatch):
    config = RunConfig("small-7k", 1e12, batch_pairs=16)
    peak = footprint.peak_bytes(config, decoders.find("small-7k").shape, 1500, 1e9)
    monkeypatch.setattr(
        probe.psutil, "virtual_memory", lambda: SimpleNamespace(available=2.5 * peak)
    )
    assert probe.trials(priced([config]), 2)
    assert not probe.trials(priced([config]), 4)


@pytest.mark.parametrize(("mean", "most"), [(71, 75), (24, 75), (38, 75), (75, 75), (1, 8)])
def test_texts_have_the_mean_length_of_the_pairs_own(mean, most):
    lengths = timing.text_lengths(mean, most, 20_000, np.random.default_rng(0))
    assert lengths.min() >= 1 and lengths.max() <= most
    assert lengths.mean() == pytest.approx(mean, rel=0.02)


def test_a_batch_has_the_runs_pairs_and_hard_negatives():
    config = RunConfig("small-7k", 1e12, negatives="mined", negatives_per_query=3)
    queries, positives, negatives = timing.batch(config, decoders.find("small-7k"), 8, seed=0)
    assert [len(side) for side in (queries, positives, negatives)] == [8, 8, 24]
    assert queries.lengths.sum() < positives.lengths.sum()


@pytest.mark.parametrize("name", ["small-7k", "pythia-14m@1", "smollm2-135m@1"])
def test_an_untrained_decoder_has_the_shape_of_the_real_one(name):
    decoder = decoders.find(name)
    model = untrained(decoder)
    assert sum(p.numel() for p in model.parameters()) == decoder.shape.encoder_params
    assert not model.training
    assert type(bodies.body_of(model)).__name__ == (
        "HubBody" if name.startswith("smollm2") else "NeoxBody"
    )


def test_an_untrained_decoder_of_ones_own_is_made_from_its_folder():
    decoder = decoders.find(str(decoders.SUITE_FOLDER / "small-3k"))
    model = untrained(decoder, bidirectional=True)
    real = decoders.load(decoder)
    shapes = [tuple(p.shape) for p in real.parameters()]
    assert [tuple(p.shape) for p in model.parameters()] == shapes
    assert model.config.is_causal is False


@pytest.mark.parametrize("method", ["full", "freeze", "lora", "bias"])
def test_steps_of_any_method_are_timed(method):
    config = RunConfig("small-7k", 1e12, method=method, lora_rank=2 if method == "lora" else None)
    seen = timing.timed(config, 4, 0.0)
    params = decoders.find("small-7k").params
    assert (seen.params, seen.method, seen.batch_pairs) == (params, method, 4)
    assert seen.precision in ("float32", "bfloat16") and not seen.padded
    assert 0 < seen.rate < math.inf


def test_a_rate_is_flop_over_seconds(monkeypatch):
    ticks = iter([0.0, 0.5, 1.0, 2.0, 2.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    assert timing._rate(lambda number: SimpleNamespace(model=100), 1.5) == 300 / 2.0


@pytest.mark.process
def test_a_probe_tells_the_rates_of_all_workers_and_says_what_it_is(worthwhile):
    found = probe.probe(priced(GRID), 2)
    assert {(seen.params, seen.method) for seen in found.seen} == {
        (decoders.find(trial.config.decoder).params, trial.config.method)
        for trial in probe.trials(priced(GRID), 2)
    }
    assert found.source.startswith("a probe of ")
    first = found.seen[0]
    assert found.rate(first.params, first.method, "auto", 16) == first.rate


def test_workers_agree_on_the_median_and_a_trial_that_failed_tells_nothing():
    seen = [Seen(1, "full", "float32", 16, rate) for rate in (1.0, 5.0, 3.0)]
    assert timing._middle([*seen, None]).rate == 3.0
    assert timing._middle([None, None]) is None
    impossible = RunConfig("small-7k", 1e12, method="lora", lora_targets=("nothing",))
    assert timing._each([(impossible.to_dict(), 16)], 0.0) == [None]


@pytest.mark.process
@pytest.mark.parametrize("body", ["exit 1", "echo '{'", "echo '[{}]'", "sleep 60", "echo '[null]'"])
def test_a_probe_that_fails_or_hangs_leaves_the_guess(body, worthwhile, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{body}\n")
    python.chmod(0o755)
    monkeypatch.setattr(probe.sys, "executable", str(python))
    monkeypatch.setattr(probe, "PATIENCE", 0.5)
    assert probe.probe(priced(GRID), 1) == Throughput()


_LONG = """
from toolkit.runs import RunConfig
from toolkit.sweep import probe
probe.SECONDS = 600.0
probe._asked([probe.Trial(RunConfig("small-7k", 1e12), 4, 0.1)], 2)
"""


@pytest.mark.process
@pytest.mark.parametrize("members", [1, 3])
def test_a_probe_dies_with_who_asked_for_it_however_he_dies(members):
    """While it imports torch, and when its two workers are at work."""
    asker = subprocess.Popen([sys.executable, "-c", _LONG])
    try:
        family = []
        while len(family) < members:
            assert asker.poll() is None
            time.sleep(0.2)
            family = psutil.Process(asker.pid).children(recursive=True)
    finally:
        asker.kill()
        asker.wait()
    _, alive = psutil.wait_procs(family, timeout=20)
    for process in alive:
        process.kill()
    assert not alive


def test_little_work_and_gpus_are_not_probed(monkeypatch):
    asked = []
    monkeypatch.setattr(probe, "_asked", lambda trials, workers: asked.append(trials) or FOUND.seen)
    monkeypatch.setattr(hardware, "visible_gpus", lambda: ())
    monkeypatch.setattr(probe, "WORTH", 60.0)
    assert probe.probe(priced([RunConfig("small-7k", 1e9)]), 1) == Throughput()
    assert probe.probe({}, 1) == Throughput()
    assert not asked
    assert probe.probe(priced(GRID), 1).seen == FOUND.seen
    monkeypatch.setattr(hardware, "visible_gpus", lambda: ("0",))
    monkeypatch.setattr(probe.machine, "gpu_names", lambda: ["NVIDIA H9"])
    assert probe.probe(priced(GRID), 1) == Throughput()
    assert len(asked) == 1


def test_runs_of_this_machine_go_before_a_probe_and_a_probe_before_runs_elsewhere(monkeypatch):
    monkeypatch.setattr("toolkit.sweep.plan.expected_device", lambda workers: "here")
    config = RunConfig("small-7k", 1e10)
    here, there = (SimpleNamespace(record=record(config, hardware=x)) for x in ("here", "there"))
    assert seen_here([there], 1, lambda: FOUND) == FOUND
    assert seen_here([here, there], 1, lambda: pytest.fail("probed")).source == "1 finished runs"
    assert seen_here([there], 1, Throughput).source == "1 finished runs"


def test_a_sweeps_prediction_has_the_probe_in_it():
    (config,) = GRID[:1]
    prices = priced([config])
    told = Prediction.of(FOUND, prices, [[config]], 1)
    assert told.seconds == pytest.approx(4.0 + prices[config].seconds(FOUND))


def test_a_plan_says_that_its_rate_is_of_a_probe(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("toolkit.commands.plan.probe", lambda prices, workers: FOUND)
    plan = make_sweep(tmp_path, "  - {budget_flop: [1e9, 2e9], batch_pairs: 16}\n")
    asked = ["plan", str(tmp_path), "--template", str(plan.template.path)]
    assert main(asked) == 0
    assert "(rate from a probe of 4.0 s)" in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["cpu_rates_from"] == "a probe of 4.0 s"
    assert throughput.known(throughput.expected_device(1)) == Throughput()

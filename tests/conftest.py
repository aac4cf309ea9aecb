"""Shared fixtures: a small file of pairs that a small decoder can learn in seconds."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

# One thread keeps sums in one order, and the tests from fighting over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder of the tests' own; mined docstrings stay in the project's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def at_hand():
    """A browser: without one a test is skipped, and on the project's own machine fails."""
    import chromium

    if chromium.programs() is None:
        pytest.fail(chromium.MISSING) if os.environ.get("CI") else pytest.skip(chromium.MISSING)


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    """600 pairs in which query and answer share a rare word: easy to learn, not trivial."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for i in range(600):
            word = f"{i * 7919 % 10_007:05d}"
            pair = {"query": f"return item {word}", "positive": f"def get_{word}(self): # {i % 9}"}
            file.write(json.dumps(pair) + "\n")
    return path


@pytest.fixture
def easy(pairs_file, cache, monkeypatch):
    """Run parameters for a run of some twenty steps on the easy pairs with small-7k."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(cache))
    return {
        "decoder": "small-7k",
        "budget_flop": 4e8,
        "data": str(pairs_file),
        "batch_pairs": 16,
        "candidates": 16,
        "lr": 3e-3,
    }


@pytest.fixture(scope="session")
def fit_once():
    """`Study.of`, which fits the law of the same runs once for all tests."""
    from toolkit.recipe.study import EVERY_DRAW, Study

    fit, usual, fitted = Study.of, {"convention": None, "draws": EVERY_DRAW, "seed": 0}, []

    def of(table, **how):
        how = usual | how
        for known, settings, study in fitted:
            if how == settings and table.equals(known) and table.attrs == known.attrs:
                return study
        fitted.append((table.copy(), how, fit(table, **how)))
        return fitted[-1][2]

    return of


@pytest.fixture
def fitted_once(fit_once, monkeypatch):
    """Whoever asks for a study of runs that were fitted before gets that one, commands too."""
    monkeypatch.setattr("toolkit.recipe.study.Study.of", fit_once)


# `make quick` leaves out what is marked `process` or `slow`; what starts a process there, or takes
# this many seconds of the processor (whatever else the machine does), has lost its mark.
QUICK_SECONDS = 10.0

TOOLS = {"git", "fc-list"}  # Over in milliseconds: asked where a run is recorded, and for fonts.
_started: list[str] = []


def _watch(event: str, arguments: tuple) -> None:
    if event == "subprocess.Popen":
        program = Path(os.fsdecode(arguments[0] or arguments[1][0])).name
        if program not in TOOLS:
            _started.append(program)
    elif event in ("os.fork", "os.posix_spawn"):
        _started.append(event)


sys.addaudithook(_watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    _started.clear()
    item.begun = time.process_time()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    quick = "not process" in item.config.option.markexpr
    if quick and call.when == "teardown" and report.passed:
        taken = time.process_time() - item.begun
        if _started:
            _fail(report, f"starts {', '.join(sorted(set(_started)))}: mark it `process`")
        elif taken > QUICK_SECONDS and "not slow" in item.config.option.markexpr:
            _fail(report, f"takes {taken:.0f} s of the processor: mark it `slow`")
    return report


def _fail(report, words):
    report.outcome, report.longrepr = "failed", words


@pytest.fixture(autouse=True)
def forgetful(tmp_path_factory, monkeypatch):
    """Runs of tests teach the machine's memory of its speed nothing, and nothing probes it."""
    path = tmp_path_factory.mktemp("throughput") / "throughput.json"
    monkeypatch.setattr("toolkit.sweep.throughput.FILE", str(path))
    monkeypatch.setattr("toolkit.sweep.probe.WORTH", float("inf"))

"""Disasters of a kind: a full disk, a clock that jumps, a long run killed on its way."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sweeps import WRITE, make_sweep, write_template
from toolkit.errors import ToolkitError
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.sweep import execution as sweep
from toolkit.sweep.attempt import attempt
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.folders import RunFolder
from toolkit.sweep.kernels import KernelHost

pytestmark = pytest.mark.process

TWO = "  - {budget_flop: [1e9, 2e9]}"

# In a namespace of its own, so that no rights are needed: a disk of half a megabyte, almost full.
SMALL_DISK = """
set -e
mount -t tmpfs -o size=600k tmpfs "$1/sweep"
cp "$1/sweep.yaml" "$1/template.ipynb" "$1/sweep/"
head -c 1000k /dev/zero > "$1/sweep/filler" 2>/dev/null || true
"$2" -m toolkit sweep "$1/sweep" --template "$1/sweep/template.ipynb" --workers 1 2>&1 || true
echo ---
rm "$1/sweep/filler"
"$2" -m toolkit sweep "$1/sweep" --template "$1/sweep/template.ipynb" --workers 1
cat "$1/sweep/runs.csv"
"""


def can_mount() -> bool:
    test = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(test, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="this system lets nobody mount a small disk")
def test_a_full_disk_is_a_sentence_and_afterwards_the_sweep_goes_on(tmp_path):
    (tmp_path / "sweep").mkdir()
    make_sweep(tmp_path, TWO)
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", SMALL_DISK, "-", str(tmp_path), sys.executable],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    full, _, after = done.stdout.partition("---\n")
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in full and "Traceback" not in full
    assert "2 finished" in after and after.count(",finished,") == 2


def test_a_table_that_cannot_be_written_is_a_sentence_and_loses_no_run(tmp_path, monkeypatch):
    plan = make_sweep(tmp_path, TWO)

    def full(path, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sweep, "write_atomically", full)
        with pytest.raises(ToolkitError, match="No space left on device"):
            run_sweep(plan)
    finished = [state.name for state in plan.states()].count("finished")
    summary = run_sweep(plan)
    assert summary.ok and summary.started == 2 - finished


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 1e9)
    body = "time.time = lambda: -1e9\n" + WRITE
    plan = make_sweep(tmp_path, TWO, body)
    assert run_sweep(plan).ok
    for path in tmp_path.rglob("*"):
        os.utime(path, (4e9, 4e9))  # All files are from the next century.
    assert [state.name for state in plan.states()] == ["finished"] * 2
    again = run_sweep(plan)
    assert again.ok and again.started == 0 and again.seconds >= 0


LONG = """
from toolkit.training.run import train

def show(point):
    with open(Path(folder, "steps"), "a") as file:
        print(point.step, file=file)
    marks = len(list(Path(folder).glob("killed-*")))
    if killed and point.step % 5 == 4 and marks < 3:
        Path(folder, f"killed-{marks}").touch()
        os.kill(os.getpid(), (9, 15, 2)[marks])
        time.sleep(60)

train(config, Path(folder), progress=show, checkpoint_seconds=0.0)
"""


@pytest.fixture(scope="module")
def host():
    """A kernel host for training, shared by the tests, as importing takes its time."""
    with KernelHost(("peft", "toolkit.training.run")) as host:
        yield host


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_long_run_killed_on_its_way_ends_as_if_it_had_not_been(easy, tmp_path, method, host):
    config = RunConfig.from_dict({**easy, "method": method})
    results = {}
    for killed in (False, True):
        template = write_template(tmp_path / f"{killed}.ipynb", f"killed = {killed}\n{LONG}")
        folder = RunFolder(tmp_path / f"run-{killed}", config)
        names = [attempt(folder, template, host).name]
        while names[-1] == "interrupted":
            names.append(attempt(folder, template, host).name)
        assert names == [*["interrupted"] * (3 if killed else 0), "finished"]
        record = replace(read_record(folder.record, config), seconds=0.0)
        results[killed] = record, len((folder.path / "steps").read_text().split())
    # The same record to the bit, and no step done again but the one that was not yet saved.
    assert results[True][0] == results[False][0]
    assert results[True][1] <= results[False][1] + 3

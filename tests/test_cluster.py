"""A sweep on dask workers: lost workers cost time and nothing else."""

import contextlib
import os
import random
import subprocess
import sys
import uuid

import psutil
import pytest

from tests.processes import MARK, marked, within
from tests.sweeps import WRITE, make_sweep
from toolkit.errors import ToolkitError
from toolkit.sweep import cluster
from toolkit.sweep.execution import run_sweep
from toolkit.tables import read_table

pytestmark = pytest.mark.process

SIX = "  - {method: [full, bias], budget_flop: [1e9, 2e9, 3e9]}"
# An attempt notes that it was made and on which worker.
NOTED = """
with open(Path(folder, "attempts"), "a") as file:
    print(os.getpid(), file=file)
time.sleep(0.4)
"""


@pytest.fixture(autouse=True)
def mark(monkeypatch):
    """Marks all processes of a test, which must leave no kernel nor its host behind."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    yield mark
    assert within(5.0, lambda: not kernels(mark))


def kernels(mark: str) -> list[psutil.Process]:
    """Kernel hosts and, forked from them, kernels."""
    found = []
    for process in marked(mark):
        with contextlib.suppress(psutil.Error):
            if "toolkit.sweep.kernel_host" in process.cmdline():
                found.append(process)
    return found


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler and two workers, each a process of its own, on the loopback.

    Yields its address and the three processes, the scheduler first.
    """
    file = tmp_path / "scheduler.json"
    dask, place = f"{sys.executable} -m distributed.cli.dask_", f"--scheduler-file {file}"
    own = f"--nthreads 1 --no-nanny --resources GPU=1 --local-directory {tmp_path / 'dask'}"

    def start(command):
        return subprocess.Popen([*command.split(), "--no-dashboard"], stderr=subprocess.DEVNULL)

    processes = [start(f"{dask}scheduler --host 127.0.0.1 --port 0 {place}")]
    try:
        from distributed import Client

        assert within(60, file.exists)
        processes += [start(f"{dask}worker {place} {own}") for _ in range(2)]
        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, processes
    finally:
        for process in processes[::-1]:
            process.kill()
            process.wait()


def test_workers_of_a_scheduler_run_a_sweep_and_one_may_die(tmp_path, scheduler):
    address, processes = scheduler
    plan = make_sweep(tmp_path / "sweep", SIX, NOTED + WRITE)
    killed = []

    def kill_one(state):
        if not killed:
            killed.append(processes[1].kill())

    summary = run_sweep(plan, cluster=address, resources={"GPU": 1}, ended=kill_one)
    assert summary.ok and len(read_table(plan.folder)) == 6
    attempts = [
        len((plan.run_folder(config).path / "attempts").read_text().split())
        for config in plan.configs
    ]
    # The worker's death cost at most the run that it was at.
    assert sum(attempts) <= 7


def test_killing_local_workers_leaves_the_table_of_an_undisturbed_sweep(tmp_path, mark):
    undisturbed = make_sweep(tmp_path / "undisturbed", SIX)
    plan = make_sweep(tmp_path / "sweep", SIX, NOTED + WRITE)
    dice, kills = random.Random(1), []

    def kill(state):
        """Kill a worker: a parent of kernels or of their host that is neither itself."""
        found = kernels(mark)
        workers = {process.ppid() for process in found} - {process.pid for process in found}
        if len(kills) < 3 and workers:
            kills.append(dice.choice(sorted(workers)))
            os.kill(kills[-1], 9)

    assert run_sweep(plan, workers=2, cluster="local", ended=kill).ok and len(kills) == 3
    assert run_sweep(undisturbed).ok
    texts = [(each.folder / "runs.csv").read_text() for each in (plan, undisturbed)]
    assert texts[0] == texts[1]


def test_a_notebooks_own_failure_is_not_retried_but_a_killed_kernel_is(tmp_path):
    body = NOTED + (
        "if config.budget_flop == 1e9: raise ValueError('its own')\n"
        "if Path(folder, 'attempts').read_text().count('\\n') == 1: os.kill(os.getpid(), 9)\n"
    )
    plan = make_sweep(tmp_path, "  - {budget_flop: [1e9, 2e9]}", body + WRITE)
    summary = run_sweep(plan, workers=1, cluster="local")
    assert summary.counts == {"finished": 1, "failed": 1}
    counts = {
        config.budget_flop: (plan.run_folder(config).path / "attempts").read_text().count("\n")
        for config in plan.configs
    }
    assert counts == {1e9: 1, 2e9: 2}


@pytest.mark.parametrize("signum", [2, 9])
def test_when_the_sweep_goes_its_kernels_go(tmp_path, scheduler, signum):
    address, _ = scheduler
    plan = make_sweep(tmp_path / "s", "  - {budget_flop: [1e9, 2e9]}", "time.sleep(600)\n" + WRITE)
    command = f"-m toolkit sweep {plan.folder} --cluster {address} --template {plan.template.path}"
    sweep = subprocess.Popen([sys.executable, *command.split()])

    def names():
        return [state.name for state in plan.states()]

    assert within(60, lambda: names() == ["running"] * 2)
    os.kill(sweep.pid, signum)
    assert sweep.wait(30) == (130 if signum == 2 else -9)
    assert within(30, lambda: names() == ["interrupted"] * 2)


def test_a_scheduler_that_dies_is_a_sentence_and_loses_no_run(tmp_path, scheduler):
    address, processes = scheduler
    plan = make_sweep(tmp_path / "sweep", SIX, NOTED + WRITE)
    with pytest.raises(ToolkitError, match=r"scheduler at .* is gone"):
        run_sweep(plan, cluster=address, ended=lambda state: processes[0].kill())
    finished = [state.name for state in plan.states()].count("finished")
    assert finished >= 1
    assert within(30, lambda: "running" not in [state.name for state in plan.states()])
    summary = run_sweep(plan)
    assert summary.ok and summary.started <= 6 - finished


def test_a_scheduler_that_does_not_answer_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    plan = make_sweep(tmp_path, SIX)
    with pytest.raises(ToolkitError, match="no dask scheduler answers at"):
        run_sweep(plan, cluster="127.0.0.1:1")

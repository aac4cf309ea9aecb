"""A sweep: executed notebook by notebook, resumed, and judged by its records alone."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from tests.sweeps import WRITE, make_sweep, record
from toolkit.errors import ToolkitError
from toolkit.records import read_record, table_csv
from toolkit.sweep import attempt as attempts
from toolkit.sweep import locks
from toolkit.sweep.execution import run_sweep
from toolkit.tables import read_table
from toolkit.text import duration

pytestmark = pytest.mark.process

SIX = "  - {method: [full, bias], budget_flop: [1e9, 2e9, 3e9]}"
TWO = "  - {budget_flop: [1e9, 2e9]}"


def states(plan):
    return {state.config.budget_flop: state for state in plan.states()}


def write_record(plan, config, **changes):
    folder = plan.run_folder(config)
    folder.prepare()
    folder.record.write_text(record(config, **changes).to_json())
    return folder


# Executing


def test_a_sweep_leaves_records_notebooks_and_a_table(tmp_path):
    plan = make_sweep(tmp_path / "a {folder} with 'quotes' and ü", SIX)
    seen = []
    summary = run_sweep(plan, workers=2, ended=seen.append)
    assert summary.ok and summary.started == 6 and summary.counts == {"finished": 6}
    assert {state.config for state in seen} == set(plan.configs)
    for config in plan.configs:
        folder = plan.run_folder(config)
        assert read_record(folder.record, config).status == "finished"
        notebook = json.loads(folder.notebook.read_text())
        assert "injected-parameters" in str(notebook["cells"])
        assert not folder.running_notebook.exists() and not folder.failure.exists()
    table = read_table(plan.folder)
    assert len(table) == 6 and set(table["status"]) == {"finished"}
    records = [state.record for state in plan.states()]
    assert (plan.folder / "runs.csv").read_text() == table_csv(records)


def test_a_complete_sweep_does_nothing_and_mends_its_table(tmp_path):
    plan = make_sweep(tmp_path, TWO)
    for config in plan.configs:
        write_record(plan, config)
    (tmp_path / "runs.csv").write_text("dam")
    summary = run_sweep(plan)
    assert summary.ok and summary.started == 0 and summary.seconds < 1
    assert len(read_table(tmp_path)) == 2


def test_a_complete_sweep_is_quick_and_needs_no_torch(tmp_path):
    plan = make_sweep(tmp_path, TWO)
    for config in plan.configs:
        write_record(plan, config)
    code = (
        "import sys; from toolkit.cli import main; status = main(['sweep', sys.argv[1]]);"
        "heavy = {'torch', 'papermill', 'pandas', 'jupyter_client'} & set(sys.modules);"
        "sys.exit(status or bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0 and "nothing to do: 2 finished" in done.stdout, done.stderr


def test_only_what_is_missing_runs(tmp_path):
    plan = make_sweep(tmp_path, TWO)
    write_record(plan, plan.configs[0], loss=0.125)
    summary = run_sweep(plan)
    assert summary.started == 1 and summary.ok
    assert states(plan)[1e9].record.loss == 0.125


def test_a_damaged_record_is_named_moved_aside_and_done_again(tmp_path):
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}")
    folder = write_record(plan, plan.configs[0])
    damaged = folder.record.read_text()[:-40]
    folder.record.write_text(damaged)
    (state,) = plan.states()
    assert state.name == "interrupted" and str(folder.record) in state.reason
    assert run_sweep(plan).ok
    assert (folder.path / "record.damaged-1.json").read_text() == damaged


def test_a_record_of_another_configuration_is_never_used(tmp_path):
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}")
    folder = write_record(plan, plan.configs[0])
    other = record(replace(plan.configs[0], seed=9), loss=0.001)
    folder.record.write_text(other.to_json())
    assert run_sweep(plan).ok
    assert states(plan)[1e9].record.loss != 0.001


def test_a_diverged_run_is_a_result_and_listed(tmp_path):
    body = "record = replace(record, status='diverged', reason='loss is NaN', loss=float('nan'))\n"
    plan = make_sweep(tmp_path, TWO, "from dataclasses import replace\n" + body + WRITE)
    summary = run_sweep(plan)
    assert summary.ok and summary.counts == {"diverged": 2}
    assert states(plan)[1e9].reason == "loss is NaN"
    assert list(read_table(tmp_path)["status"]) == ["diverged"] * 2


# Papermill's lies, each planted: what is not on record did not happen.

LIES = {
    "an exception": ("raise ValueError('too bad')", "ValueError: too bad"),
    "a mistake with a sentence": (
        "from toolkit.errors import ToolkitError\nraise ToolkitError('no such data')",
        "no such data",
    ),
    "an exit that looks clean": ("import sys; sys.exit(0)", "ended without writing a record"),
    "a kernel that exits": ("os._exit(0)", "kernel exited with status 0"),
    "a kernel that crashes": ("os.kill(os.getpid(), 11)", "kernel crashed with SIGSEGV"),
    "nothing written": ("pass", "ended without writing a record"),
    "a wrong folder": (
        "folder += '-elsewhere'; os.makedirs(folder)\n" + WRITE,
        "ended without writing a record",
    ),
    "another run's record": (
        "from dataclasses import replace\n"
        "record = replace(record, config=replace(config, seed=77))\n" + WRITE,
        "belongs to another configuration",
    ),
    "a truncated record": (
        'Path(folder, "record.json").write_text(record.to_json()[:-30])',
        "is not a whole run record",
    ),
    "a record without a loss": (
        "from dataclasses import replace\nrecord = replace(record, loss=float('nan'))\n" + WRITE,
        "without a finite loss",
    ),
}


@pytest.fixture(scope="module")
def liars(tmp_path_factory):
    """A sweep of which each run tells one of the lies, and what was said of it."""
    tales = [body for body, _ in LIES.values()]
    grid = f"  - {{budget_flop: 1e9, seed: {list(range(len(LIES)))}}}"
    plan = make_sweep(tmp_path_factory.mktemp("liars"), grid, f"exec({tales!r}[config.seed])")
    return plan, run_sweep(plan)


@pytest.mark.parametrize("number", range(len(LIES)), ids=list(LIES))
def test_a_lie_is_reported_as_a_failure(liars, number):
    plan, summary = liars
    told, found = summary.states[number], plan.states()[number]
    assert told.config.seed == number
    assert [*LIES.values()][number][1] in told.reason
    assert (found.name, found.reason) == (told.name, told.reason) == ("failed", told.reason)


def test_no_lie_gets_into_the_table(liars):
    plan, summary = liars
    assert not summary.ok and summary.counts == {"failed": len(LIES)}
    assert len(read_table(plan.folder)) == 0


def test_a_cell_that_runs_too_long_is_a_failure(tmp_path):
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}", "time.sleep(60)\n" + WRITE)
    summary = run_sweep(plan, timeout=1)
    assert summary.counts == {"failed": 1} and "timed out" in summary.states[0].reason


def test_a_failed_run_is_not_tried_again_unless_asked(tmp_path):
    body = "if not Path(folder, 'mended').exists(): raise ValueError('broken')\n" + WRITE
    plan = make_sweep(tmp_path, TWO, body)
    assert run_sweep(plan).counts == {"failed": 2}
    again = run_sweep(plan)
    assert again.started == 0 and not again.ok
    for config in plan.configs:
        (plan.run_folder(config).path / "mended").touch()
    assert run_sweep(plan, retry_failed=True).counts == {"finished": 2}


def test_one_failure_does_not_stop_the_others_unless_asked(tmp_path):
    body = "if config.budget_flop == 3e9: raise ValueError('broken')\n" + WRITE
    plan = make_sweep(tmp_path / "a", SIX, body)
    assert run_sweep(plan).counts == {"finished": 4, "failed": 2}
    plan = make_sweep(tmp_path / "b", SIX, body)
    summary = run_sweep(plan, workers=1, fail_fast=True)
    assert summary.stopped and summary.counts == {"failed": 1, "planned": 5}


def test_a_kernel_killed_from_outside_is_interrupted_and_resumed(tmp_path):
    body = "if not Path(folder, 'seen').exists():\n Path(folder, 'seen').touch()\n "
    body += "os.kill(os.getpid(), (1, 2, 9, 15)[config.seed]); time.sleep(60)\n" + WRITE
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9, seed: [0, 1, 2, 3]}", body)
    summary = run_sweep(plan)
    assert summary.counts == {"interrupted": 4} and not summary.ok
    assert run_sweep(plan).counts == {"finished": 4}


def test_a_full_disk_in_a_run_is_no_fault_of_the_run(tmp_path):
    body = "raise OSError(28, 'No space left on device')"
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}", body)
    assert run_sweep(plan).counts == {"interrupted": 1}


def test_parameters_arrive_exactly(tmp_path, monkeypatch):
    # Its texts stand in for every text: as data none of them would be let through.
    monkeypatch.setattr("toolkit.sweep.preflight._check_data", lambda config: None)
    nasty = [
        "quote ' double \" back \\ slash",
        "line\nbreak\ttab\r\x00\x07",
        "ünïcödé 漢字 🎉 \u2028",
        "{decoder} {{}} {folder}",
        '"""\nraise SystemExit\n"""',
        "'); __import__('os').system('touch HACKED'); ('",
        '"; __import__("os").system("touch HACKED"); x = "',
        "$(touch HACKED) `touch HACKED` %run HACKED\n!touch HACKED\n%%bash\ntouch HACKED",
    ]
    body = "Path(folder, 'seen.json').write_text(json.dumps(config.to_dict()))\n" + WRITE
    plan = make_sweep(tmp_path, TWO, "import json\n" + body)
    configs = [
        *(replace(plan.configs[0], data=text) for text in nasty),
        replace(plan.configs[0], lr=1e-300, temperature=0.1 + 0.2, max_pairs=2**60),
        replace(plan.configs[0], method="lora", lora_targets=("dense",), lr=5e-324),
    ]
    plan = replace(plan, configs=tuple(configs))
    summary = run_sweep(plan, workers=2)
    assert summary.counts == {"finished": len(configs)}, [s.reason for s in summary.states]
    for config in configs:
        seen = json.loads((plan.run_folder(config).path / "seen.json").read_text())
        assert seen == config.to_dict()
    assert not list(tmp_path.rglob("HACKED")) and not os.path.exists("HACKED")


def test_a_run_folder_that_is_a_link_is_not_followed(tmp_path):
    plan = make_sweep(tmp_path / "sweep", "  - {budget_flop: 1e9}")
    (tmp_path / "elsewhere").mkdir()
    folder = plan.run_folder(plan.configs[0])
    folder.path.parent.mkdir()
    folder.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ToolkitError, match="is a link"):
        run_sweep(plan)
    assert not list((tmp_path / "elsewhere").iterdir())


# One sweep at a time


def test_a_second_sweep_says_who_holds_the_first(tmp_path):
    plan = make_sweep(tmp_path, TWO)
    (tmp_path / "runs").mkdir()
    with (
        locks.hold(tmp_path / "runs" / "lock"),
        pytest.raises(ToolkitError, match=f"being run by process {os.getpid()} on"),
    ):
        run_sweep(plan)
    assert run_sweep(plan).ok


def test_a_lock_of_a_dead_process_is_no_lock(tmp_path):
    plan = make_sweep(tmp_path, TWO)
    (tmp_path / "runs").mkdir()
    code = (
        "import os, sys; from pathlib import Path; from toolkit.sweep import locks\n"
        "with locks.hold(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "runs" / "lock"])
    assert json.loads((tmp_path / "runs" / "lock").read_text())["pid"] > 0
    assert run_sweep(plan).ok


def test_a_run_that_another_kernel_ends_meanwhile_is_not_done_again(tmp_path):
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}", "raise ValueError('done again')")
    folder = plan.run_folder(plan.configs[0])
    folder.prepare()
    held = locks.hold(folder.lock)
    held.__enter__()

    def end():
        folder.record.write_text(record(folder.config, loss=0.125).to_json())
        held.__exit__(None, None, None)

    assert plan.states()[0].name == "running"
    threading.Timer(1.0, end).start()
    summary = run_sweep(plan)
    assert summary.ok and summary.states[0].record.loss == 0.125


def test_a_run_held_by_another_process_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(attempts, "_LOCK_PATIENCE", 0.2)
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}")
    folder = plan.run_folder(plan.configs[0])
    folder.prepare()
    folder.running_notebook.write_text("theirs")
    with locks.hold(folder.lock):
        summary = run_sweep(plan)
    assert "held by process" in summary.states[0].reason
    assert not folder.failure.exists() and folder.running_notebook.read_text() == "theirs"


# States


def test_each_state_has_its_evidence(tmp_path):
    plan = make_sweep(tmp_path, "  - {budget_flop: [1e9, 2e9, 3e9, 4e9, 5e9, 6e9]}")
    planned, running, interrupted, failed, diverged, finished = plan.configs
    write_record(plan, finished)
    write_record(plan, diverged, status="diverged", reason="loss is NaN", loss=float("nan"))
    for config in (running, interrupted, failed):
        plan.run_folder(config).prepare()
    plan.run_folder(failed).fail("ValueError: no", 12.5)
    with locks.hold(plan.run_folder(running).lock):
        names = [state.name for state in plan.states()]
    assert names == ["planned", "running", "interrupted", "failed", "diverged", "finished"]
    state = states(plan)[failed.budget_flop]
    assert (state.reason, state.seconds) == ("ValueError: no", 12.5)
    assert planned in plan.configs


def test_a_damaged_failure_note_leaves_the_run_to_be_done_again(tmp_path):
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}")
    folder = plan.run_folder(plan.configs[0])
    folder.prepare()
    folder.fail("broken", 1.0)
    folder.failure.write_text(folder.failure.read_text()[:-9])
    assert plan.states()[0].name == "interrupted"


# The command line


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "toolkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        **options,
    )


def test_the_commands_tell_one_story(tmp_path):
    body = "if config.budget_flop == 2e9: raise ValueError('broken')\n" + WRITE
    plan = make_sweep(tmp_path, TWO, body)
    template = ("--template", plan.template.path)
    planned = command("plan", tmp_path, *template, "--gpu", "h100", "--json")
    facts = json.loads(planned.stdout)
    assert (facts["planned"], facts["ended"], len(facts["runs"])) == (2, 0, 2)
    assert facts["flop_model"] == 3e9
    assert facts["gpu_hours_left"]["h100"] == pytest.approx(3e9 / (989.4e12 * 0.4) / 3600)

    swept = command("sweep", tmp_path, *template)
    assert swept.returncode == 1 and "1 finished, 1 failed" in swept.stdout
    assert "[2/2]" in swept.stderr and "ValueError: broken" in swept.stdout

    told = command("status", tmp_path)
    assert told.returncode == 0 and "failed full-small-7k-2e+09" in told.stdout
    facts = json.loads(command("status", tmp_path, "--json").stdout)
    assert facts["states"] == {"finished": 1, "failed": 1}
    assert facts["flop_model_spent"] == 1e9 and facts["flop_model_left"] == 2e9
    assert facts["cpu_workers"] == 1  # One run is left, whatever the cores.
    assert f"1 at a time: about {duration(facts['seconds_left'])} (rate from " in told.stdout
    assert facts["holder"] is None


def test_a_mistake_is_a_sentence_and_status_2(tmp_path):
    for name in ("plan", "sweep", "status"):
        done = command(name, tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("error: no sweep at")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("signum", [2, 15])
def test_a_signal_ends_a_sweep_in_good_order(tmp_path, signum):
    plan = make_sweep(tmp_path, TWO, "if config.budget_flop == 2e9: time.sleep(60)\n" + WRITE)
    sweep = subprocess.Popen(
        [sys.executable, "-m", "toolkit", "sweep", tmp_path, "--template", plan.template.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and states(plan)[1e9].name != "finished":
        time.sleep(0.1)
    sweep.send_signal(signum)
    out, err = sweep.communicate(timeout=30)
    assert sweep.returncode == 130, err
    assert "1 finished, 1 interrupted" in out and "the sweep was stopped" in out
    assert "Traceback" not in err and len(read_table(tmp_path)) == 1


def test_a_sweep_leaves_no_file_open(tmp_path):
    """Hundreds of notebooks would run into the limit on open files, 1,024 on many systems."""
    plan = make_sweep(tmp_path / "first", "  - {budget_flop: 1e9}")
    assert run_sweep(plan, workers=1).ok  # What is opened once, for good.
    before = len(os.listdir("/proc/self/fd"))
    body = "if config.seed: os.kill(os.getpid(), 9)\n" + WRITE
    plan = make_sweep(tmp_path / "second", "  - {budget_flop: 1e9, seed: [0, 1, 2]}", body)
    assert run_sweep(plan, workers=1).counts == {"finished": 1, "interrupted": 2}
    assert len(os.listdir("/proc/self/fd")) <= before

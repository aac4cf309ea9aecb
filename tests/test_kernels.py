"""Warm kernels: isolated processes with truthful exit codes that die with their sweep."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from jupyter_core.utils import run_sync

from tests.processes import alive, within
from toolkit.sweep import locks
from toolkit.sweep.kernels import KernelHost

pytestmark = pytest.mark.process


@pytest.fixture(params=[True, False], ids=["warm", "cold"])
def host(request):
    with KernelHost(("json",), warm=request.param) as host:
        yield host


@contextlib.contextmanager
def session(host, tmp_path, **options):
    """A kernel and a function that runs code in it and gives back what it printed."""
    with host.kernel(tmp_path / "log", **options) as manager:
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=60)

        def run(code: str) -> str:
            printed = []

            def keep(message):
                if message["msg_type"] == "stream":
                    printed.append(message["content"]["text"])

            run_sync(client.execute_interactive)(code, output_hook=keep, timeout=60)
            return "".join(printed).strip()

        yield manager, run
        client.stop_channels()


def gone(pid: int) -> bool:
    return within(5.0, lambda: not alive(pid))


def test_a_kernel_is_a_process_of_its_own_and_remembers_nothing(host, tmp_path):
    pids = set()
    for _ in range(2):
        with session(host, tmp_path) as (manager, run):
            assert run("print('kept' in globals())") == "False"
            run("import json; kept = 1; json.kept = 1")
            assert run("print(json.kept)") == "1"
            pids.add(int(run("import os; print(os.getpid())")))
            assert manager.process.pid in pids
    assert len(pids) == 2 and os.getpid() not in pids
    assert all(gone(pid) for pid in pids)


def test_a_kernel_has_the_environment_folder_and_log_it_was_given(host, tmp_path):
    where = tmp_path / "a folder"
    where.mkdir()
    with session(host, tmp_path, cwd=where, env={"COLOUR": "grün"}) as (_, run):
        assert run("import os; print(os.environ['COLOUR'], os.getcwd())") == f"grün {where}"
        assert run("print(os.environ['OMP_NUM_THREADS'])") == "1"
        run("import sys; print('to the log', file=sys.__stderr__, flush=True)")
    assert "COLOUR" not in os.environ


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_the_exit_code_names_the_signal(host, tmp_path, number):
    with session(host, tmp_path) as (manager, _):
        assert manager.process.poll() is None
        manager.process.send_signal(number)
        assert manager.process.wait(10) == -number


def test_the_exit_code_is_the_kernels_own(host, tmp_path):
    with host.kernel(tmp_path / "log") as manager:
        client = manager.client()
        client.start_channels()
        run_sync(client.wait_for_ready)(timeout=60)
        client.execute("import os; os._exit(7)")
        assert manager.process.wait(10) == 7
        client.stop_channels()


def test_an_interrupt_reaches_the_cell(host, tmp_path):
    with session(host, tmp_path) as (manager, run):
        code = "import time\ntry:\n time.sleep(60)\nexcept KeyboardInterrupt:\n print('stopped')"
        threading.Timer(0.7, lambda: manager.process.send_signal(signal.SIGINT)).start()
        begin = time.monotonic()
        assert run(code) == "stopped"
        assert time.monotonic() - begin < 30


def test_a_lock_is_held_as_long_as_the_kernel_lives(host, tmp_path):
    lock = tmp_path / "lock"
    with contextlib.ExitStack() as stack:
        with locks.hold(lock) as descriptor:
            stack.enter_context(session(host, tmp_path, held=[descriptor]))
        assert locks.is_held(lock)
    assert not locks.is_held(lock)


def test_what_a_kernel_started_ends_with_it(host, tmp_path):
    with session(host, tmp_path) as (_, run):
        code = "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid)"
        child = int(run(code))
        assert alive(child)
    assert gone(child)


def test_the_host_has_one_thread_to_fork_from(tmp_path):
    with KernelHost(("pandas", "no.such.module")) as host, session(host, tmp_path) as (_, run):
        assert run("import sys; print('pandas' in sys.modules)") == "True"
        names = {task.read_text().strip() for task in Path(f"/proc/{host.pid}/task").glob("*/comm")}
        # jemalloc, in pyarrow, stops its own thread around a fork.
        assert len(names - {"jemalloc_bg_thd"}) == 1


def test_killing_the_host_kills_its_kernels_and_the_next_kernel_gets_a_new_host(tmp_path):
    with KernelHost() as host:
        with session(host, tmp_path) as (manager, _):
            first = host.pid
            os.kill(first, signal.SIGKILL)
            assert manager.process.wait(10) == -signal.SIGKILL
            assert gone(manager.process.pid)
        with session(host, tmp_path) as (_, run):
            assert run("print('alive')") == "alive"
            assert host.pid != first


@pytest.mark.parametrize("warm", [True, False])
def test_no_process_outlives_a_sweep_that_is_killed(tmp_path, warm):
    script = f"""
import sys, time
from pathlib import Path
from toolkit.sweep.kernels import KernelHost
with KernelHost(warm={warm}) as host, host.kernel(Path({str(tmp_path / "log")!r})) as kernel:
    print(kernel.process.pid, host.pid or kernel.process.pid, host.folder, flush=True)
    time.sleep(600)
"""
    sweep = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    kernel, host, folder = sweep.stdout.readline().split()
    kernel, host = int(kernel), int(host)
    assert alive(kernel) and alive(host)
    sweep.kill()
    sweep.wait()
    sweep.stdout.close()
    # Cold kernels look for their parent once a second.
    assert gone(kernel) and gone(host)
    assert not warm or not Path(folder).exists()


def test_closing_leaves_no_process_and_no_file(tmp_path):
    host = KernelHost()
    with session(host, tmp_path) as (manager, _):
        host.close()
        assert gone(manager.process.pid)
    assert not host.folder.exists()

"""A sweep on a dask cluster: one run is one task, in a notebook process on some worker.

The scheduler knows tasks and workers, the run folders know the truth: they lie on a file system
that all workers share, and a run has ended when its record is there, whatever a worker says.

A worker that is lost, or a kernel that is killed on it, is no fault of the run: it goes to another
worker and on from its own checkpoint. A notebook that fails for a reason of its own has failed.
When the sweep goes away, its tasks are cancelled and their kernels killed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from toolkit import hardware
from toolkit.errors import ToolkitError
from toolkit.records import ENDED
from toolkit.runs import RunConfig
from toolkit.sweep.folders import RunFolder, RunState
from toolkit.sweep.templates import Template

if TYPE_CHECKING:
    from toolkit.sweep.kernels import KernelHost

MOST_TRIES = 10  # Of one run in one sweep, for reasons that are not its own.
CONNECT_SECONDS = 20
_WATCH_SECONDS = 0.5
_SHARED_FOLDER_SECONDS = 30.0  # A network file system may show a new file late.


class Cluster:
    """Executes runs on dask workers; it has the face of `toolkit.sweep.execution.Crew`.

    Args:
        address: `local` for processes of this machine, else a scheduler's, as tcp://host:8786.
        template: What the runs execute; on the shared file system.
        workers: Local only: worker processes, one notebook each.
        warm, fail_fast, timeout: As in `Crew`.
        resources: What each run needs of its worker, such as {"GPU": 1}.
    """

    def __init__(
        self,
        address: str,
        template: Template,
        workers: int,
        *,
        warm: bool = True,
        fail_fast: bool = False,
        timeout: float | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> None:
        self.address = address
        self.template = template
        self.workers = workers
        self.warm = warm
        self.fail_fast = fail_fast
        self.timeout = timeout
        self.resources = dict(resources or {})
        self.stopped = threading.Event()
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Cluster:
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise ToolkitError(
                "a cluster needs dask: pip install 'decoders-to-encoders[cluster]'"
            ) from error
        # A lost worker costs a run one of its tries, and a few of them must not be the end of it.
        self._stack.enter_context(
            dask.config.set({"distributed.scheduler.allowed-failures": MOST_TRIES})
        )
        address: Any = self.address
        if address == "local":
            address = self._stack.enter_context(
                LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    resources=self.resources or None,
                    memory_limit=0,  # It would watch the worker, but the memory is the kernels'.
                    dashboard_address=None,
                    silence_logs=50,
                )
            )
        try:
            self._client = self._stack.enter_context(Client(address, timeout=CONNECT_SECONDS))
        except (OSError, ValueError) as error:
            self._stack.close()
            raise ToolkitError(f"no dask scheduler answers at {self.address}: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        with contextlib.suppress(Exception):  # The cluster may be gone, and its hosts with it.
            self._client.run(close_idle_hosts)
        self._stack.close()

    def work(self, folders: Sequence[RunFolder]) -> Iterator[RunState]:
        """Attempt the runs, the first ones first. Yields what came of each that was begun.

        Raises:
            ToolkitError: The scheduler is gone.
        """
        from distributed.comm import CommClosedError

        gone = ToolkitError(
            f"the dask scheduler at {self.address} is gone; what has finished is kept, "
            "so run the sweep again when there is one"
        )
        try:
            for state in self._work(folders):
                if state is None:
                    raise gone
                yield state
        except CommClosedError as error:  # Told so by a call, where not by a task.
            raise gone from error

    def _work(self, folders: Sequence[RunFolder]) -> Iterator[RunState | None]:
        """As `work`; None says that the scheduler has cancelled what it was not asked to."""
        self._pending: dict[Any, tuple[RunFolder, int]] = {}
        for place, folder in enumerate(folders):
            self._submit(folder, priority=-place, tries=1)
        while self._pending:
            future = self._done.get()
            if future == "stop":
                self._cancel(list(self._pending))
                continue
            if future.cancelled() and not self.stopped.is_set():
                yield None
            folder, tries = self._pending.pop(future)
            state = self._state(future, folder)
            if state.name == "interrupted" and tries < MOST_TRIES and not self.stopped.is_set():
                self._submit(folder, priority=1, tries=tries + 1)
            elif state.name != "planned":
                yield state
            if self.fail_fast and state.name == "failed":
                self.stopped.set()
                waiting = [f for f, (x, _) in self._pending.items() if x.state().name != "running"]
                self._cancel(waiting)

    def stop(self) -> None:
        """Cancel what runs, which kills its kernels; `work` then comes to its end."""
        self.stopped.set()
        self._done.put("stop")

    def _submit(self, folder: RunFolder, *, priority: int, tries: int) -> None:
        future = self._client.submit(
            run_task,
            str(folder.path),
            folder.config.to_dict(),
            folder.keep,
            str(self.template.path.resolve()),
            str(Path.cwd()),
            self.warm,
            self.timeout,
            key=f"{folder.config.run_id}-{uuid.uuid4().hex[:8]}",
            priority=priority,
            resources=self.resources or None,
            pure=False,
        )
        self._pending[future] = (folder, tries)
        future.add_done_callback(self._done.put)

    def _cancel(self, futures: list[Any]) -> None:
        if futures:
            self._client.cancel(futures, force=True)

    def _state(self, future: Any, folder: RunFolder) -> RunState:
        """What became of a run, from its folder; the task's answer only adds the reason."""
        if future.status != "finished":
            words = "the sweep was stopped" if future.cancelled() else f"{future.exception()!r}"
            state = _wait(folder, lambda name: name != "running", 4 * _WATCH_SECONDS)
            if state.ended or state.name in ("planned", "failed"):
                return state
            return RunState(folder.config, "interrupted", words, seconds=state.seconds)
        name, reason, seconds = future.result()
        state = _wait(folder, lambda seen: seen in (name, *ENDED), _SHARED_FOLDER_SECONDS)
        if state.ended or state.name == name:
            return state
        reason = reason or "no record of it is to be seen"
        return RunState(folder.config, "interrupted", reason, seconds=seconds)


def _wait(folder: RunFolder, wanted: Callable[[str], bool], seconds: float) -> RunState:
    """A run's state as soon as it is a wanted one, or as it is after so many seconds."""
    deadline = time.monotonic() + seconds
    while not wanted((state := folder.state()).name) and time.monotonic() < deadline:
        time.sleep(0.05)
    return state


# On a worker.

_hosts: dict[tuple[str, bool], KernelHost] = {}
_hosts_lock = threading.Lock()


def run_task(
    folder: str,
    config: dict[str, Any],
    keep: bool,
    template: str,
    cwd: str,
    warm: bool,
    timeout: float | None,
) -> tuple[str, str, float]:
    """Attempt a run on the worker that this is called on.

    Returns:
        The name, reason and lost seconds of its state; the record is in its folder.
    """
    from distributed import get_worker

    from toolkit.sweep.attempt import attempt
    from toolkit.sweep.kernels import KernelHost

    worker = get_worker()
    with _hosts_lock:
        host = _hosts.get((template, warm))
        if host is None or host.closed:
            preload = Template(Path(template)).imports() if warm else ()
            # Dask's nanny sets it to 1, as there may be many workers on a machine.
            threads = int(os.environ.get("OMP_NUM_THREADS", 1))
            host = _hosts[template, warm] = KernelHost(preload, threads=threads, warm=warm)
    with _killed_when_cancelled(worker, host):
        state = attempt(
            RunFolder(Path(folder), RunConfig.from_dict(config), keep),
            Path(template),
            host,
            cwd=Path(cwd),
            env=_gpu(worker),
            timeout=timeout,
        )
    return state.name, state.reason, state.seconds


def close_idle_hosts() -> None:
    """End the worker's kernel hosts that no run is using: they hold some memory."""
    with _hosts_lock:
        for key, host in list(_hosts.items()):
            if host.idle:
                host.close()
                del _hosts[key]


def _gpu(worker: Any) -> dict[str, str]:
    """The worker's own GPU, where local workers, numbered from 0, share several."""
    gpus = hardware.visible_gpus()
    if len(gpus) < 2 or not isinstance(worker.name, int):
        return {}
    return {"CUDA_VISIBLE_DEVICES": gpus[worker.name % len(gpus)]}


@contextlib.contextmanager
def _killed_when_cancelled(worker: Any, host: KernelHost) -> Iterator[None]:
    """Kill the host's kernels when the scheduler takes the task back: the sweep is gone.

    Dask cannot end a thread; it only marks its task. A worker with several threads loses all
    their kernels, and the runs of another sweep among them are tried again.
    """
    from distributed.worker import thread_state

    key = thread_state.key
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH_SECONDS):
            task = worker.state.tasks.get(key)
            if task is None or task.state not in ("executing", "long-running"):
                host.close()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()

"""A sweep's execution: one papermill notebook a run, several at a time, on warm kernels.

Papermill runs in threads of this process. What takes time is the kernels, which are processes of
their own, so the interpreter lock is no bottleneck; and the one thing that papermill's threads
share is the working folder, which is never changed here (its `cwd` option is not thread-safe: a
kernel is started in its folder instead).
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from toolkit import hardware
from toolkit.errors import ToolkitError
from toolkit.records import table_csv
from toolkit.sweep import keeping, locks, trunks
from toolkit.sweep.folders import STATES, RunFolder, RunState
from toolkit.sweep.plan import Plan, costs, seen_here
from toolkit.sweep.prediction import Prediction
from toolkit.sweep.preflight import validate
from toolkit.sweep.probe import probe
from toolkit.sweep.templates import Template
from toolkit.sweep.throughput import Throughput
from toolkit.sweep.workers import workers_for
from toolkit.writing import write_atomically

if TYPE_CHECKING:
    from toolkit.sweep.cluster import Cluster
    from toolkit.sweep.kernels import KernelHost

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Summary:
    """What a call of `run_sweep` came to.

    Attributes:
        states: Of every run of the plan, at the end.
        started: Runs that this call worked on.
        seconds: Wall time of the call.
        stopped: By a signal, or at the first failure as asked.
        prediction: What it was to take; None where nothing was left to do.
    """

    states: tuple[RunState, ...]
    started: int
    seconds: float
    stopped: bool
    prediction: Prediction | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Runs in each state that occurs, finished first."""
        counted = Counter(state.name for state in self.states)
        return {name: counted[name] for name in reversed(STATES) if counted[name]}

    @property
    def ok(self) -> bool:
        """Whether every run has a result; a diverged one has."""
        return all(state.ended for state in self.states)


class Crew:
    """Threads of this process that each execute one notebook at a time.

    Args:
        template: What the runs execute.
        workers: Notebooks at a time.
        warm: Fork kernels from a warm host.
        fail_fast: Start nothing more after the first failure.
        timeout: Seconds that one cell may take.
    """

    def __init__(
        self,
        template: Template,
        workers: int,
        *,
        warm: bool = True,
        fail_fast: bool = False,
        timeout: float | None = None,
    ) -> None:
        from toolkit.sweep.kernels import KernelHost

        self.template = template
        self.workers = workers
        self.fail_fast = fail_fast
        self.timeout = timeout
        self.stopped = threading.Event()
        # SimpleQueue alone may be used in a signal's handler.
        self._ended: SimpleQueue[RunState | str] = SimpleQueue()
        threads = max(1, hardware.cpu_cores() // workers)
        preload = template.imports() if warm else ()
        self._host: KernelHost = KernelHost(preload, threads=threads, warm=warm)

    def __enter__(self) -> Crew:
        self._host.start()  # It imports while this process imports papermill.
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._host.close()

    def work(self, folders: Sequence[RunFolder]) -> Iterator[RunState]:
        """Attempt the runs in this order. Yields what came of each that was begun."""
        todo: SimpleQueue[RunFolder | None] = SimpleQueue()
        for folder in folders:
            todo.put(folder)
        gpus = hardware.visible_gpus()
        places: Iterator[str | None] = cycle(gpus or [None])
        for _ in range(self.workers):
            todo.put(None)
            threading.Thread(target=self._worker, args=(todo, next(places)), daemon=True).start()
        working = self.workers
        while working:
            item = self._ended.get()
            if isinstance(item, RunState):
                yield item
            elif item == "stop":
                self._host.close()
            else:
                working -= 1

    def stop(self) -> None:
        """Kill what runs; `work` then comes to its end."""
        self.stopped.set()
        self._ended.put("stop")

    def _worker(self, todo: SimpleQueue[RunFolder | None], gpu: str | None) -> None:
        from jupyter_core.utils import ensure_event_loop

        from toolkit.sweep.attempt import attempt

        env = {"CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else {}
        try:
            while (folder := todo.get()) is not None and not self.stopped.is_set():
                state = attempt(
                    folder,
                    self.template.path,
                    self._host,
                    env=env,
                    timeout=self.timeout,
                )
                self._ended.put(state)
                if self.fail_fast and not state.ended:
                    self.stopped.set()
        finally:
            ensure_event_loop().close()  # Jupyter gives each thread one, with three open files.
            self._ended.put("left")


def run_sweep(
    plan: Plan,
    *,
    workers: int | None = None,
    warm: bool = True,
    fail_fast: bool = False,
    retry_failed: bool = False,
    timeout: float | None = None,
    cluster: str | None = None,
    resources: Mapping[str, float] | None = None,
    ended: Callable[[RunState], None] = lambda state: None,
) -> Summary:
    """Execute what is missing of a plan and write its run table, `runs.csv`.

    Args:
        plan: From `toolkit.sweep.plan.read_plan`.
        workers: Notebooks at a time; None takes the plan's number, else one a GPU or a core.
        warm: Fork kernels from a warm host, which saves seconds a run.
        fail_fast: Start nothing more after the first failure.
        retry_failed: Try runs again that failed for a reason of their own.
        timeout: Seconds that one cell of a notebook may take.
        cluster: A dask scheduler's address, or `local` (see `toolkit.sweep.cluster`); None for
            threads of this process.
        resources: What each run needs of a dask worker, such as {"GPU": 1}.
        ended: Called with each attempted run's state.

    Example:
        >>> summary = d2e.run_sweep(d2e.read_plan("runs/mine"), workers=1)
        >>> len(d2e.read_runs("runs/mine"))
        2

    Raises:
        ToolkitError: A run cannot start, another process holds the sweep, or its folder cannot
            be written to.
    """
    begin = time.monotonic()
    stopped, prediction = False, None
    with _writing(plan.folder), _hold(plan.folder):
        states = dict(zip(plan.configs, plan.states(), strict=True))
        todo = [config for config, state in states.items() if state.due(retry_failed)]
        if todo:
            validate(plan, todo)
            number = workers_for(plan, len(todo), workers)
            prices = dict(zip(plan.configs, costs(plan.configs), strict=True))
            left = {config: prices[config] for config in todo}
            on_this_machine = cluster in (None, "local")
            timing = partial(probe, left, number) if on_this_machine else Throughput
            seen = seen_here(states.values(), number, timing)
            todo.sort(key=lambda config: prices[config].seconds(seen), reverse=True)
            keeping.check_disk(plan, states.values(), number)
            folders = [plan.run_folder(config) for config in todo]
            for folder in folders:
                folder.check()
            write_table(plan, states.values())  # A record may have been damaged since.
            crew: Crew | Cluster
            if cluster is None:
                crew = Crew(plan.template, number, warm=warm, fail_fast=fail_fast, timeout=timeout)
            else:
                from toolkit.sweep.cluster import Cluster

                crew = Cluster(
                    cluster,
                    plan.template,
                    number,
                    warm=warm,
                    fail_fast=fail_fast,
                    timeout=timeout,
                    resources=resources,
                )
            shared = trunks.families(plan.configs)
            trunks.prepare(plan.folder, shared)
            later = {config for family in shared for config in family.branches}
            # Trunks go first, for what branches off them has to find their checkpoints.
            turns = [
                [x for x in folders if (x.config in later) is after] for after in (False, True)
            ]
            prediction = Prediction.of(seen, prices, [[x.config for x in y] for y in turns], number)
            with crew, _stop_on_signal(crew):
                for turn in turns:
                    for state in crew.work(turn) if turn and not crew.stopped.is_set() else ():
                        states[state.config] = state
                        prediction.note(state)
                        if state.ended:
                            write_table(plan, states.values())
                            keeping.prune(plan, states.values())
                        ended(state)
                stopped = crew.stopped.is_set()
            prediction.keep()
            trunks.clear(plan.folder, shared, states)
        write_table(plan, states.values())
        keeping.prune(plan, states.values())
    return Summary(tuple(states.values()), len(todo), time.monotonic() - begin, stopped, prediction)


def write_table(plan: Plan, states: Iterable[RunState]) -> None:
    """Write the sweep's `runs.csv` from its records, if it is not that already."""
    text = table_csv([state.record for state in states if state.record is not None])
    path = plan.folder / "runs.csv"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_atomically(path, text)


@contextlib.contextmanager
def _hold(folder: Path) -> Iterator[None]:
    """Hold the sweep: two at work in one folder would do every run twice."""
    path = folder / "runs" / "lock"
    path.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.hold(path, patience=0.5))
        except BlockingIOError:
            raise ToolkitError(
                f"the sweep in {folder} is being run by {locks.holder(path)}; "
                f"wait for it, or watch it with: python -m toolkit status {folder}"
            ) from None
        yield


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolkitError(
            f"cannot write in {folder}: {error.strerror}; "
            "what has finished is kept, so mend that and run the sweep again"
        ) from error


@contextlib.contextmanager
def _stop_on_signal(crew: Crew | Cluster) -> Iterator[None]:
    """Let a first signal end the sweep in good order, and a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Signals are then the main thread's own affair.
        return

    def stop(number: int, frame: object) -> None:
        crew.stop()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    # What is ignored stays so: that is how nohup and shells keep their jobs going.
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        restore()

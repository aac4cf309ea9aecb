"""One attempt at a run: papermill executes its notebook, then the run's folder is judged.

Papermill marks the cells of a dead or timed-out kernel as completed, and warns where it should
refuse; so nothing it says is believed but an exception, and that only as the reason for a record
that is not there.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from toolkit.errors import ToolkitError
from toolkit.sweep import locks
from toolkit.sweep.folders import RunFolder, RunState
from toolkit.sweep.kernels import KernelHost, KernelManager

# A kernel that ends by one of these was killed by a person, a scheduler or for lack of memory:
# no fault of the run, which is tried again when the sweep is.
_FROM_OUTSIDE = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_NO_FAULT = ("No space left on device", "Disk quota exceeded", "Kernel didn't respond")
# What a notebook raises for want of a file, of room, of permission or of a network, by its name.
_SURROUNDINGS = {
    "KeyboardInterrupt",
    "SurroundingsError",
    *(
        name
        for name, kind in vars(builtins).items()
        if isinstance(kind, type) and issubclass(kind, OSError)
    ),
}
_LONGEST_REASON = 500
# A killed kernel takes a moment to die; its lock is waited for.
_LOCK_PATIENCE = 15.0


class _Interrupted(Exception):
    """The attempt ended for a reason that is not the run's own."""


def attempt(
    folder: RunFolder,
    template: Path,
    host: KernelHost,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> RunState:
    """Execute a run's notebook in its folder. Returns what came of it; never raises for it.

    Args:
        folder: Of the run; made where there is none.
        template: The notebook.
        host: Where its kernel comes from.
        cwd: The kernel's working folder; None for this process's.
        env: Variables for the kernel: which GPU, say.
        timeout: Seconds that one cell may take.
    """
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with locks.hold(folder.lock, patience=_LOCK_PATIENCE) as lock:
            return _attempt(folder, template, host, lock, cwd, env, timeout)
    except BlockingIOError:  # Then nothing in it is ours to touch.
        reason = f"its folder is held by {locks.holder(folder.lock)}"
    except OSError as error:
        reason = str(error)
    return RunState(folder.config, "interrupted", reason)


def _attempt(
    folder: RunFolder,
    template: Path,
    host: KernelHost,
    lock: int,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    timeout: float | None,
) -> RunState:
    """An attempt by the one who holds the run's lock."""
    if (state := folder.evidence()).ended:  # By the one who held it before.
        return state
    begin = time.monotonic()
    reason, interrupted = "its notebook ended without writing a record", False
    try:
        folder.prepare()
        with host.kernel(folder.log, cwd=cwd, env=env, held=[lock]) as kernel:
            _run(folder, template, kernel, timeout)
    except Exception as error:
        reason, interrupted = in_words(error), _is_from_outside(error)
        if interrupted and host.closed:
            reason = "the sweep was stopped"
    with contextlib.suppress(OSError):
        os.replace(folder.running_notebook, folder.notebook)
    state = folder.evidence()
    if state.ended:
        return replace(state, wall=time.monotonic() - begin)
    if folder.record.exists():
        reason = f"{reason}; {state.reason}"
        with contextlib.suppress(OSError):
            folder.set_aside()
    reason = " ".join(reason.split())[:_LONGEST_REASON]
    seconds = time.monotonic() - begin
    with contextlib.suppress(OSError):  # Without its note the run counts as interrupted.
        folder.fail(reason, seconds, interrupted=interrupted)
    name = "interrupted" if interrupted else "failed"
    return RunState(folder.config, name, reason, seconds=seconds)


def _run(folder: RunFolder, template: Path, kernel: KernelManager, timeout: float | None) -> None:
    """Run the notebook; an exception is why there may be no record."""
    keep = {"keep": True} if folder.keep else {}
    parameters = {**folder.config.to_dict(), "folder": str(folder.path), **keep}
    try:
        execute(template, folder.running_notebook, parameters, kernel, timeout)
    except Exception:
        code = kernel.process.poll()
        if code is None:
            raise
        _raise_for_death(code, folder.log)


def execute(
    template: Path,
    target: Path,
    parameters: Mapping[str, Any],
    kernel: KernelManager,
    timeout: float | None = None,
) -> None:
    """Execute a notebook with these parameters in a kernel that runs; the target grows with it.

    Args:
        timeout: Seconds that one cell may take.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    papermill.execute_notebook(
        _literal(template),
        _literal(target),
        dict(parameters),
        km=kernel,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        start_timeout=300,
        iopub_timeout=60,  # The default of 4 s fails on a machine that is busy training.
        execution_timeout=timeout,
    )


def _literal(path: Path) -> str:
    """A path as papermill will read it: it fills {} in paths from the parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _raise_for_death(code: int, log: Path) -> NoReturn:
    if code >= 0:
        raise RuntimeError(f"its kernel exited with status {code}; see {log}")
    name = signal.Signals(-code).name
    if -code in _FROM_OUTSIDE:
        raise _Interrupted(f"its kernel was killed by {name} (or the memory ran out)")
    raise RuntimeError(f"its kernel crashed with {name}; see {log}")


def _is_from_outside(error: Exception) -> bool:
    """Whether the run itself is not to blame, and may be tried again."""
    if getattr(error, "ename", "") in _SURROUNDINGS:
        return True
    # What the notebook raised has a name; other system errors are this process's own.
    ours = isinstance(error, (_Interrupted, ToolkitError, OSError))
    timed_out = isinstance(error, TimeoutError)
    return (ours and not timed_out) or any(words in in_words(error) for words in _NO_FAULT)


def in_words(error: Exception) -> str:
    """Why a notebook failed, in a line."""
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    if name:
        ours = name in ("ToolkitError", "SurroundingsError")
        return value if ours else f"{name}: {value}"
    if isinstance(error, TimeoutError):
        return f"timed out: {str(error).splitlines()[0]}"
    plain = isinstance(error, (_Interrupted, ToolkitError, OSError)) or type(error) is RuntimeError
    return str(error) if plain else f"{type(error).__name__}: {error}"

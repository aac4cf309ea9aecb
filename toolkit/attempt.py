"""One attempt at a run: papermill executes its notebook, then the run's folder is judged.

Papermill marks the cells of a dead or timed-out kernel as completed, and warns where it should
refuse; so nothing it says is believed but an exception, and that only as the reason for a record
that is not there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from toolkit import locks
from toolkit.errors import ToolkitError
from toolkit.folders import RunFolder, RunState
from toolkit.kernels import KernelHost

# A kernel that ends by one of these was killed by a person, a scheduler or for lack of memory:
# no fault of the run, which is tried again when the sweep is.
_FROM_OUTSIDE = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
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
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> RunState:
    """Execute a run's notebook in its folder. Returns what came of it; never raises for it.

    Args:
        folder: Of the run; made where there is none.
        template: The notebook.
        host: Where its kernel comes from.
        env: Variables for the kernel: which GPU, say.
        timeout: Seconds that one cell may take.
    """
    begin = time.monotonic()
    reason, interrupted = "", False
    try:
        folder.prepare()
        with locks.hold(folder.lock, patience=_LOCK_PATIENCE) as lock:
            _execute(folder, template, host, env, timeout, lock)
        reason = "its notebook ended without writing a record"
    except BlockingIOError:
        reason, interrupted = f"its folder is held by {locks.holder(folder.lock)}", True
    except TimeoutError as error:
        reason = _in_words(error)
    except (_Interrupted, ToolkitError, OSError) as error:
        reason, interrupted = "the sweep was stopped" if host.closed else str(error), True
    except Exception as error:
        reason = _in_words(error)
        outside = (*_NO_SPACE, "KeyboardInterrupt")
        interrupted = any(words in reason for words in outside)
    with contextlib.suppress(OSError):
        os.replace(folder.running_notebook, folder.notebook)
    state = folder.state()
    if state.ended:
        return state
    if folder.record.exists():
        reason = f"{reason}; {state.reason}"
        with contextlib.suppress(OSError):
            folder.set_aside()
    reason = " ".join(reason.split())[:_LONGEST_REASON]
    seconds = time.monotonic() - begin
    with contextlib.suppress(OSError):  # Without its note the run counts as interrupted.
        folder.fail(reason, seconds, interrupted=interrupted)
    return RunState(
        folder.config, "interrupted" if interrupted else "failed", reason, seconds=seconds
    )


def _execute(
    folder: RunFolder,
    template: Path,
    host: KernelHost,
    env: Mapping[str, str] | None,
    timeout: float | None,
    lock: int,
) -> None:
    """Run the notebook; an exception is why there may be no record."""
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)
    with host.kernel(folder.log, env=env, held=[lock]) as kernel:
        try:
            papermill.execute_notebook(
                _literal(template),
                _literal(folder.running_notebook),
                {**folder.config.to_dict(), "folder": str(folder.path)},
                km=kernel,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                start_timeout=300,
                iopub_timeout=60,  # The default of 4 s fails on a machine that is busy training.
                execution_timeout=timeout,
            )
        except Exception:
            code = kernel.process.poll()
            if code is None:
                raise
            _raise_for_death(code, folder.log)


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


def _in_words(error: Exception) -> str:
    """Why a notebook failed, in a line."""
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    if name:
        return value if name == "ToolkitError" else f"{name}: {value}"
    if isinstance(error, TimeoutError):
        return f"timed out: {str(error).splitlines()[0]}"
    return str(error) if type(error) is RuntimeError else f"{type(error).__name__}: {error}"

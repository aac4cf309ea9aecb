"""Which processes are there, for tests that none stays behind."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil

MARK = "TOOLKIT_TEST_MARK"


def marked(mark: str) -> list[psutil.Process]:
    """Living processes with this mark in their environment: the marked one's descendants."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            dead = process.status() == psutil.STATUS_ZOMBIE
            if not dead and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process, and it is more than a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether a condition comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False

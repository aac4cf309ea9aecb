"""Locks on files that the system itself frees when their holder dies: none is ever stale.

A lock is a `flock` on an open file. It belongs to the open file and not to a process, so a kernel
that inherits the descriptor holds it as well, until the last one is closed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def hold(path: Path, *, patience: float = 0.0) -> Iterator[int]:
    """Hold the lock at `path`, noting who holds it. Yields the descriptor.

    Args:
        path: A file of its own; made where there is none, and left there.
        patience: Seconds to wait for it.

    Raises:
        BlockingIOError: Another process holds it (`holder` says who).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
        note = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether anyone holds the lock at `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """Who holds the lock, in words: a process, its machine, and since when."""
    try:
        note: Any = json.loads(path.read_text(encoding="utf-8"))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note["since"]))
        return f"process {int(note['pid'])} on {note['host']}, since {since}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "another process"

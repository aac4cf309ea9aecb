"""The process that forks kernels (see `toolkit.sweep.kernels`, which starts it and talks to it).

A warm host imports what the kernels will need, then forks one for each connection, and it has one
thread only, because a fork copies no other. A cold host imports nothing, and its children start
Python anew; they are as well looked after as warm ones. A request is one line of JSON (`command`,
`env`, `cwd`) with file descriptors beside it: the first becomes the kernel's standard output and
error, the others stay open in it. The answer is a line with the process id and, when the kernel
has ended, one with its exit code, negative for a signal.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

ALWAYS = ("ipykernel.kernelapp", "ipykernel.ipkernel", "IPython.core.debugger")
LAUNCHER = "ipykernel_launcher"
PARENT = "--IPKernelApp.parent_handle"  # Where the system cannot, ipykernel watches its parent.
_MOST_DESCRIPTORS = 8


def serve(address: str, preload: Sequence[str] | None) -> None:
    """Fork a kernel for every connection to `address`, until standard input is closed.

    Args:
        address: Path of a socket to listen on.
        preload: Modules to import first; `a:b` stands for `from a import b`. None: stay cold.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    for wanted in () if preload is None else (*ALWAYS, *preload):
        module, _, name = wanted.partition(":")
        try:
            __import__(module, fromlist=[name])
        except Exception as error:  # The notebook that needs it will say so itself.
            print(f"cannot preload {wanted}: {error}", file=sys.stderr, flush=True)
    gc.collect()
    gc.freeze()  # Kernels share these pages with the host as long as nobody touches them.
    Host(listener, warm=preload is not None).run()


class Host:
    """An event loop over standard input, new connections, open ones and dying children."""

    def __init__(self, listener: socket.socket, *, warm: bool) -> None:
        self.listener = listener
        self.warm = warm
        self.kernels: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_read.setblocking(False)
        self.wake_write.setblocking(False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake_write.fileno())
        self._watch(sys.stdin, self._leave)
        self._watch(self.wake_read, self._reap)
        self._watch(self.listener, self._accept)
        while True:
            for key, _ in self.selector.select():
                key.data(key.fileobj)

    def _watch(self, source: Any, react: Callable[[Any], None]) -> None:
        self.selector.register(source, selectors.EVENT_READ, react)

    def _leave(self, _: Any) -> None:
        """The sweep has closed our standard input, or is gone."""
        for pid in self.kernels:
            _kill(pid)
        shutil.rmtree(os.path.dirname(self.listener.getsockname()), ignore_errors=True)
        os._exit(0)

    def _accept(self, _: Any) -> None:
        connection, _address = self.listener.accept()
        self._watch(connection, self._request)

    def _request(self, connection: socket.socket) -> None:
        """Read a request and fork; a client that hangs up instead loses its kernel."""
        descriptors: list[int] = []
        try:
            text, descriptors, _flags, _address = socket.recv_fds(
                connection, 1 << 16, _MOST_DESCRIPTORS
            )
            while not text.endswith(b"\n"):
                more = connection.recv(1 << 16)
                if not more:
                    raise ConnectionError
                text += more
            pid = self._fork(json.loads(text), descriptors)
        except (OSError, ValueError):
            self.selector.unregister(connection)
            connection.close()
            for pid, owner in self.kernels.items():
                if owner is connection:
                    _kill(pid)
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.kernels[pid] = connection
        _send(connection, pid)

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> int:
        host = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._close_all()
            _in_child(host, request, descriptors, warm=self.warm)
        return pid

    def _reap(self, _: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.wake_read.recv(1024):
                pass
        while self.kernels:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            connection = self.kernels.pop(pid)
            if connection.fileno() >= 0:
                _send(connection, os.waitstatus_to_exitcode(status))
                self.selector.unregister(connection)
                connection.close()

    def _close_all(self) -> None:
        """In a kernel, close what belongs to the host."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sources: list[Any] = [key.fileobj for key in self.selector.get_map().values()]
        self.selector.close()
        for source in (*sources, self.wake_write):
            if source is not sys.stdin:
                source.close()


def _send(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % number)


def _kill(pid: int) -> None:
    """Kill a kernel and what it started; it leads a group, or has not got round to it yet."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def _in_child(
    host: int, request: dict[str, Any], descriptors: list[int], *, warm: bool
) -> NoReturn:
    """Turn this forked process into a kernel; never return to the host's loop."""
    code = 1
    try:
        os.setsid()
        die_with(host)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (descriptors[0], 1), (descriptors[0], 2)):
            os.dup2(source, target)
        os.close(descriptors[0])
        os.chdir(request["cwd"])
        command = request["command"]
        if not warm:
            for descriptor in descriptors[1:]:
                os.set_inheritable(descriptor, True)
            os.execve(command[0], command, request["env"])
        os.environ.clear()
        os.environ.update(request["env"])
        _run_kernel([*command[command.index(LAUNCHER) + 1 :], f"{PARENT}={host}"])
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:  # So early that no cell was there to be interrupted.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run_kernel(arguments: list[str]) -> None:
    from ipykernel.kernelapp import IPKernelApp

    sys.argv = [LAUNCHER, *arguments]
    IPKernelApp.launch_instance(argv=arguments)


def die_with(parent: int) -> None:
    """Have the system kill this process when its parent dies (Linux; elsewhere ipykernel polls)."""
    import ctypes

    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[3:] if sys.argv[2] == "warm" else None)

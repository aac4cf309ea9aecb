"""Kernels for notebooks: each is forked from a warm host, a process with everything imported.

Starting a kernel and importing torch, transformers, peft and pandas takes many seconds; a sweep
would pay that for every notebook. A host process pays it once and then forks: each run still has
a kernel process of its own, with its own memory, exit code and signals, a few hundredths of a
second after it was asked for.

One connection to the host is one kernel. If the client goes away, the host kills that kernel; if
the sweep goes away, the host kills them all; if the host goes away, the system does.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_core.utils import run_sync

from toolkit.errors import ToolkitError
from toolkit.hardware import thread_variables

START_SECONDS = 300.0  # The first kernel waits until the host has imported everything.
FOR_THE_HOST = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # Matplotlib reads it at import.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # A process that has woken CUDA up cannot fork.
}


class KernelManager(AsyncKernelManager):
    """Manages a kernel of this very Python, whatever kernels the user has installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")

    def client(self, **kwargs: Any) -> Any:
        """A client, closed by `close`: papermill leaves the channels of a borrowed manager open."""
        client = super().client(**kwargs)
        self.__dict__.setdefault("clients", []).append(client)
        return client

    def close(self) -> None:
        """Give back the files and sockets of the kernel and of its clients."""
        for client in self.__dict__.get("clients", []):
            client.stop_channels()
            client.context.destroy(linger=0)
        run_sync(self.cleanup_resources)()

    @property
    def process(self) -> Any:
        """The kernel's process."""
        assert isinstance(self.provisioner, LocalProvisioner)
        return self.provisioner.process


class KernelHost:
    """Where a sweep's kernels come from; a context manager that leaves no kernel behind.

    Args:
        preload: Modules to import once, before the first fork.
        threads: Threads of each kernel's numerical libraries. They must be set before the
            libraries are loaded, so they belong to the host and not to a kernel.
        warm: False starts every kernel from nothing, as Jupyter does.

    Attributes:
        closed: No kernel is left, and none can be started.
    """

    def __init__(self, preload: Sequence[str] = (), *, threads: int = 1, warm: bool = True) -> None:
        self.preload = tuple(preload)
        self.threads = threads
        self.warm = warm
        # A socket's path is limited to about a hundred bytes; only its owner may enter the folder.
        base = tempfile.gettempdir()
        short = base if len(base) < 50 else "/tmp"
        self.folder = Path(tempfile.mkdtemp(prefix="kernels-", dir=short))
        self.address = self.folder / "host"
        self._host: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._kernels: set[Any] = set()
        self.closed = False

    def __enter__(self) -> KernelHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the host; None before the first kernel."""
        return self._host.pid if self._host else None

    def alive(self) -> bool:
        """Whether the host is there to be asked for a kernel."""
        host = self._host
        return host is not None and host.poll() is None

    @property
    def idle(self) -> bool:
        """Whether no kernel is running."""
        return not self._kernels

    @contextlib.contextmanager
    def kernel(
        self,
        log: Path,
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        held: Sequence[int] = (),
    ) -> Iterator[KernelManager]:
        """A fresh kernel, behind a manager that papermill takes; killed at the end.

        Args:
            log: What the process itself prints (a library's crash, say) is appended here.
            cwd: Its working folder; None for this process's.
            env: Variables on top of `environment`.
            held: File descriptors that the kernel keeps open as long as it lives: locks.

        Raises:
            ToolkitError: The host is gone or does not answer.
        """
        name = uuid.uuid4().hex[:8]
        manager = KernelManager(transport="ipc", connection_file=str(self.folder / f"{name}.json"))
        self.start()
        manager.provisioner = HostProvisioner(self, kernel_spec=manager.kernel_spec, parent=manager)
        with open(log, "ab") as output:
            run_sync(manager.start_kernel)(
                extra_arguments=["--HistoryManager.hist_file=:memory:"],
                env=self.environment(env),
                cwd=str(cwd or Path.cwd()),
                stdout=output,
                stderr=output,
                pass_fds=tuple(held),
            )
        process = manager.process
        try:
            with self._lock:
                self._kernels.add(process)
                if self.closed:  # It closed while this kernel was starting.
                    _kill(process)
            yield manager
        finally:
            _kill(process)
            with contextlib.suppress(subprocess.TimeoutExpired):  # A disk that hangs, say.
                process.wait(10)
            with self._lock:
                self._kernels.discard(process)
            process.close()
            manager.close()

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a kernel: this process's, with the thread counts, then `extra`."""
        threads = thread_variables(self.threads)
        # Tokenizers would start a thread pool of their own and then complain about forks.
        return {**os.environ, **threads, "TOKENIZERS_PARALLELISM": "false", **(extra or {})}

    def start(self) -> None:
        """Start the host process, or start it again if it died."""
        with self._lock:
            if self.closed or self.alive():
                return
            self.address.unlink(missing_ok=True)
            how = ["warm", *self.preload] if self.warm else ["cold"]
            command = [sys.executable, "-m", "toolkit.sweep.kernel_host", str(self.address), *how]
            with open(self.folder / "log", "ab") as log:
                self._host = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env=self.environment(FOR_THE_HOST),
                    start_new_session=True,  # Ctrl-C is for the sweep, which then ends the host.
                )

    def close(self) -> None:
        """Kill every kernel, then the host."""
        with self._lock:
            self.closed = True
            for process in self._kernels:
                _kill(process)
            host, self._host = self._host, None
        if host is not None:
            assert host.stdin is not None
            host.stdin.close()
            try:
                host.wait(timeout=10)
            except subprocess.TimeoutExpired:
                host.kill()
                host.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class ForkedKernel:
    """A kernel that a host forked, with the part of `subprocess.Popen` that Jupyter uses.

    Args:
        host: That forks it.
        request: What `toolkit.sweep.kernel_host` expects.
        descriptors: Its standard output first, then those to keep open.

    Raises:
        ToolkitError: The host is gone or does not answer.
    """

    stdin = stdout = stderr = None

    def __init__(
        self, host: KernelHost, request: Mapping[str, Any], descriptors: Sequence[int]
    ) -> None:
        self.returncode: int | None = None
        self._received = b""
        self._lock = threading.Lock()
        self._socket = _connect(host)
        text = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(self._socket, [text], list(descriptors))
        self._socket.sendall(text[sent:])
        line = self._line(START_SECONDS)
        if not line:
            self._socket.close()
            raise ToolkitError("the kernel host died before it had started a kernel")
        self.pid = int(line)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while the kernel runs."""
        with self._lock:
            if self.returncode is None:
                line = self._line(0.0)
                if line is not None:
                    # An empty line: the host was killed, and its kernels with it.
                    self.returncode = int(line or -signal.SIGKILL)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, waited for.

        Raises:
            subprocess.TimeoutExpired: The kernel still runs after `timeout` seconds.
        """
        if self.poll() is None:
            _readable(self._socket, timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("kernel", timeout or 0.0)
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Hang up. A host that still has the kernel kills it."""
        with self._lock:
            if self.returncode is None:
                self.returncode = -signal.SIGKILL
            self._socket.close()

    def _line(self, timeout: float) -> bytes | None:
        """The next line from the host: empty if it hung up, None if `timeout` seconds passed."""
        while b"\n" not in self._received:
            if not _readable(self._socket, timeout):
                return None
            try:
                received = self._socket.recv(64)
            except ConnectionError:
                received = b""
            if not received:
                return b""
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return line


class HostProvisioner(LocalProvisioner):
    """Has a host fork the kernel process instead of starting one."""

    def __init__(self, host: KernelHost, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.host = host

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        request = {"command": cmd, "env": kwargs["env"], "cwd": kwargs["cwd"]}
        descriptors = [kwargs["stdout"].fileno(), *kwargs["pass_fds"]]
        process: Any = ForkedKernel(self.host, request, descriptors)
        self.process = process
        self.pid = self.pgid = process.pid
        return self.connection_info


def _readable(connection: socket.socket, timeout: float | None) -> bool:
    """Whether there is something to read within so many seconds; `select` ends at 1,024 files."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(None if timeout is None else 1000 * timeout))


def _connect(host: KernelHost) -> socket.socket:
    """A connection to a host that may have been started a moment ago."""
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(host.address))
            return connection
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            if not host.alive():
                raise ToolkitError("the kernel host is gone") from error
            time.sleep(0.01)


def _kill(process: Any) -> None:
    """Kill a kernel and what it started: it leads a process group."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            process.kill()

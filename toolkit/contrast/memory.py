"""How much memory there is, and how much a graph takes: measured, not guessed."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Of the free memory, for kept graphs; the rest is for gradients, temporaries and others.
SHARE = 0.5


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still take on the device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    import psutil

    return min(psutil.virtual_memory().available, _free_in_container())


def _free_in_container() -> int:
    """What the control group (container, cluster job) still allows."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text()
        return int(limit) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):  # no control group, or its limit is "max"
        return 2**63


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, as torch's allocator does on a GPU.

    glibc else gives large blocks back to the system and gets them anew, page by page, in every
    layer of every step: up to a tenth of the time of a small decoder's step. Without glibc this
    does nothing.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(mmap_threshold, 32 << 20)  # the most that glibc takes
        mallopt(trim_threshold, 2**31 - 1)


def graph_bytes(run: Callable[[], Any], parameters: list[Tensor]) -> int:
    """Bytes that the graph of `run()` keeps for its backward pass, parameters left out."""
    known = {p.untyped_storage().data_ptr() for p in parameters}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()
    del result
    return sum(kept.values())


def peak_bytes(device: torch.device) -> int:
    """The most that this process has held: of a GPU's memory its tensors, else all of its own."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)

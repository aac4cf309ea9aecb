"""Devices: how fast they are, so that FLOP become hours and hours become FLOP."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolkit.errors import ToolkitError, nearest

# Share of the peak that goes into model FLOPs. Well-tuned training of decoders of 400M parameters
# and more reaches about this much in bf16; small decoders reach less.
DEFAULT_UTILISATION = 0.4


@dataclass(frozen=True)
class Device:
    """A GPU by name.

    Attributes:
        name: What people type: a100, h100, …
        peak_flop_per_second: Dense bf16 with float32 accumulation, as its maker states it.
        source: The maker's document.
    """

    name: str
    peak_flop_per_second: float
    source: str

    def hours(self, flop: float, utilisation: float = DEFAULT_UTILISATION) -> float:
        """Hours that one such GPU takes for so many model FLOPs."""
        return flop / (self.peak_flop_per_second * _share(utilisation)) / 3600

    def flop(self, hours: float, utilisation: float = DEFAULT_UTILISATION) -> float:
        """Model FLOPs that one such GPU does in so many hours."""
        return hours * 3600 * self.peak_flop_per_second * _share(utilisation)


# Makers print twice these figures "with sparsity"; no training of ours is sparse.
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("a100", 312e12, "NVIDIA A100 Tensor Core GPU datasheet, SXM and PCIe"),
        Device("h100", 989.4e12, "NVIDIA H100 Tensor Core GPU architecture whitepaper, SXM5"),
        Device("h200", 989.4e12, "NVIDIA H200 Tensor Core GPU datasheet, SXM"),
        Device("l4", 121e12, "NVIDIA L4 Tensor Core GPU datasheet"),
        Device("rtx-4090", 165.2e12, "NVIDIA Ada GPU architecture whitepaper, GeForce RTX 4090"),
    )
}


# Words of a full name that change nothing about the speed of the devices above.
_PLAIN = re.compile(r"nvidia|geforce|tensor|core|gpu|sxm\d?|hbm\w*|\d+gb|gb|rtx")
_PLAIN_FOR = {"a100": ("pcie",), "l4": ("pcie",)}  # An H100 on PCIe is another, slower device.


def find(name: str) -> Device:
    """The device called `name`, in any spelling: H100, rtx 4090, NVIDIA H100 80GB HBM3.

    Raises:
        ToolkitError: It is unknown; those that it is the beginning of, or near to, are offered.
    """
    words = re.findall(r"[a-z0-9]+", name.lower())
    telling = [word for word in words if not _PLAIN.fullmatch(word)]
    named = [known for known in DEVICES if known.split("-")[-1] in telling]
    if len(named) == 1:
        other = set(telling) - {named[0].split("-")[-1], *_PLAIN_FOR.get(named[0], ())}
        if not other:
            return DEVICES[named[0]]
    plain = "-".join(words)
    close = named or [known for known in DEVICES if plain and known.startswith(plain)]
    hint = f"; did you mean {' or '.join(close)}?" if close else nearest(plain, list(DEVICES))
    raise ToolkitError(f"unknown GPU {name!r}{hint}")


def _share(utilisation: float) -> float:
    if not 0 < utilisation <= 1:
        raise ToolkitError(f"utilisation is a share of the peak, over 0 up to 1, not {utilisation}")
    return utilisation


def cpu_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_variables(threads: int) -> dict[str, str]:
    """The environment of a process whose numerical libraries are to have so many threads each."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def visible_gpus() -> tuple[str, ...]:
    """This machine's NVIDIA GPUs as CUDA_VISIBLE_DEVICES names them, found without torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip() not in ("", "-1"))
    try:
        return tuple(str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").iterdir()))
    except OSError:
        return ()


def guess_cpu_rate(params: int) -> float:
    """Model FLOPs a second that one single-thread CPU worker trains a decoder with: a rough guess.

    Seen once on two cores of a cloud server, 32 pairs a step: 5.7e9 at 25 thousand non-embedding
    parameters, 26e9 at 450 thousand, no more than about 60e9 for large ones. Finished runs replace
    it (`toolkit.sweep.throughput`), and before there are any a probe (`toolkit.sweep.probe`).

    Args:
        params: Non-embedding parameters of the decoder.
    """
    return min(60e9, 5.7e9 * (params / 25e3) ** 0.53)


@cache
def measure_cpu_matmul_rate(size: int = 1024, repeats: int = 5) -> float:
    """FLOP a second of this machine's float32 matrix product on all cores: the best of a few."""
    import torch

    left, right = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best

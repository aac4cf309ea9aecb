"""This machine: its processor, and whether that multiplies in bfloat16."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from functools import cache
from pathlib import Path

from toolkit.cache import cache_folder

# As /proc/cpuinfo spells them: on x86 (two kinds), and on ARM.
BFLOAT16_FLAGS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))
# A product must be so much faster than in float32 to make up for the conversions around it.
_LEAST_SPEEDUP = 1.3
# These hold oneDNN to older instructions than the processor has.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")


def processor() -> str:
    """The processor's name."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def processor_flags() -> frozenset[str] | None:
    """What the processor can do, in the kernel's words; None where the system does not tell."""
    known = _cpuinfo()
    flags = known.get("flags") or known.get("Features")
    return frozenset(flags.split()) if flags else None


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor's bfloat16 products are faster than its float32 ones.

    It has the instructions, and they were timed once: a library may be slow in spite of them.
    """
    flags = processor_flags()
    if flags is not None and not flags & BFLOAT16_FLAGS:
        return False
    return bfloat16_speedup() >= _LEAST_SPEEDUP


def bfloat16_speedup() -> float:
    """Time of a float32 product over that of a bfloat16 one, timed once and then remembered.

    Remembered in the cache by processor, torch and what limits it, so that all runs on a machine
    decide alike.
    """
    import torch

    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if name in os.environ]
    key = ", ".join((processor(), f"torch {torch.__version__}", *limits))
    path = cache_folder() / "bfloat16.json"
    known = _read(path)
    if key not in known:
        known[key] = _time_bfloat16()
        _write(path, known)
    return known[key]


def _time_bfloat16(size: int = 512, repeats: int = 15) -> float:
    """From the best of some repeats, in turns: other work only ever slows a product down."""
    import torch

    left, right = torch.randn(2, size, size)
    kinds = [(left, right), (left.bfloat16(), right.bfloat16())]

    def seconds(pair: tuple[torch.Tensor, torch.Tensor]) -> float:
        start = time.perf_counter()
        torch.mm(*pair)
        return time.perf_counter() - start

    for pair in kinds:
        seconds(pair)
    wide, narrow = zip(*([seconds(pair) for pair in kinds] for _ in range(repeats)), strict=True)
    return min(wide) / min(narrow)


def _read(path: Path) -> dict[str, float]:
    """What is remembered; nothing where the file is missing or damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): float(value) for key, value in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, known: dict[str, float]) -> None:
    """Keep it if that is possible: without, it is timed again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, path)


def gpu_names() -> tuple[str, ...]:
    """The NVIDIA GPUs' names, as their driver tells them, without torch."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name.strip() == "Model":
                    found.append(value.strip())
    return tuple(found)


@cache
def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}

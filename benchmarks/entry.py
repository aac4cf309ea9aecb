"""One line of `latest.json`: ours and theirs over some repeats of one run, and their ratio."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from statistics import median

from toolkit import machine


def entry(
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    goal: str,
    ratios: Sequence[float] | None = None,
) -> dict[str, object]:
    """Medians of both sides, and the spread of their ratios: ours over theirs, repeat by repeat."""
    ratios = ratios or [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "name": name,
        "device": device(),
        "ours": float(median(ours)),
        "theirs": float(median(theirs)),
        "ratio": {"min": min(ratios), "median": float(median(ratios)), "max": max(ratios)},
        "goal": goal,
    }


def speedups(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Their seconds over ours."""
    return [b / a for a, b in zip(ours, theirs, strict=True)]


def device() -> str:
    """This machine: cores, processor, and what it makes of bfloat16."""
    flags = sorted((machine.processor_flags() or frozenset()) & machine.BFLOAT16_FLAGS)
    bfloat16 = "no bfloat16"
    if flags:
        rate = f"{machine.bfloat16_speedup():.2g} times as fast as in float32"
        slow = not machine.multiplies_bfloat16()
        bfloat16 = f"{' '.join(flags)}, "
        bfloat16 += f"but products only {rate}: float32 is taken" if slow else f"products {rate}"
    return f"CPU, {os.cpu_count()} cores, {machine.processor()}, {bfloat16}"


def met(entry: dict) -> bool | None:
    """Whether a goal of the form "at least 1.7" is met, at the median; None where it is no goal."""
    found = re.match(r"(ours )?at (least|most) ([\d.]+)", str(entry["goal"]))
    if not found:
        return None
    value = entry["ours"] if found[1] else entry["ratio"]["median"]
    bound = float(found[3])
    return value >= bound if found[2] == "least" else value <= bound

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
    known = machine.processor_flags()
    flags = sorted((known or frozenset()) & machine.BFLOAT16_FLAGS)
    bfloat16 = "no bfloat16"
    if flags or known is None:
        rate = f"{machine.bfloat16_speedup():.2g} times as fast as in float32"
        slow = not machine.multiplies_bfloat16()
        bfloat16 = " ".join(flags) or "flags unknown"
        bfloat16 += (
            f", but products only {rate}: float32 is taken" if slow else f", products {rate}"
        )
    return f"CPU, {os.cpu_count()} cores, {machine.processor()}, {bfloat16}"


def met(row: dict) -> bool | None:
    """Whether a row's goal is met, at the median; None where it is of none of the forms below."""
    goal, ratio = str(row["goal"]), row["ratio"]["median"]
    if between := re.match(r"([\d.]+) to ([\d.]+)", goal):
        return float(between[1]) <= ratio <= float(between[2])
    if bound := re.match(r"(ours )?at (least|most) ([\d.]+)", goal):
        value, limit = row["ours"] if bound[1] else ratio, float(bound[3])
        return value >= limit if bound[2] == "least" else value <= limit
    return None

"""One line of `latest.json`: ours and theirs over some repeats of one run, and their ratio."""

from __future__ import annotations

import os
import platform
from statistics import median


def entry(name: str, ours: list[float], theirs: list[float], goal: str) -> dict[str, object]:
    """Medians of both sides, and the spread of ours over theirs, repeat by repeat."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "name": name,
        "device": f"CPU, {os.cpu_count()} cores, {platform.machine()}",
        "ours": median(ours),
        "theirs": median(theirs),
        "ratio": {"min": min(ratios), "median": median(ratios), "max": max(ratios)},
        "goal": goal,
    }

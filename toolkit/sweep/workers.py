"""How many notebooks of a sweep are at work at a time."""

from __future__ import annotations

from toolkit import hardware
from toolkit.sweep.plan import Plan


def workers_for(plan: Plan, left: int, asked: int | None = None) -> int:
    """As asked for, else as the plan has it, else one a GPU, or a core where there is none.

    Never more than there are runs left: each then has more threads.
    """
    usual = len(hardware.visible_gpus()) or hardware.cpu_cores()
    return min(asked or plan.workers or usual, max(1, left))

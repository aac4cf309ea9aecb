"""Which runs of a sweep keep their encoder, and what that takes on disk.

`keep: all` keeps every one. `keep: best` keeps, of each method at each budget, that of the run with
the lowest held-out loss: each run that ends leaves its encoder, and then those that are beaten go,
so that at no moment, whatever is killed, a better one is missing. Runs that may not be compared
(other pairs, say) do not compete. Nothing is removed under `all` and `none`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

from toolkit import decoders, methods
from toolkit.errors import SurroundingsError
from toolkit.runs import RunConfig, fields_that
from toolkit.sweep.folders import RunState
from toolkit.sweep.plan import Plan
from toolkit.text import size
from toolkit.training import kept

BYTES = 4  # Of a value: encoders are kept in float32.


def rivals(config: RunConfig) -> tuple[Any, ...]:
    """What runs have in common of which `keep: best` keeps one encoder."""
    return (config.method, config.budget_flop, *(_of(config, "must agree")))


def _of(config: RunConfig, part: str) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in fields_that(part))


def prune(plan: Plan, states: Iterable[RunState]) -> list[RunConfig]:
    """Remove the kept encoders that are beaten, where the plan keeps the best ones.

    Returns:
        The runs that lost theirs.
    """
    if plan.keep != "best":
        return []
    groups: dict[tuple[Any, ...], list[RunState]] = {}
    for state in states:
        if state.ended and kept.is_kept(plan.run_folder(state.config).path):
            groups.setdefault(rivals(state.config), []).append(state)
    beaten = [state.config for group in groups.values() for state in sorted(group, key=_rank)[1:]]
    for config in beaten:
        kept.drop(plan.run_folder(config).path)
    return beaten


def _rank(state: RunState) -> tuple[float, str]:
    assert state.record is not None
    return state.record.loss, state.config.run_id


def missing(plan: Plan, states: Iterable[RunState]) -> list[RunConfig]:
    """Finished runs whose encoder the plan would keep, had it said so before they ran."""
    finished = [state for state in states if state.name == "finished"]
    if plan.keep == "none":
        return []
    if plan.keep == "best":
        best: dict[tuple[Any, ...], RunState] = {}
        for state in sorted(finished, key=_rank):
            best.setdefault(rivals(state.config), state)
        finished = list(best.values())
    configs = [state.config for state in finished]
    return [each for each in configs if not kept.is_kept(plan.run_folder(each).path)]


def encoder_bytes(config: RunConfig) -> int:
    """What a run's encoder takes on disk, about: all that its method trains."""
    shape = decoders.find(config.decoder).shape
    return BYTES * methods.resolve(config, shape).trained_values(shape)


def disk_left(plan: Plan, states: Iterable[RunState], workers: int) -> tuple[int, int]:
    """Bytes on disk that the encoders of runs still to come will take, at most.

    Returns:
        In the end, and at the moment when it is most: under `best`, encoders that have just been
        made lie beside those that they may beat.
    """
    left = [state.config for state in states if not state.ended]
    if plan.keep == "none" or not left:
        return 0, 0
    sizes = {config: encoder_bytes(config) for config in left}
    if plan.keep == "all":
        return sum(sizes.values()), sum(sizes.values())
    largest: dict[tuple[Any, ...], int] = {}
    for config, taken in sizes.items():
        largest[rivals(config)] = max(taken, largest.get(rivals(config), 0))
    end = sum(largest.values())
    return end, min(end + workers * max(sizes.values()), sum(sizes.values()))


def check_disk(plan: Plan, states: Iterable[RunState], workers: int) -> None:
    """Make sure that the encoders to be kept have room.

    Raises:
        SurroundingsError: They have not.
    """
    _, most = disk_left(plan, states, workers)
    place = plan.folder
    free = shutil.disk_usage(place).free
    if most > free:
        raise SurroundingsError(
            f"keep: {plan.keep} takes up to {size(most)} in {place}, and {size(free)} are free; "
            "free the disk, or keep fewer encoders (keep: best, or none)"
        )

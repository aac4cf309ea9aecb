"""Which runs of a sweep share a trunk (`toolkit.training.trunk`), what that saves, and what not.

Runs with `schedule: trunk` that differ in their budgets alone are one family: its largest run is
the trunk, which is made first; the others branch off, and pay for their cooldowns only.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit import decoders
from toolkit.runs import RunConfig
from toolkit.sweep.folders import RunState
from toolkit.training import defaults
from toolkit.training.schedule import DEFAULT_COOLDOWN


@dataclass(frozen=True)
class Family:
    """Runs of one trunk, the largest budget first. key: What they have in common."""

    key: RunConfig
    runs: tuple[RunConfig, ...]

    @property
    def branches(self) -> tuple[RunConfig, ...]:
        return self.runs[1:]


def with_warmup(configs: Iterable[RunConfig]) -> list[RunConfig]:
    """The runs, those that could share a trunk with the warm-up of the smallest of them.

    A share of the steps is another number of steps at each budget, so that no step could be shared.
    """
    configs = list(configs)
    if all(config.schedule != "trunk" for config in configs):
        return configs
    keys = [replace(config, budget_flop=1.0, batch_pairs=None) for config in configs]
    smallest: dict[RunConfig, float] = {}
    for config, key in zip(configs, keys, strict=True):
        smallest[key] = min(config.budget_flop, smallest.get(key, config.budget_flop))
    return [
        replace(config, warmup_flop=config.warmup * smallest[key])
        if config.schedule == "trunk" and config.warmup_flop is None and config.warmup > 0
        else config
        for config, key in zip(configs, keys, strict=True)
    ]


def families(configs: Iterable[RunConfig]) -> tuple[Family, ...]:
    """The families of two runs and more."""
    found: dict[RunConfig, list[RunConfig]] = {}
    for config in configs:
        if config.schedule == "trunk":
            found.setdefault(_key(config), []).append(config)
    return tuple(
        Family(key, tuple(sorted(runs, key=lambda run: run.budget_flop, reverse=True)))
        for key, runs in found.items()
        if len(runs) > 1
    )


def _key(config: RunConfig) -> RunConfig:
    """What has to be equal: everything but the budget, and the batch as it is resolved."""
    batch = config.batch_pairs
    if batch is None:
        batch = defaults.batch_pairs(decoders.find(config.decoder), config.budget_flop)
    return replace(config, budget_flop=1.0, batch_pairs=batch)


def left_alone(configs: Sequence[RunConfig]) -> list[str]:
    """For decoders with trunks that nothing branches off, why: which setting differs."""
    wanted = [config for config in configs if config.schedule == "trunk"]
    keys = {config: _key(config) for config in wanted}
    shared = {run for family in families(wanted) for run in family.runs}
    said: dict[tuple[str, tuple[str, ...]], str] = {}
    for config in wanted:
        if config in shared:
            continue
        values = keys[config].to_dict()
        others = [
            [name for name, value in keys[other].to_dict().items() if value != values[name]]
            for other in wanted
            if other.budget_flop != config.budget_flop
        ]
        differing = tuple(sorted(others, key=len)[0]) if others else ()
        why = "there is no run of another budget"
        if differing:
            why = f"the nearest run of another budget differs in {' and '.join(differing)}"
        if "batch_pairs" in differing and config.batch_pairs is None:
            why += " (its default follows the budget: give one)"
        line = f"{config.decoder} at {config.budget_flop:.3g} FLOP shares no trunk: {why}"
        said.setdefault((config.decoder, differing), line)
    return list(said.values())


def shares(configs: Iterable[RunConfig]) -> dict[RunConfig, float]:
    """For runs that branch off, which share of their FLOP they pay: that of the cooldown."""
    return {
        config: config.cooldown or DEFAULT_COOLDOWN
        for family in families(configs)
        for config in family.branches
    }


def prepare(folder: Path, found: Iterable[Family]) -> None:
    """Have trunks leave a checkpoint for each of their branches."""
    from toolkit.training import trunk

    for family in found:
        trunk.announce(_place(folder, family), [run.budget_flop for run in family.runs])


def clear(folder: Path, found: Iterable[Family], states: dict[RunConfig, RunState]) -> None:
    """Remove the checkpoints of families of which every run has ended."""
    for family in found:
        if all(states[run].ended for run in family.runs):
            shutil.rmtree(_place(folder, family), ignore_errors=True)


def _place(folder: Path, family: Family) -> Path:
    from toolkit.training import trunk

    assert family.key.batch_pairs is not None
    return trunk.place(folder, family.key, family.key.batch_pairs)


def spent(states: Iterable[RunState]) -> tuple[int, int]:
    """Model FLOP of all ended runs as if each had been made alone, and what they did cost."""
    records = [state.record for state in states if state.record is not None]
    alone = sum(record.flop_model for record in records)
    return alone, alone - sum(record.flop_inherited for record in records)

"""`python -m toolkit plan`: what a sweep would run, and what that costs, before it starts."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import psutil

from toolkit import decoders, hardware
from toolkit.arguments import positive, whole
from toolkit.sweep import keeping, trunks
from toolkit.sweep.folders import RunState
from toolkit.sweep.footprint import peak_bytes
from toolkit.sweep.plan import Plan, RunCost, costs, makespan, read_plan, seen_here
from toolkit.sweep.preflight import validate
from toolkit.sweep.probe import probe
from toolkit.sweep.workers import workers_for
from toolkit.text import duration, scientific, size, table
from toolkit.words import n_runs

HELP = "show what a sweep would run, with its FLOPs and hours, before anything starts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="the sweep's folder, with its sweep.yaml")
    parser.add_argument(
        "--gpu", action="append", metavar="NAME", help=f"one of {', '.join(hardware.DEVICES)}"
    )
    parser.add_argument(
        "--utilisation",
        type=positive,
        default=hardware.DEFAULT_UTILISATION,
        metavar="SHARE",
        help="share of a GPU's peak that goes into model FLOPs (default %(default)s)",
    )
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="notebooks at a time on this CPU"
    )
    parser.add_argument("--template", metavar="NOTEBOOK", help="instead of the plan's own")
    parser.add_argument("--json", action="store_true", help="every run, as JSON")


def run(args: argparse.Namespace) -> int:
    plan = read_plan(args.sweep, args.template)
    devices = [hardware.find(name) for name in args.gpu or hardware.DEVICES]
    if not args.json:
        print(told(plan, devices, args.utilisation, args.workers))
        return 0
    states, prices = _priced(plan)
    facts = _facts(plan, states, prices, _hours(devices, args.utilisation), args.workers)
    facts["runs"] = [_run(state, price) for state, price in zip(states, prices, strict=True)]
    print(json.dumps(facts, indent=1))
    return 0


def told(
    plan: Plan,
    devices: Iterable[hardware.Device] = tuple(hardware.DEVICES.values()),
    utilisation: float = hardware.DEFAULT_UTILISATION,
    workers: int | None = None,
) -> str:
    """What a sweep would run and what that costs, for people.

    Raises:
        ToolkitError: One of its runs cannot start.
    """
    states, prices = _priced(plan)
    facts = _facts(plan, states, prices, _hours(devices, utilisation), workers)
    return "\n".join(_lines(plan, states, prices, facts, utilisation))


def _priced(plan: Plan) -> tuple[list[RunState], list[RunCost]]:
    states = plan.states()
    validate(plan, [state.config for state in states if not state.ended])
    return states, costs(plan.configs)


def _hours(devices: Iterable[hardware.Device], utilisation: float) -> dict[str, float]:
    """Of one FLOP on each device."""
    return {device.name: device.hours(1.0, utilisation) for device in devices}


def _facts(
    plan: Plan,
    states: list[RunState],
    costs: list[RunCost],
    hours: dict[str, float],
    workers: int | None,
) -> dict[str, Any]:
    """The sweep's totals: all of it, and what is left to do."""
    prices = {x.config: price for x, price in zip(states, costs, strict=True) if not x.ended}
    workers = workers_for(plan, len(prices), workers)
    seen = seen_here(states, workers, partial(probe, prices, workers))
    left = prices.values()
    flop = sum(price.flop * price.paid for price in left)
    free = psutil.virtual_memory().available
    peaks = [
        peak_bytes(config, decoders.find(config.decoder).shape, price.tokens, free / workers)
        for config, price in zip(plan.configs, costs, strict=True)
    ]
    disk, most = keeping.disk_left(plan, states, workers)
    return {
        "sweep": str(plan.folder),
        "title": plan.title,
        "notes": list(dict.fromkeys(price.note for price in costs if price.note)),
        "planned": len(states),
        "ended": len(states) - len(left),
        "flop_model": sum(price.flop for price in costs),
        "flop_model_left": flop,
        "flop_model_by_trunks": sum(price.flop * price.paid for price in costs),
        "alone": trunks.left_alone(plan.configs),
        "cpu_workers": workers,
        "cpu_seconds_left": makespan((price.seconds(seen) for price in left), workers),
        "cpu_rates_from": seen.source,
        "memory_bytes": max(peaks),
        "memory_of": plan.configs[peaks.index(max(peaks))].decoder,
        "memory_bytes_free": free,
        "keep": plan.keep,
        "ended_without_encoder": [c.run_id for c in keeping.missing(plan, states)],
        "disk_bytes": disk,
        "disk_bytes_at_most": most,
        "disk_bytes_free": shutil.disk_usage(plan.folder).free,
        "gpu_hours_left": {name: flop * per_flop for name, per_flop in hours.items()},
    }


def _run(state: RunState, price: RunCost) -> dict[str, Any]:
    return {
        "run": state.config.run_id,
        **state.config.to_dict(),
        "state": state.name,
        "params": price.params,
        "steps": price.steps,
        "flop_model": price.flop,
    }


def _lines(
    plan: Plan,
    states: list[RunState],
    costs: list[RunCost],
    facts: dict[str, Any],
    utilisation: float,
) -> Iterator[str]:
    if plan.title:
        yield plan.title
    groups: dict[tuple[str, str], list[tuple[RunState, RunCost]]] = {}
    for state, price in zip(states, costs, strict=True):
        key = (state.config.method, state.config.decoder)
        groups.setdefault(key, []).append((state, price))
    rows = []
    for (method, decoder), members in groups.items():
        steps = [price.steps for _, price in members]
        done = sum(state.ended for state, _ in members)
        flop = sum(price.flop for _, price in members)
        span = f"{min(steps):,}–{max(steps):,}"
        rows.append([method, decoder, str(len(members)), str(done), span, scientific(flop)])
    yield table(["method", "decoder", "runs", "done", "steps", "model FLOP"], rows)
    for note in facts["notes"]:
        yield f"\n{note}"
    yield (
        f"\n{facts['planned']} runs, {facts['ended']} of them done; "
        f"left: {scientific(facts['flop_model_left'])} model FLOP"
    )
    if lost := facts["ended_without_encoder"]:
        folder = plan.folder / "runs" / lost[0]
        yield (
            f"{n_runs(len(lost))} ended before this was asked for and kept none; to do one again: "
            f"python -m toolkit train {folder} --keep"
        )
    alone, shared = facts["flop_model"], facts["flop_model_by_trunks"]
    if shared < alone:
        yield (
            f"budgets share trunks: {scientific(shared)} model FLOP for all runs instead of "
            f"{scientific(alone)} ({1 - shared / alone:.0%} less)"
        )
    yield from facts["alone"]
    if facts["planned"] == facts["ended"]:
        return
    seconds, workers = facts["cpu_seconds_left"], facts["cpu_workers"]
    source = facts["cpu_rates_from"]
    yield f"on this CPU, {workers} at a time: about {duration(seconds)} (rate from {source})"
    peak, free = facts["memory_bytes"], facts["memory_bytes_free"]
    yield (
        f"memory: up to {peak / 1e9:.2g} GB a run ({facts['memory_of']}), "
        f"{workers * peak / 1e9:.2g} GB at a time; {free / 1e9:.2g} GB are free"
    )
    if workers * peak > free:
        yield "that is more than is free: fewer at a time (--workers), or checkpointing: true"
    yield f"on one GPU, at {utilisation:.0%} of its dense bf16 peak:"
    for name, hours in facts["gpu_hours_left"].items():
        yield f"  {name:<9} {hours:,.3g} hours"
    yield _disk(facts)


def _disk(facts: dict[str, Any]) -> str:
    """What is kept of the runs, and what that takes."""
    if facts["keep"] == "none":
        return "encoders: none is kept (keep: best or keep: all in the sweep.yaml keeps them)"
    which = {
        "all": "that of every run",
        "best": "that of the best run of each method at each budget",
    }[facts["keep"]]
    most = facts["disk_bytes_at_most"]
    more = f", {size(most)} on the way" if most > facts["disk_bytes"] else ""
    return (
        f"encoders: {which} is kept, about {size(facts['disk_bytes'])} of disk{more}; "
        f"{size(facts['disk_bytes_free'])} are free"
    )

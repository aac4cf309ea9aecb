"""`python -m toolkit status`: what became of each run of a sweep, from the evidence on disk."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.sweep import locks
from toolkit.sweep.folders import STATES, RunState
from toolkit.sweep.plan import Plan, costs, makespan, read_plan, seen_here
from toolkit.sweep.workers import workers_for
from toolkit.text import duration, scientific

HELP = "show the state of each run of a sweep, with reasons, time and cost spent and left"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="the sweep's folder, with its sweep.yaml")
    parser.add_argument("--all", action="store_true", help="list the finished runs as well")
    parser.add_argument("--json", action="store_true", help="every run, as JSON")


def run(args: argparse.Namespace) -> int:
    plan = read_plan(args.sweep)
    states = plan.states()
    facts = _facts(plan, states)
    if args.json:
        facts["runs"] = [_run(state) for state in states]
        print(json.dumps(facts, indent=1))
        return 0
    listed = STATES if args.all else [name for name in STATES if name != "finished"]
    for state in states:
        if state.name in listed and (args.all or state.name != "planned"):
            reason = f": {state.reason}" if state.reason else ""
            print(f"{state.name} {state.config.run_id}{reason}")
    counts = facts["states"]
    print(", ".join(f"{number} {name}" for name, number in counts.items()), f"of {len(states)}")
    print(
        f"spent {scientific(facts['flop_model_spent'])} model FLOP in "
        f"{duration(facts['seconds_spent'])} of training"
        f", and {duration(facts['seconds_lost'])} in vain"
    )
    print(_told(facts))
    print(f"at work: {facts['holder'] or 'nobody'}")
    return 0


def _told(facts: dict[str, Any]) -> str:
    """What is left, in a sentence."""
    if "left_unknown" in facts:
        return f"what is left cannot be reckoned: {facts['left_unknown']}"
    if not facts["flop_model_left"]:
        return "nothing is left to do"
    return (
        f"left {scientific(facts['flop_model_left'])} model FLOP; on this CPU, "
        f"{facts['cpu_workers']} at a time: about {duration(facts['seconds_left'])} "
        f"(rate from {facts['cpu_rates_from']})"
    )


def _facts(plan: Plan, states: list[RunState]) -> dict[str, Any]:
    counted = Counter(state.name for state in states)
    records = [state.record for state in states if state.record is not None]
    lock = plan.folder / "runs" / "lock"
    return {
        "sweep": str(plan.folder),
        "holder": locks.holder(lock) if locks.is_held(lock) else None,
        "states": {name: counted[name] for name in reversed(STATES) if counted[name]},
        "flop_model_spent": sum(record.flop_model for record in records),
        "seconds_spent": sum(record.seconds for record in records),
        "seconds_lost": sum(state.seconds for state in states),
        **_left(plan, states),
    }


def _left(plan: Plan, states: list[RunState]) -> dict[str, Any]:
    """What is still to be spent; a decoder that cannot be asked now leaves it unknown.

    As `plan` foretells it, but for the probe of a machine where nothing has run: an answer at once.
    """
    try:
        prices = zip(states, costs(state.config for state in states), strict=True)
        left = [price for state, price in prices if not state.ended]
    except ToolkitError as error:
        return {"left_unknown": str(error)}
    # A sweep that is at work may have been told another number than the plan's.
    busy = sum(state.name == "running" for state in states)
    workers = workers_for(plan, len(left), busy or None)
    seen = seen_here(states, workers)
    return {
        "cpu_workers": workers,
        "cpu_rates_from": seen.source,
        "flop_model_left": sum(price.flop * price.paid for price in left),
        "seconds_left": makespan((price.seconds(seen) for price in left), workers),
    }


def _run(state: RunState) -> dict[str, Any]:
    return {"run": state.config.run_id, "state": state.name, "reason": state.reason}

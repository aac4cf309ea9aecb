"""`python -m toolkit sweep`: execute what is missing of a sweep."""

from __future__ import annotations

import argparse
import sys
from functools import cached_property

from toolkit.arguments import positive, resources, whole
from toolkit.runs import RunConfig
from toolkit.sweep.execution import Summary, run_sweep
from toolkit.sweep.folders import RunState
from toolkit.sweep.plan import Plan, RunCost, costs, makespan, read_plan, seen_here
from toolkit.sweep.trunks import spent
from toolkit.sweep.workers import workers_for
from toolkit.text import duration, scientific

HELP = "execute what is missing of a sweep, one notebook a run, several at a time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="the sweep's folder, with its sweep.yaml")
    parser.add_argument(
        "--workers", type=whole, metavar="N", help="notebooks at a time (one a GPU or a core)"
    )
    parser.add_argument(
        "--fail-fast", action="store_true", help="start nothing more after the first failure"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try again what failed for its own reasons"
    )
    parser.add_argument(
        "--cold", action="store_true", help="start every kernel from nothing, as Jupyter does"
    )
    parser.add_argument(
        "--timeout", type=positive, metavar="SECONDS", help="the longest that one cell may take"
    )
    parser.add_argument(
        "--cluster", metavar="WHERE", help="dask workers: local, or a scheduler's tcp://host:port"
    )
    parser.add_argument(
        "--resources", type=resources, metavar="GPU=1", help="what a run needs of a dask worker"
    )
    parser.add_argument("--template", metavar="NOTEBOOK", help="instead of the plan's own")


def run(args: argparse.Namespace) -> int:
    plan = read_plan(args.sweep, args.template)
    bar = _Bar(plan, args.workers, args.retry_failed)
    try:
        summary = run_sweep(
            plan,
            workers=args.workers,
            warm=not args.cold,
            fail_fast=args.fail_fast,
            retry_failed=args.retry_failed,
            timeout=args.timeout,
            cluster=args.cluster,
            resources=args.resources,
            ended=bar.ended,
        )
    finally:
        bar.close()
    _show(summary, str(args.sweep))
    return (130 if summary.stopped and not args.fail_fast else 1) if not summary.ok else 0


class _Bar:
    """A progress bar by FLOP and a line for each run that ended; without a terminal, the lines."""

    def __init__(self, plan: Plan, workers: int | None, retry_failed: bool) -> None:
        states = plan.states()
        self.states = {state.config: state for state in states}
        self.left = {state.config for state in states if state.due(retry_failed)}
        self.todo = len(self.left)
        self.workers = workers_for(plan, self.todo, workers)
        self.plan = plan
        self.bar = None
        if self.todo and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=sum(config.budget_flop for config in self.states),
                initial=sum(state.config.budget_flop for state in states if state.ended),
                unit="FLOP",
                unit_scale=True,
                leave=False,
                bar_format="{percentage:3.0f}% of {total_fmt}FLOP |{bar}| {elapsed}{postfix}",
            )

    @cached_property
    def costs(self) -> dict[RunConfig, RunCost]:
        """Asked for once the sweep has been found able to start."""
        return dict(zip(self.plan.configs, costs(self.plan.configs), strict=True))

    def ended(self, state: RunState) -> None:
        self.states[state.config] = state
        self.left.discard(state.config)
        line = f"[{self.todo - len(self.left)}/{self.todo}] {_line(state)}"
        left = f"about {duration(self._seconds_left())} left"
        if self.bar is None:
            print(f"{line}; {left}" if self.left else line, file=sys.stderr, flush=True)
        else:
            self.bar.write(line, file=sys.stderr)
            self.bar.set_postfix_str(left, refresh=False)
            self.bar.update(state.config.budget_flop)

    def _seconds_left(self) -> float:
        """Training left at the rates seen, and as much besides it as there was so far."""
        seen = seen_here(self.states.values(), self.workers)
        left = [price.seconds(seen) for c, price in self.costs.items() if c in self.left]
        return makespan(left, self.workers)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def _line(state: RunState) -> str:
    name = f"{state.name} {state.config.run_id}"
    if state.record is None or state.reason:
        return f"{name}: {state.reason}"
    return f"{name}: loss {state.record.loss:.4f} in {duration(state.record.seconds)}"


def _show(summary: Summary, sweep: str) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items())
    if not summary.started and summary.ok:
        print(f"nothing to do: {counts}; the run table is {sweep}/runs.csv")
        return
    for state in summary.states:
        if state.name in ("failed", "diverged", "interrupted"):
            print(_line(state))
    print(f"{counts}; {duration(summary.seconds)}; the run table is {sweep}/runs.csv")
    if summary.prediction is not None and summary.ok:
        print(summary.prediction.told(summary.seconds))
    alone, paid = spent(summary.states)
    if paid < alone:
        print(
            f"{scientific(alone)} model FLOP if each run had been made alone; by shared trunks "
            f"{scientific(paid)} ({1 - paid / alone:.0%} less)"
        )
    if any(state.name == "failed" for state in summary.states):
        print("failed runs are tried again with --retry-failed")
    if any(state.name in ("planned", "interrupted") for state in summary.states):
        print(f"go on with: python -m toolkit sweep {sweep}")

"""`python -m toolkit sweep`: execute what is missing of a sweep."""

from __future__ import annotations

import argparse
import sys

from toolkit.folders import RunState
from toolkit.plan import read_plan
from toolkit.sweep import Summary, run_sweep
from toolkit.text import duration

HELP = "execute what is missing of a sweep, one notebook a run, several at a time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", help="the sweep's folder, with its sweep.yaml")
    parser.add_argument(
        "--workers", type=_positive, metavar="N", help="notebooks at a time (one a GPU or a core)"
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
        "--timeout", type=float, metavar="SECONDS", help="the longest that one cell may take"
    )
    parser.add_argument(
        "--cluster", metavar="WHERE", help="dask workers: local, or a scheduler's tcp://host:port"
    )
    parser.add_argument(
        "--resources", type=_resources, metavar="GPU=1", help="what a run needs of a dask worker"
    )
    parser.add_argument("--template", metavar="NOTEBOOK", help="instead of the plan's own")


def run(args: argparse.Namespace) -> int:
    plan = read_plan(args.sweep, args.template)
    bar = _Bar(plan.states())
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

    def __init__(self, states: list[RunState]) -> None:
        self.todo = sum(not state.ended for state in states)
        self.done = 0
        self.bar = None
        if self.todo and sys.stderr.isatty():
            from tqdm import tqdm

            total = sum(state.config.budget_flop for state in states)
            initial = sum(state.config.budget_flop for state in states if state.ended)
            self.bar = tqdm(
                total=total, initial=initial, unit="FLOP", unit_scale=True, smoothing=0, leave=False
            )

    def ended(self, state: RunState) -> None:
        self.done += 1
        line = f"[{self.done}/{self.todo}] {_line(state)}"
        if self.bar is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self.bar.write(line, file=sys.stderr)
            self.bar.update(state.config.budget_flop)

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
    if any(state.name == "failed" for state in summary.states):
        print("failed runs are tried again with --retry-failed")
    if any(state.name in ("planned", "interrupted") for state in summary.states):
        print(f"go on with: python -m toolkit sweep {sweep}")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _resources(text: str) -> dict[str, float]:
    """GPU=1,MEMORY=2e10 as dask takes it."""
    pairs = (part.partition("=") for part in text.split(","))
    return {name.strip(): float(number) for name, _, number in pairs}

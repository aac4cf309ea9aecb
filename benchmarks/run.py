"""Every benchmark, side by side with its peers: a table, and `benchmarks/results/latest.json`.

A `bench_*.py` beside this file that has `measure(repeats) -> list of entries` is run here, an entry
being `{name, device, ours, theirs, ratio: {min, median, max}, goal}`; the others print tables of
their own. Run on a machine that does nothing else: `make bench`, or `python benchmarks/run.py
NAME …` for some, which leaves the others' as they were, and so those of another processor.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from entry import met  # noqa: E402

LATEST = HERE / "results" / "latest.json"


def known() -> list[str]:
    """Names of the benchmarks that are run from here."""
    return sorted(
        path.stem.removeprefix("bench_")
        for path in HERE.glob("bench_*.py")
        if re.search(r"^def measure\(\s*repeats\b", path.read_text(), re.MULTILINE)
    )


def main() -> int:
    names = known()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; or all")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    unknown = set(args.names) - set(names)
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    told = []
    for name in args.names or names:
        rows = importlib.import_module(f"bench_{name}").measure(args.repeats)
        for row in rows:
            show(row)
        told += map(met, rows)
        keep([{"benchmark": name, **row} for row in rows])
    goals = [each for each in told if each is not None]
    print(
        f"{sum(goals)} of {len(goals)} goals met, {len(told) - len(goals)} rows for information; "
        f"written to {LATEST}"
    )
    return 0


def keep(rows: list[dict]) -> None:
    """Put a benchmark's rows in the place of its older ones of the same device."""
    old = json.loads(LATEST.read_text()) if LATEST.exists() else []
    here = {_machine(row) for row in rows}
    others = [row for row in old if _machine(row) not in here]
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(others + rows, indent=1) + "\n")


def _machine(row: dict) -> tuple[str, str]:
    """Benchmark and processor, without how fast its bfloat16 was timed to be."""
    return row["benchmark"], re.split(r",(?: but)? products ", row["device"])[0]


def show(row: dict) -> None:
    ratio = row["ratio"]
    spread = " / ".join(f"{ratio[key]:.3g}" for key in ("min", "median", "max"))
    verdict = {True: ", met", False: ", missed", None: ""}[met(row)]
    print(
        f"{row['name']}\n    ours {row['ours']:.4g}, theirs {row['theirs']:.4g}, "
        f"ratio {spread} (goal: {row['goal']}{verdict})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

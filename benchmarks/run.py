"""Every benchmark, side by side with its peers: a table, and `benchmarks/results/latest.json`.

Each `bench_*.py` beside this file has `measure(repeats) -> list of entries`, an entry being
`{name, device, ours, theirs, ratio: {min, median, max}, goal}`. Run on a machine that does
nothing else: `make bench`, or `python benchmarks/run.py NAME …` for some of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def main() -> int:
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; or all")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    unknown = set(args.names) - set(known)
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    sys.path.insert(0, str(HERE))
    entries = []
    for name in args.names or known:
        for entry in importlib.import_module(f"bench_{name}").measure(args.repeats):
            entries.append(entry)
            show(entry)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(json.dumps(entries, indent=1) + "\n")
    print(f"written to {RESULTS / 'latest.json'}")
    return 0


def show(entry: dict) -> None:
    ratio = entry["ratio"]
    spread = " / ".join(f"{ratio[key]:.3g}" for key in ("min", "median", "max"))
    print(
        f"{entry['name']}\n    ours {entry['ours']:.4g}, theirs {entry['theirs']:.4g}, "
        f"ratio {spread} (goal: {entry['goal']})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

"""What a tenth of a target's budget buys: designs of a calibration, side by side.

On simulated truths, on the shared worlds and as a replay of the study of few pairs. Regret is what
the named choice costs above the best that the target could buy, in per cent of the loss.
`python benchmarks/bench_calibrate.py --replicates 40` prints the table and keeps it as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from designs import DESIGNS, Game  # noqa: E402
from studies import with_tests  # noqa: E402
from truths import METHODS, Truth, of_world, replay, simulated  # noqa: E402
from worlds import drawn, worlds  # noqa: E402

from toolkit.recipe.comparable import Comparable  # noqa: E402

RESULT = HERE / "results" / "calibrate.json"
# The design was made on streams 0, 5 and 7 of simulated truths, and on drawn worlds below 600.
STREAM, UNSEEN = 1, 600
TARGETS = (3e12, 1e13)
# Another study, and its largest budgets: from 3e12 on it compares full fine-tuning alone.
LATER = (("enough-pairs", 1e12), ("enough-pairs", 3e12), ("enough-pairs", 1e13))


def study(folder: Path = ROOT / "runs" / "reference") -> tuple[pd.DataFrame, float]:
    """The best settings of a study and its tests, and its distinct pairs."""
    best = Comparable.of(with_tests(folder)).best
    return best, float(best["unique_pairs"].max())


def answered(table: pd.DataFrame, target: float) -> pd.DataFrame:
    """The runs of the decoders and methods that a study compares at the target.

    A method is kept where two of its decoders were run there, a decoder where all of them were.
    """
    table = table[table["method"].isin(METHODS)]
    there = table[table["budget_flop"] == target].groupby("method")["params"].agg(set)
    kept = {method: sizes for method, sizes in there.items() if len(sizes) > 1}
    sizes = set.intersection(*kept.values())
    return table[table["method"].isin(list(kept)) & table["params"].isin(sizes)]


def measured(design: str, truths: Sequence[Callable[[], Truth]]) -> dict[str, float]:
    """A row: shares of regrets within 1 and 5 %, their mean, what was told, how often it held."""
    rows = []
    for number, truth in enumerate(truths):
        game = Game(truth(), np.random.default_rng([5, number]))
        choice, told, bound = DESIGNS[design](game)
        rows.append((game.truth.regret(choice), told, bound))
    regret, told, bound = np.array(rows).T
    known = np.isfinite(told)
    return {
        "within 1 %": 100 * float((regret <= 1).mean()),
        "within 5 %": 100 * float((regret <= 5).mean()),
        "mean": float(regret.mean()),
        "told": float(told[known].mean()) if known.any() else np.nan,
        "bound holds": 100 * float((regret <= bound + 1e-9)[known].mean())
        if known.any()
        else np.nan,
        "replicates": len(rows),
    }


def parts(replicates: int) -> dict[str, list[Callable[[], Truth]]]:
    """What is asked, by name."""
    best, unique = study()
    found: dict[str, list[Callable[[], Truth]]] = {
        "simulated": [lambda s=s: simulated(s, STREAM) for s in range(replicates)],
        "simulated, law nearly right": [
            lambda s=s: simulated(s, STREAM, decoder=0.02, smooth=0.01, anomaly=0.0)
            for s in range(replicates)
        ],
    }
    found["drawn worlds, the law exact"] = [
        lambda s=s: of_world(drawn(UNSEEN + s), s) for s in range(replicates)
    ]
    for target in TARGETS:
        found[f"few pairs, {target:.0e}"] = [
            lambda s=s, t=target: replay(best, t, s, unique) for s in range(replicates)
        ]
    for name, target in LATER:
        asked, pairs = study(ROOT / "runs" / name)
        asked = answered(asked, target)
        found[f"{name}, {target:.0e}"] = [
            lambda s=s, b=asked, t=target, u=pairs: replay(b, t, s, u) for s in range(replicates)
        ]
    for world in worlds()[:4]:
        found[world.name] = [lambda s=s, w=world: of_world(w, s) for s in range(replicates)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--replicates", type=int, default=40)
    parser.add_argument("--part", default="", help="only those with this in their name")
    parser.add_argument("--designs", default="", help="only these, by name, with semicolons")
    args = parser.parse_args()
    chosen = args.designs.split(";") if args.designs else list(DESIGNS)
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part, truths in parts(args.replicates).items():
        if args.part not in part:
            continue
        for name in chosen:
            row = measured(name, truths)
            kept.setdefault(part, {})[name] = row
            print(f"{part:28} {name:26}", *(f"{k} {v:.1f}" for k, v in row.items()), flush=True)
            RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

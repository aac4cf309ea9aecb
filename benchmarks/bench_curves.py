"""Does a run's curve predict a larger budget better than its last loss alone?

On the study of few pairs: ln L of a decoder and method at the next budget, predicted from its run
at this one, by a line in the last ln L and ln parameters, without and with what the held-out loss
did over the last half of the run. Each decoder is left out in turn.
`python benchmarks/bench_curves.py` prints it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from toolkit.records import ENDED, RunRecord  # noqa: E402

METHODS = ("full", "lora")


def cells(folder: Path) -> dict[tuple[str, int, float], RunRecord]:
    """The best run of every method, size and budget."""
    best: dict[tuple[str, int, float], RunRecord] = {}
    for path in folder.glob("**/record.json"):
        r = RunRecord.from_json(path.read_text())
        if r.status != ENDED[0] or r.config.method not in METHODS or r.config.max_pairs:
            continue
        key = (r.config.method, r.params, r.config.budget_flop)
        if key not in best or r.loss < best[key].loss:
            best[key] = r
    return best


def fall(record: RunRecord) -> float:
    """By how much ln L fell over the last half of the run; NaN where it was not measured."""
    seen = [(flop, loss) for _, flop, _, loss in record.curve if loss is not None]
    half = [loss for flop, loss in seen if flop <= 0.55 * record.curve[-1][1]]
    return float(np.log(half[-1] / record.loss)) if half else float("nan")


def main() -> int:
    best = cells(ROOT / "runs" / "reference")
    rows = []
    for (method, params, flop), record in best.items():
        above = [c for m, p, c in best if (m, p) == (method, params) and 2 < c / flop < 5]
        if above and record.loss < 6.6:
            after = best[method, params, min(above)].loss
            rows.append((params, np.log(record.loss), fall(record), np.log(after)))
    table = np.array([row for row in rows if np.isfinite(row).all()])
    params, last, curve, after = table.T
    print(f"{len(rows)} pairs of budgets, {len(table)} with a curve")
    for name, more in {"last loss": [], "and its curve": [curve]}.items():
        x = np.stack([np.ones(len(last)), last, last**2, np.log(params), *more], axis=1)
        off = np.empty(len(last))
        for size in np.unique(params):
            out = params == size
            off[out] = after[out] - x[out] @ np.linalg.lstsq(x[~out], after[~out], rcond=None)[0]
        print(f"{name:14} error of ln L {np.sqrt((off**2).mean()):.4f}, "
              f"median {np.median(np.abs(off)):.4f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

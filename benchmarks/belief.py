"""What calibrate's law believes of a study's dear runs, told by its cheap ones alone.

Every budget of each study is a target in turn, and all runs in a window of shares of it are shown:
no design chooses them. The law is judged by the density that it gives to the losses at the target,
by the regret of the choice that it names, told and true, and by how far true distances between the
choices lie from those believed, in standard deviations. `python benchmarks/belief.py` prints them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bench_calibrate import ROOT, study  # noqa: E402
from truths import METHODS, NOISE, Truth, replay  # noqa: E402

from toolkit.calibrate.belief import believe  # noqa: E402
from toolkit.calibrate.pool import Runs  # noqa: E402
from toolkit.calibrate.settings import AT_CHANCE  # noqa: E402

STUDIES = ("reference", "enough-pairs", "real-decoder")
WINDOWS = ((0.008, 0.06), (0.008, 0.12), (0.02, 0.4))  # Shares of the target.


def cases(name: str) -> Iterator[tuple[Truth, Runs]]:
    """A target with the runs that are shown, of decoders that both methods were tried with."""
    table, unique = study(ROOT / "runs" / name)
    table = table[table["method"].isin(METHODS)]
    both = table.groupby("params")["method"].nunique() == len(METHODS)
    table = table[table["params"].isin(both[both].index)]
    mean = table.groupby(["method", "params", "budget_flop"])["loss"].mean()
    for target in np.sort(table["budget_flop"].unique()):
        truth = replay(table, float(target), 0, unique)
        if np.isfinite(truth.best).sum() < 2:
            continue
        for low, high in WINDOWS:
            runs = _shown(truth, mean, low * target, high * target)
            if len(runs) > 3:
                yield truth, runs


def _shown(truth: Truth, mean: pd.Series[float], low: float, high: float) -> Runs:
    pool = truth.pool
    choice, level = np.nonzero(truth.there)
    flop = truth.levels[level]
    inside = (flop >= low) & (flop <= high)
    choice, flop = choice[inside], flop[inside]
    keys = zip(
        (pool.methods[m] for m in pool.method[choice]), pool.params[choice], flop, strict=True
    )
    loss = np.array([mean[key] for key in keys])
    return Runs(choice, flop, np.minimum(loss, AT_CHANCE * pool.chance))


def judged(truth: Truth, runs: Runs) -> list[float]:
    """Density, regret, regret told, whether its 90 % bound holds, squared distance off."""
    known = np.isfinite(truth.best)
    drawn, true = believe(truth.pool, runs).target[:, known], np.log(truth.best[known])
    off = true - drawn.mean(axis=0)
    spread = np.cov(drawn.T) + NOISE**2 * np.eye(len(true))
    log = off @ np.linalg.solve(spread, off) + np.linalg.slogdet(2 * np.pi * spread)[1]
    named = drawn.mean(axis=0).argmin()
    told = 100 * np.expm1(drawn[:, named] - drawn.min(axis=1))
    regret = 100 * np.expm1(true[named] - true.min())
    apart = drawn - drawn.mean(axis=1, keepdims=True)
    far = (true - true.mean() - apart.mean(axis=0)) ** 2 / (apart.var(axis=0) + NOISE**2)
    holds = 100.0 * (regret <= np.quantile(told, 0.9) + 1e-9)
    return [-log / 2 / len(true), regret, told.mean(), holds, far.mean()]


def main() -> int:
    heads = "ln density a choice|regret %|told %|its 90 % bound holds %|squared distance off"
    print(f"{'study':14} {'cases':>5}  {'  '.join(heads.split('|'))}")
    for name in STUDIES:
        rows = np.array([judged(*case) for case in cases(name)])
        numbers = (
            f"{v:{len(h)}.2f}" for v, h in zip(rows.mean(axis=0), heads.split("|"), strict=True)
        )
        print(f"{name:14} {len(rows):5}  {'  '.join(numbers)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

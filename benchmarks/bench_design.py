"""Which runs of a finished pool to buy, so that a law tells a dear region: designs side by side.

The two pools of ScaleBench (Li et al. 2026, arXiv 2604.22753), in the package. A design buys runs
until 1, 5 and 10 % of the pool's cost are spent, a law is fitted to them, and R squared of its
predictions in the target region (clipped at -1) is told, the mean over the laws.
`python benchmarks/bench_design.py` prints the table and keeps it as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from toolkit.calibrate.design import POWER  # noqa: E402
from toolkit.laws.forms import Form, form  # noqa: E402
from toolkit.laws.forms.custom import Expression  # noqa: E402
from toolkit.laws.objective import Objective, Problem  # noqa: E402
from toolkit.laws.search import random_starts, search  # noqa: E402
from toolkit.tables import read_table  # noqa: E402

RESULT = HERE / "results" / "design.json"
SHARES = (0.01, 0.05, 0.10)
NOISE = 0.01  # Of ln loss.
STARTS = 60  # Of each fit that is scored.
OBJECTIVE = Objective("huber-log")
CHINCHILLA = "E + A*params**-alpha + B*tokens**-beta"
LAWS = {
    "data-constrained": (
        "data-constrained",
        CHINCHILLA,
        "A*params**-alpha + B*tokens**-beta + E*unique_tokens**-gamma*params**delta",
        "E + A*params**-alpha + B*tokens**-beta + F*unique_tokens**-gamma",
    ),
    "farseer": (
        CHINCHILLA,
        "exp(s*params**q + S) + exp(B*params**b + Q)*tokens**(-exp(A*params**a + E))",
        "E + A*params**-alpha + B*tokens**-beta + F*params**-gamma*tokens**-delta",
    ),
}
# Published with the pools: the mean over laws of their own.
PUBLISHED = {
    "data-constrained": {"random": (-0.74, -0.36, 0.12), "V-optimal": (0.58, 0.83, 0.85)},
    "farseer": {"random": (-0.77, 0.78, 0.79), "V-optimal": (0.67, 0.87, 0.92)},
}


@dataclass(frozen=True, eq=False)
class Market:
    """A pool of runs for sale, and the region that is asked for.

    Attributes:
        law: What is fitted.
        z, centre: (V, n) centred log inputs of the pool, and their log centres.
        unit: Log of the unit that losses are counted in.
        log_loss, cost: (n,) of the pool; `asked` (V, t) and `truth` (t,) of the region.
    """

    law: Form
    z: np.ndarray
    centre: np.ndarray
    unit: float
    log_loss: np.ndarray
    cost: np.ndarray
    asked: np.ndarray
    truth: np.ndarray

    @classmethod
    def of(cls, name: str, law: str) -> Market:
        table = read_table(name)
        pool, target = (table[table["part"] == part] for part in ("pool", "target"))
        loss = pool["loss"].to_numpy()
        if law == name:
            chosen = form(law)
            columns = ["params", "tokens", "unique_tokens"]
        else:
            read = Expression.read(law, [c for c in table if c not in ("part", "flop")])
            columns = list(read.inputs)
            chosen = read.form(pool[columns].to_numpy(float).T, loss)
        logs = np.log(pool[columns].to_numpy(float).T)
        centre = logs.mean(axis=1)
        asked = np.log(target[columns].to_numpy(float).T) - centre[:, None]
        unit = 0.0 if chosen.absolute else float(np.log(loss).mean())
        return cls(chosen, logs - centre[:, None], centre, unit, np.log(loss) - unit,
                   6 * np.exp(logs[:2].sum(axis=0)), asked, target["loss"].to_numpy())  # fmt: skip

    def ends(self, bought: np.ndarray, starts: int, near: np.ndarray | None = None) -> np.ndarray:
        """(S, K) coordinates of the best optimum and its rivals, of the runs bought."""
        problem = self.problem(bought)
        first = random_starts(self.law, problem, starts, np.random.default_rng(0))
        if near is not None:
            first = np.concatenate((near, first))
        found = search(problem, first, self.law.low, self.law.high)
        return np.stack([found.best.phi, *(r.phi for r in found.rivals
                                           if r.value < 2 * found.best.value)])  # fmt: skip

    def problem(self, bought: np.ndarray) -> Problem:
        return Problem(self.law, self.z[:, bought], self.centre,
                       self.log_loss[bought], np.ones(len(bought)), OBJECTIVE)  # fmt: skip

    def slopes(self, phi: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(S, n, K) of ln loss by the law's coordinates."""
        value, slopes = self.law.evaluate(phi, z, self.centre)
        return np.nan_to_num(np.stack([np.broadcast_to(s, value.shape) for s in slopes], axis=2))

    def score(self, bought: np.ndarray) -> float:
        """R squared in the target region of the law fitted to the runs bought."""
        phi = self.ends(bought, STARTS)[:1]
        with np.errstate(over="ignore", invalid="ignore"):
            told = np.exp(self.law.evaluate(phi, self.asked, self.centre)[0][0] + self.unit)
        off = ((told - self.truth) ** 2).sum() / ((self.truth - self.truth.mean()) ** 2).sum()
        return float(np.clip(1 - off, -1, 1)) if np.isfinite(off) else -1.0


# (slopes of the pool (S, n, K), of the region (S, t, K), covariance (S, K, K)) -> (n,) worth.
Worth = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def v_worth(pool: np.ndarray, region: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """By how much a run lessens the variance of the region's predictions, over the optima."""
    spread = NOISE**2 + np.einsum("snk,skl,snl->sn", pool, covariance, pool)
    moved = np.einsum("stk,skl,snl->stn", region, covariance, pool)
    return np.asarray((moved**2).sum(axis=1) / spread).mean(axis=0)


def d_worth(pool: np.ndarray, region: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """By how much a run shrinks the parameters' ellipsoid."""
    spread = np.einsum("snk,skl,snl->sn", pool, covariance, pool)
    return np.asarray(np.log1p(spread / NOISE**2)).mean(axis=0)


def greedy(market: Market, worth: Worth) -> list[np.ndarray]:
    """Rows bought by 1, 5 and 10 %: always what is worth most for its cost."""
    law = market.law
    width = np.array([np.ptp(p.start) for p in law.parameters])
    phi = np.array([[np.mean(p.start) for p in law.parameters]])
    bought: list[int] = []
    out, fitted = [], 0
    for share in SHARES:
        while True:
            left = share * market.cost.sum() - market.cost[bought].sum()
            can = market.cost <= left
            can[bought] = False
            if not can.any():
                break
            if len(bought) > len(width) and len(bought) >= 1.15 * fitted:
                phi, fitted = market.ends(np.array(bought), 24, phi), len(bought)
            known = market.slopes(phi, market.z[:, np.array(bought, int)])
            precision = np.diag(width**-2.0) + np.einsum("snk,snl->skl", known, known) / NOISE**2
            covariance = np.linalg.inv(
                np.broadcast_to(precision, (len(phi), *precision.shape[-2:]))
            )
            value = worth(
                market.slopes(phi, market.z), market.slopes(phi, market.asked), covariance
            )
            bought.append(int(np.where(can, value / market.cost**POWER, -np.inf).argmax()))
        out.append(np.array(bought))
    return out


def ordered(market: Market, order: np.ndarray) -> list[np.ndarray]:
    """Rows bought one after another as they come, those that are too dear left out."""
    out = []
    for share in SHARES:
        left, bought = share * market.cost.sum(), []
        for row in order:
            if market.cost[row] <= left:
                bought.append(int(row))
                left -= market.cost[row]
        out.append(np.array(bought))
    return out


def row(market: Market, design: str, draws: int) -> np.ndarray:
    """(3,) R squared after each share."""
    if design == "all":
        return np.full(3, market.score(np.arange(len(market.cost))))
    if design == "random":
        each = [np.random.default_rng([4, k]).permutation(len(market.cost)) for k in range(draws)]
        bought = [ordered(market, order) for order in each]
    elif design == "cheapest first":
        bought = [ordered(market, market.cost.argsort(kind="stable"))]
    else:
        bought = [greedy(market, v_worth if design == "V-optimal" else d_worth)]
    return np.mean([[market.score(rows) for rows in path] for path in bought], axis=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=5, help="of the random design")
    args = parser.parse_args()
    kept: dict[str, dict[str, dict[str, list[float]]]] = {}
    for pool, laws in LAWS.items():
        markets = {law: Market.of(pool, law) for law in laws}
        for design in ("random", "cheapest first", "D-optimal", "V-optimal", "all"):
            each = {law: row(market, design, args.draws) for law, market in markets.items()}
            mean = np.mean(list(each.values()), axis=0)
            kept.setdefault(pool, {})[design] = {
                "mean": mean.round(3).tolist(),
                **{law: value.round(3).tolist() for law, value in each.items()},
            }
            print(f"{pool:18} {design:16}", *(f"{v:6.2f}" for v in mean),
                  "  published", *PUBLISHED[pool].get(design, ()), flush=True)  # fmt: skip
            RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

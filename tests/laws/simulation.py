"""Do 95 % intervals hold the truth in 95 % of tables? Simulated tables whose truth is known.

    python tests/laws/simulation.py --repeats 300

prints a table of coverages by scenario; the fast test runs a few repeats of some of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.laws import Fit, allocate, compare_laws, fit, fit_isoflop
from toolkit.laws.estimate import Estimate
from toolkit.laws.forms import FORMS

PARAMETRIC = {"E": 1.8, "A": 400.0, "alpha": 0.34, "B": 2000.0, "beta": 0.37}
# About the reference study's: half of the runs near chance, the best at a third of it.
BOUNDED = {"E": 1.2, "A": 40.0, "alpha": 0.45, "B": 3000.0, "beta": 0.5}
CEILING = {"ceiling": float(np.log(1024))}
Truths = Iterator[tuple[str, Estimate, float]]


@dataclass(frozen=True)
class Scenario:
    """A kind of table, and what to compare with the truth on each of its repeats."""

    name: str
    noise: str
    compare: Callable[[np.random.Generator, int], Truths]


def law(
    form: str,
    theta: dict[str, float],
    inputs: np.ndarray,
    noise: Callable[[np.random.Generator, int], np.ndarray],
    **options: object,
) -> Callable[[np.random.Generator, int], Truths]:
    """Fits one form to its own values with noise on the log; yields every parameter."""
    told = CEILING if "ceiling" in FORMS[form].names else {}
    values = np.array([{**theta, **told}[name] for name in FORMS[form].names])
    clean = FORMS[form].value(values, inputs)

    def compare(rng: np.random.Generator, seed: int) -> Truths:
        loss = clean * np.exp(noise(rng, len(clean)))
        found: Fit = fit(
            form, inputs, loss, starts=20, resamples=400, pinned=told, seed=seed, **options
        )
        for name, truth in theta.items():
            yield name, found.params[name], truth
        if form in ("parametric", "bounded"):
            a = theta["beta"] / (theta["alpha"] + theta["beta"])
            yield "exponent of N*", found.derived["exponent_params"], a
            budget = 6 * float(np.median(inputs[0] * inputs[1]))
            g = (theta["alpha"] * theta["A"] / (theta["beta"] * theta["B"])) ** (
                1 / (theta["alpha"] + theta["beta"])
            )
            best = allocate(found, budget)
            size = g * (budget / 6) ** a
            yield "N*(C)", best.params, size
            loss_there = FORMS[form].value(values, [[size], [budget / 6 / size]])[0]
            yield "L*(C)", best.loss, float(loss_there)

    return compare


def isoflop_table(
    rng: np.random.Generator,
    *,
    sizes: int = 7,
    budgets: int = 5,
    seeds: int = 1,
    noise: float = 0.02,
    quieter: float = 1.0,
    loss: Callable[[float], float] = lambda c: 2.0 + 40.0 * c**-0.15,
) -> pd.DataFrame:
    """Runs whose losses are parabolas in log params around N* = 1e5 (C / 1e12)^0.5.

    `quieter` is the noise at the largest budget in units of that at the smallest.
    """
    rows = []
    every = np.geomspace(1e11, 1e13, budgets)
    for c in every:
        spread = noise * quieter ** (np.log(c / every[0]) / np.log(every[-1] / every[0]))
        for n in np.geomspace(1e4, 1e6, sizes):
            bowl = 0.15 * np.log(n / (1e5 * (c / 1e12) ** 0.5)) ** 2
            for _ in range(seeds):
                value = loss(c) + bowl + spread * rng.normal()
                rows.append({"budget_flop": c, "params": n, "tokens": c / 6 / n, "loss": value})
    return pd.DataFrame(rows)


def isoflop(**options: float) -> Callable[[np.random.Generator, int], Truths]:
    def compare(rng: np.random.Generator, seed: int) -> Truths:
        found = fit_isoflop(isoflop_table(rng, **options), resamples=400, seed=seed)  # type: ignore[arg-type]
        yield "exponent of N*", found.laws["params"].exponent, 0.5
        yield "exponent of D*", found.laws["tokens"].exponent, 0.5
        for budget in (1e12, 1e14):
            yield (
                f"N*({budget:.0e})",
                found.laws["params"].predict(budget),
                1e5 * (budget / 1e12) ** 0.5,
            )
            truth = 2.0 + 40.0 * budget**-0.15
            yield f"L*({budget:.0e})", found.laws["loss"].predict(budget), truth
        yield "E", found.laws["loss"].asymptote, 2.0
        middle = found.minima[len(found.minima) // 2]
        if middle.status == "interior":
            yield "N* of one budget", middle.params, 1e5
            yield "L* of one budget", middle.loss, 2.0 + 40.0 * 1e12**-0.15

    return compare


def crossing(rng: np.random.Generator, seed: int) -> Truths:
    """Two methods whose loss laws cross at 1e12 FLOP."""
    fits = {
        name: fit_isoflop(
            isoflop_table(rng, loss=lambda c, p=power: 2.0 + 0.6 * (c / 1e12) ** p),
            resamples=400,
            seed=seed + offset,
        )
        for name, power, offset in (("full", -0.1, 0), ("lora", -0.25, 10_000))
    }
    (found,) = compare_laws({name: fit.laws["loss"] for name, fit in fits.items()})
    if found.status != "none":
        yield "crossover", found.budget, 1e12


def normal(spread: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: spread * rng.normal(size=n)


def heavy(spread: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: spread * rng.standard_t(3, size=n)


def grid(sizes: int, tokens: int) -> np.ndarray:
    n, d = np.meshgrid(np.geomspace(1e7, 1e10, sizes), np.geomspace(1e9, 1e12, tokens))
    return np.stack([n.ravel(), d.ravel()])


def repeated() -> np.ndarray:
    """Sizes, tokens and unique tokens with up to 60 epochs."""
    n, d, u = np.meshgrid(
        np.geomspace(1e7, 3e10, 5), np.geomspace(1e9, 3e11, 6), [5e9, 3e10], indexing="ij"
    )
    return np.stack([n.ravel(), d.ravel(), u.ravel()])


def small(sizes: int, tokens: int) -> np.ndarray:
    """Sizes and tokens of a study of small decoders."""
    n, d = np.meshgrid(np.geomspace(3e3, 3e6, sizes), np.geomspace(1e5, 1e8, tokens))
    return np.stack([n.ravel(), d.ravel()])


def small_repeated() -> np.ndarray:
    """The same with up to 50 epochs of the unique tokens."""
    n, d, u = np.meshgrid(
        np.geomspace(3e3, 3e6, 5), np.geomspace(1e5, 1e8, 6), [2e6, 2e7], indexing="ij"
    )
    return np.stack([n.ravel(), d.ravel(), u.ravel()])


BUDGETS = np.geomspace(1e15, 1e20, 10)
SCENARIOS = (
    Scenario(
        "power, 8 points",
        "5 %",
        law("power", {"coefficient": 0.1, "exponent": 0.5}, BUDGETS[None, :8], normal(0.05)),
    ),
    Scenario(
        "saturating, 10 points",
        "0.5 %",
        law("saturating", {"E": 2.0, "A": 500.0, "alpha": 0.15}, BUDGETS[None], normal(0.005)),
    ),
    Scenario(
        "parabola, 9 points",
        "1 %",
        law(
            "parabola",
            {"L_min": 3.0, "k": 0.3, "x_min": 1e5},
            np.geomspace(1e4, 1e6, 9)[None],
            normal(0.01),
        ),
    ),
    Scenario(
        "parametric, 36 points",
        "0.5 %",
        law("parametric", PARAMETRIC, grid(6, 6), normal(0.005)),
    ),
    Scenario(
        "parametric, 100 points",
        "t(3), 0.5 %",
        law("parametric", PARAMETRIC, grid(10, 10), heavy(0.005)),
    ),
    Scenario(
        "data-constrained, 60 points",
        "0.5 %",
        law(
            "data-constrained",
            {**PARAMETRIC, "R_N": 5.0, "R_D": 15.0},
            repeated(),
            normal(0.005),
        ),
    ),
    Scenario(
        "bounded, 25 points",
        "2 %",
        law("bounded", BOUNDED, small(5, 5), normal(0.02)),
    ),
    Scenario(
        "bounded, 49 points",
        "2 %",
        law("bounded", BOUNDED, small(7, 7), normal(0.02)),
    ),
    Scenario(
        "bounded-repeats, 60 points",
        "1 %",
        law("bounded-repeats", {**BOUNDED, "R_D": 15.0}, small_repeated(), normal(0.01)),
    ),
    Scenario(
        "finetune, 14 points",
        "1 %",
        law(
            "finetune",
            {"E": 1.5, "A": 3.5, "beta": 0.5, "b": -6.0},
            np.geomspace(1e2, 1e9, 14)[None],
            normal(0.01),
        ),
    ),
    Scenario("isoflop, 5 budgets x 7 sizes", "0.02 nats", isoflop()),
    Scenario("isoflop, 5 budgets x 5 sizes", "0.02 nats", isoflop(sizes=5)),
    Scenario("isoflop, 5 x 5, 3 seeds", "0.02 nats", isoflop(sizes=5, seeds=3)),
    Scenario("isoflop, 5 x 7, uneven noise", "0.02 to 0.005 nats", isoflop(quieter=0.25)),
    Scenario("two methods, 5 x 7 each", "0.02 nats", crossing),
)


def simulate(scenario: Scenario, repeats: int) -> dict[str, tuple[float, int]]:
    """Coverage and number of repeats by quantity."""
    held: dict[str, list[bool]] = {}
    for repeat in range(repeats):
        rng = np.random.default_rng([repeat, 7])
        for name, estimate, truth in scenario.compare(rng, repeat):
            held.setdefault(name, []).append(estimate.low <= truth <= estimate.high)
    return {name: (float(np.mean(h)), len(h)) for name, h in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--without", default="", help="and does not contain this")
    args = parser.parse_args()
    print("| table | noise | coverage of 95 % intervals |\n|---|---|---|")
    for scenario in SCENARIOS:
        if args.only in scenario.name and not (args.without and args.without in scenario.name):
            found = simulate(scenario, args.repeats)
            cells = ", ".join(f"{name} {100 * share:.1f}" for name, (share, _) in found.items())
            print(f"| {scenario.name} | {scenario.noise} | {cells} |", flush=True)


if __name__ == "__main__":
    main()

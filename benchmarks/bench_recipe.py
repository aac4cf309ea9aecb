"""The recipe beside naive rules: in worlds whose truth is known, and at a study's larger budgets.

For every table each adviser names a decoder and a method for a budget above all of the table's.
Regret is what following it costs against the best there is, in per cent of the loss. The recipe's
intervals are held against the truth: loss of its choice, ideal size, ideal pairs, and the regret of
the best choice of the other method. `python benchmarks/bench_recipe.py --tables 100` tells all.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

from entry import entry  # noqa: E402
from studies import with_tests  # noqa: E402
from worlds import PARAMS, World, drawn, worlds  # noqa: E402

from toolkit.recipe.recommendation import Recipe, recommend_from  # noqa: E402
from toolkit.recipe.study import Study  # noqa: E402

RESULT = HERE / "results" / "recipe.json"
RULES = ("recipe", "parabolas", "gaussian process", "root of the budget", "same size", "largest",
         "smallest")  # fmt: skip


def naive(cells: pd.DataFrame, budget: float, options: pd.DataFrame) -> dict[str, int]:
    """What each rule names, as a row of `options` (method, params, pairs).

    Args:
        cells: Mean losses by method, params, budget_flop; the table's best settings.
    """
    top = cells[cells["budget_flop"] == cells["budget_flop"].max()]
    best = top.loc[top["loss"].idxmin()]
    ratio = budget / best["budget_flop"]

    def nearest(params: float, method: str = best["method"]) -> int:
        mine = options[options["method"] == method]
        return int((np.log(mine["params"]) - np.log(params)).abs().idxmin())

    return {
        "root of the budget": nearest(best["params"] * np.sqrt(ratio)),
        "same size": nearest(best["params"]),
        "largest": nearest(options["params"].max()),
        "smallest": nearest(options["params"].min()),
        "parabolas": _parabolas(cells, budget, options, nearest),
        "gaussian process": _gaussian_process(cells, options),
    }


def _parabolas(cells: pd.DataFrame, budget: float, options: pd.DataFrame, nearest: object) -> int:
    """Per method a parabola in ln N at each budget, then lines through minima and least losses."""
    found = []
    for method, rows in cells.groupby("method"):
        if not (options["method"] == method).any():
            continue
        places, losses, budgets = [], [], []
        for at, some in rows.groupby("budget_flop"):
            z, y = np.log(some["params"].to_numpy(float)), np.log(some["loss"].to_numpy(float))
            place, least = z[y.argmin()], y.min()
            if len(z) >= 3:
                bend, slope, level = np.polyfit(z, y, 2)
                if bend > 0 and z.min() < -slope / (2 * bend) < z.max():
                    place, least = -slope / (2 * bend), level - slope**2 / (4 * bend)
            places.append(place), losses.append(least), budgets.append(np.log(at))
        degree = min(1, len(budgets) - 1)
        size = np.polyval(np.polyfit(budgets, places, degree), np.log(budget))
        loss = np.polyval(np.polyfit(budgets, losses, degree), np.log(budget))
        found.append((loss, nearest(np.exp(size), method)))  # type: ignore[operator]
    return min(found)[1]


def _gaussian_process(cells: pd.DataFrame, options: pd.DataFrame) -> int:
    """ln loss over ln N, ln D and the method, with one length a dimension."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    names = sorted(set(cells["method"]) | set(options["method"]))

    def inputs(rows: pd.DataFrame) -> np.ndarray:
        number = rows["method"].map(names.index).to_numpy(float)
        return np.stack([np.log(rows["params"]), np.log(rows["pairs"]), number], axis=1)

    kernel = ConstantKernel(1.0) * RBF([2.0, 2.0, 1.0]) + WhiteKernel(1e-3)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    model.fit(inputs(cells), np.log(cells["loss"]))
    return int(options.index[model.predict(inputs(options)).argmin()])


def cells_of(best: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds by method, size and budget."""
    return best.groupby(["method", "params", "budget_flop"])[["loss", "pairs"]].mean().reset_index()


def in_world(number: int, seed: int, stream: int = 1) -> dict[str, float]:
    """One table of a world: every rule's regret, and whether the recipe's intervals hold."""
    known = worlds()
    world = known[number] if number < len(known) else drawn(seed)
    study = Study.of(world.table(np.random.default_rng([stream, number, seed])), draws=500)
    recipe = recommend_from(study, budget_flop=world.asked)
    truth = {m: world.choices(m, world.asked) for m in study.methods}
    options = pd.DataFrame(
        [(m, p, world.asked / c) for m in truth for p, c in
         zip(PARAMS, _flop(m), strict=True)], columns=["method", "params", "pairs"],
    )  # fmt: skip
    named = naive(cells_of(study.best), world.asked, options)
    losses = np.concatenate([truth[m] for m in truth])
    chosen = options.index[
        (options["method"] == recipe.method) & (options["params"] == recipe.decoder.params)
    ]
    place = (
        int(chosen[0])
        if len(chosen)
        else int((np.log(options["params"]) - np.log(recipe.decoder.params)).abs().idxmin())
    )
    found = {rule: 100 * (losses[i] / losses.min() - 1) for rule, i in named.items()}
    found["recipe"] = 100 * (losses[place] / losses.min() - 1)
    return found | _held(world, recipe, truth, losses[place])


def _flop(method: str) -> np.ndarray:
    from worlds import FLOP_PER_PAIR

    return FLOP_PER_PAIR[method]


def _held(
    world: World, recipe: Recipe, truth: dict[str, np.ndarray], loss: float
) -> dict[str, float]:
    """Whether each interval holds the truth, how wide it is, and the error of the loss."""
    size, pairs, _ = world.ideal(recipe.method, world.asked)
    rival = next(c for c in recipe.methods if c.method != recipe.method)
    regret = truth[rival.method].min() - loss
    held = {
        "loss": (recipe.loss, loss),
        "N*": (recipe.ideal.params, size),
        "D*": (recipe.ideal.pairs, pairs),
        "rival's regret": (rival.regret, regret),
    }
    found: dict[str, float] = {"error": 100 * np.log(recipe.loss.value / loss)}
    for name, (estimate, value) in held.items():
        found[f"holds {name}"] = float(estimate.low <= value <= estimate.high)
        width = estimate.high - estimate.low
        if name != "rival's regret":
            width = np.log(estimate.high / estimate.low) if estimate.low > 0 else np.inf
        found[f"width of {name}"] = float(width)
    return found


def in_study(folder: Path) -> pd.DataFrame:
    """A study asked, from every cut of its budgets, for every larger one, tests included."""
    table = with_tests(folder)
    whole = cells_of(Study.of(table, draws=2).best)
    budgets, rows = sorted(whole["budget_flop"].unique()), []
    for cut in budgets[:-1]:
        study = Study.of(table[table["budget_flop"] <= 1.001 * cut])
        for budget in budgets:
            if budget <= 1.001 * cut:
                continue
            options = whole[whole["budget_flop"] == budget]
            options = options[options["method"].isin(study.methods)].reset_index(drop=True)
            recipe = recommend_from(study, budget_flop=float(budget))
            there = {(c.method, c.params): c for c in recipe.choices}
            priced = [
                there[m, p] for m, p in zip(options["method"], options["params"], strict=True)
            ]
            place = int(np.argmin([c.regret.value for c in priced]))
            named = naive(cells_of(study.best), budget, options) | {"recipe": place}
            losses = options["loss"].to_numpy()
            loss, measured = priced[place].loss, losses[place]
            rows.append(
                {"cut": cut, "budget": budget, "decoder": priced[place].decoder,
                 "method": priced[place].method, "measured": measured,
                 "predicted": loss.value, "low": loss.low, "high": loss.high,
                 "holds": float(loss.low <= measured <= loss.high)}
                | {rule: 100 * (losses[i] / losses.min() - 1) for rule, i in named.items()}
            )  # fmt: skip
    return pd.DataFrame(rows)


def summary(tables: int, stream: int = 1, only: str = "") -> pd.DataFrame:
    """A row a world: mean regrets, coverage and median widths over so many tables."""
    rows = {}
    with ProcessPoolExecutor() as pool:
        for number, world in enumerate([*worlds(), drawn(0)]):
            if only not in world.name:
                continue
            each = pd.DataFrame(
                pool.map(partial(in_world, number, stream=stream), range(tables), chunksize=4)
            )
            widths = [name for name in each if name.startswith("width")]
            row = each.drop(columns=["error", *widths]).mean()
            row["error"] = np.sqrt((each["error"] ** 2).mean())
            rows[world.name] = pd.concat([row, each[widths].median()])
            print(world.name, row[["recipe", "root of the budget"]].round(2).to_dict(),
                  row.filter(like="holds").round(2).to_dict(), flush=True)  # fmt: skip
    return pd.DataFrame(rows).T


def measure(repeats: int) -> list[dict]:
    """Mean regret of the recipe against the root of the budget: a row a world, one a study."""
    table = summary(max(8, 10 * repeats))
    study = in_study(ROOT / "runs" / "reference")
    keep(table, study)
    pairs = {name: (row["recipe"], row["root of the budget"]) for name, row in table.iterrows()}
    pairs["every cut of the study of few pairs"] = (
        study["recipe"].mean(), study["root of the budget"].mean(),
    )  # fmt: skip
    return [
        entry(f"regret of the recipe, per cent: {name}", [ours], [theirs], "at most 1",
              [ours / max(theirs, 1e-9)])
        for name, (ours, theirs) in pairs.items()
    ]  # fmt: skip


def keep(table: pd.DataFrame, study: pd.DataFrame) -> None:
    """Everything that was measured, as JSON."""
    RESULT.write_text(
        json.dumps(
            {"worlds": json.loads(table.to_json(orient="index")),
             "study": json.loads(study.to_json(orient="records"))}, indent=1,
        ) + "\n"
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=100, help="a world")
    parser.add_argument("--stream", type=int, default=1, help="of random numbers")
    parser.add_argument("--world", default="", help="only those with this in their name")
    args = parser.parse_args()
    study = in_study(ROOT / "runs" / "reference")
    later = study[study["cut"] >= 2.9e11]
    with pd.option_context("display.width", 250, "display.max_columns", 40):
        print(study.round(3).to_string())
        print(study[list(RULES)].agg(["mean", "max"]).round(2).to_string())
        print("cuts at 3e11 and above", later["recipe"].agg(["mean", "max"]).round(2).to_dict())
        print("holds", study["holds"].mean().round(3))
        table = summary(args.tables, args.stream, args.world)
        print(table.round(3).T.to_string())
    if not args.world:
        keep(table, study)
    return 0


if __name__ == "__main__":
    sys.exit(main())

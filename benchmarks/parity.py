"""Whether bfloat16 products change what a run comes to: seeds in both precisions, side by side.

For some decoders and every method the same runs are made twice, in float32 and in bfloat16, seed by
seed. Told are the mean difference of the final held-out loss, beside the standard error of the mean
over seeds, which it should be under, and beside its own; and whether every bias and norm weight
that was trained moved. Also what rounding in the evaluation alone does: the float32 run's encoder
is measured in both.

    python benchmarks/parity.py [--seeds 20] [--decoders small-15k small-85k] [--methods full]
        [--times 10] [--minutes 30]

Results are written after every run to `results/parity.json`, and a later call goes on there.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from toolkit import machine
from toolkit.methods import STUDIED
from toolkit.runs import RunConfig
from toolkit.training.evaluation import evaluate
from toolkit.training.preparation import load_encoder, prepare
from toolkit.training.run import hardware_name, train_encoder

RESULTS = Path(__file__).resolve().parent / "results" / "parity.json"
# FLOP that give each decoder some tens of steps of 16 pairs, in half a minute on one core.
BUDGETS = {"small-15k": 1e10, "small-85k": 4e10, "small-559k": 1.5e11}
CANDIDATES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--decoders", nargs="+", default=list(BUDGETS), choices=BUDGETS)
    parser.add_argument("--methods", nargs="+", default=list(STUDIED), choices=STUDIED)
    parser.add_argument("--times", type=float, default=1, help="so many times the usual budgets")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no run after these")
    args = parser.parse_args()
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"machines": {}, "pairs": []}
    known["machines"][here()] = machine.bfloat16_speedup()
    done = {(p["decoder"], p["method"], p["budget_flop"], p["seed"]) for p in known["pairs"]}
    end = time.monotonic() + 60 * args.minutes
    # Seeds come last, so that any time gives all decoders and methods.
    for seed, decoder, method in product(range(args.seeds), args.decoders, args.methods):
        wanted = (decoder, method, args.times * BUDGETS[decoder], seed)
        if wanted not in done and time.monotonic() < end:
            known["pairs"].append(pair(*wanted))
            write(known["machines"], known["pairs"])
    for row in summary(known["pairs"]):
        print(row)


def pair(decoder: str, method: str, budget: float, seed: int) -> dict[str, Any]:
    """One run in both precisions."""
    config = RunConfig(decoder, budget, method, batch_pairs=16, candidates=CANDIDATES, seed=seed)
    found: dict[str, Any] = {"decoder": decoder, "method": method, "budget_flop": budget}
    found |= {"seed": seed, "machine": here()}
    for precision in ("float32", "bfloat16"):
        values = {**config.to_dict(), "precision": precision}
        record, model = train_encoder(RunConfig.from_dict(values))
        found |= {precision: record.loss, f"{precision} seconds": record.seconds}
        found["steps"] = record.steps
        if precision == "bfloat16":
            found["still"] = still(config, model)
        else:
            run = prepare(config)
            found["float32, evaluated in bfloat16"] = evaluate(
                model,
                run.held_out,
                temperature=config.temperature,
                pooling=config.pooling,
                precision="bfloat16",
            ).loss
    return found


def still(config: RunConfig, model: torch.nn.Module) -> list[str]:
    """Trained biases and norm weights of which an element is what it was before training."""
    before = dict(load_encoder(prepare(config)).named_parameters())
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and parameter.dim() == 1
        and bool((parameter == before[name]).any())
    ]


def here() -> str:
    """This machine, and the instructions that it has for bfloat16."""
    flags = sorted((machine.processor_flags() or frozenset()) & machine.BFLOAT16_FLAGS)
    return ", ".join((hardware_name(), *flags))


def write(machines: dict[str, float], pairs: list[dict[str, Any]]) -> None:
    """The results so far; `machines` with their bfloat16 products' speed against float32's."""
    result = {"machines": machines, "summary": summary(pairs), "pairs": pairs}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def summary(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a decoder and method with two seeds or more."""
    rows = []
    cells = [tuple(p[name] for name in ("decoder", "method", "budget_flop")) for p in pairs]
    for key in dict.fromkeys(cells):
        own = [p for p, cell in zip(pairs, cells, strict=True) if cell == key]
        if len(own) < 2:
            continue
        losses = [p["float32"] for p in own]
        differences = [p["bfloat16"] - p["float32"] for p in own]
        error = stdev(losses) / math.sqrt(len(own))
        rows.append(
            {
                "decoder": key[0],
                "method": key[1],
                "budget_flop": key[2],
                "seeds": len(own),
                "steps": own[0]["steps"],
                "loss in float32": mean(losses),
                "mean difference": mean(differences),
                "standard error over seeds": error,
                "standard error of the difference": stdev(differences) / math.sqrt(len(own)),
                "within": abs(mean(differences)) < error,
                "evaluation in bfloat16 alone": max(
                    abs(p["float32, evaluated in bfloat16"] - p["float32"]) for p in own
                ),
                "parameters that stood still": sorted({x for p in own for x in p["still"]}),
            }
        )
    return rows


if __name__ == "__main__":
    main()

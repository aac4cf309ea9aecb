"""Worlds in which the loss of every run is known, and run tables made in them.

L = E + x, or E + (ln K - E) x/(1 + x), with x = e^A (N/24000)^-alpha + e^B (D'/60000)^-beta and
Muennighoff's D' where the distinct pairs are limited. Constants and designs are in `worlds.json`:
fitted to, or chosen around, the study of few pairs, with a noise that seeds have there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

CANDIDATES = 1024
TOKENS_PER_PAIR = 95.24
CONSTANTS = json.loads((Path(__file__).parent / "worlds.json").read_text())
PARAMS = np.array(CONSTANTS["params"], float)
FLOP_PER_PAIR = {m: np.array(v) for m, v in CONSTANTS["flop_per_pair"].items()}
METHODS = tuple(FLOP_PER_PAIR)


@dataclass(frozen=True)
class World:
    """One truth, and the design of the study that is made in it."""

    name: str
    constants: dict[str, Any]
    design: dict[str, Any] = field(repr=False)

    @property
    def asked(self) -> float:
        """The budget that a recipe is asked for, in FLOP."""
        return float(self.design["asked"])

    @property
    def unique(self) -> float:
        return float(self.constants.get("unique_pairs", np.inf))

    def loss(self, method: str, params: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """The loss of a run without noise."""
        return self.off(method, params, pairs, (0.0, 0.0))

    def off(
        self, method: str, params: np.ndarray, pairs: np.ndarray, own: Sequence[float]
    ) -> np.ndarray:
        """The same of a decoder that stands off the law by `own`, in ln capacity and efficiency."""
        c = self.constants
        data = np.minimum(pairs, self.unique)
        if np.isfinite(self.unique):
            repeats = np.maximum(pairs / self.unique - 1, 0)
            data = data + self.unique * c["R"] * -np.expm1(-repeats / c["R"])
        x = np.exp(c["A"][method] + own[0]) * (params / 24000) ** -c["alpha"]
        x = x + np.exp(c["B"][method] + own[1]) * (data / 60000) ** -c["beta"]
        if c["form"] == "chinchilla":
            return c["E"] + x
        return c["E"] + (np.log(CANDIDATES) - c["E"]) * x / (1 + x)

    def choices(self, method: str, budget_flop: float) -> np.ndarray:
        """The losses of all nine decoders at a budget."""
        return self.loss(method, PARAMS, budget_flop / FLOP_PER_PAIR[method])

    def ideal(self, method: str, budget_flop: float) -> tuple[float, float, float]:
        """The best size of all, its pairs and its loss."""
        sizes = np.geomspace(500, 3e8, 6001)
        pairs = budget_flop / cost(method, sizes)
        losses = self.loss(method, sizes, pairs)
        best = int(losses.argmin())
        return float(sizes[best]), float(pairs[best]), float(losses[best])

    def table(self, rng: np.random.Generator) -> pd.DataFrame:
        """A run table of the design."""
        d, rows = self.design, []
        for method in METHODS:
            for budget in d["budgets"]:
                for params, flop in zip(
                    PARAMS[: d["decoders"]], FLOP_PER_PAIR[method], strict=False
                ):
                    pairs = budget / flop
                    coarse = rng.uniform(*d["coarse"]) if "coarse" in d else 1.0
                    clean = coarse * float(self.loss(method, np.array([params]), pairs)[0])
                    for seed in range(d["seeds"]):
                        rows.append(
                            {
                                "method": method,
                                "params": int(params),
                                "budget_flop": budget,
                                "pairs": pairs,
                                "tokens": pairs * TOKENS_PER_PAIR,
                                "unique_pairs": self.unique,
                                "candidates": CANDIDATES,
                                "seed": seed,
                                "loss": clean * np.exp(d["noise"] * rng.standard_normal()),
                            }
                        )
        table = pd.DataFrame(rows)
        return table if np.isfinite(self.unique) else table.drop(columns="unique_pairs")


def cost(method: str, params: np.ndarray) -> np.ndarray:
    """FLOP of a pair at any size: linear in the logarithms between the decoders, and beyond."""
    z, at, value = np.log(params), np.log(PARAMS), np.log(FLOP_PER_PAIR[method])
    slopes = np.diff(value) / np.diff(at)
    beyond = np.minimum(z - at[0], 0) * slopes[0] + np.maximum(z - at[-1], 0) * slopes[-1]
    return np.exp(np.interp(z, at, value) + beyond)


def worlds() -> list[World]:
    """The twelve scenarios."""
    made = [
        World(f"{w}, {d}", CONSTANTS["worlds"][w], CONSTANTS["designs"][d])
        for w, d in CONSTANTS["scenarios"]
    ]
    crossing = CONSTANTS["crossovers"]
    design = CONSTANTS["designs"][crossing["design"]]
    for name in ("bounded", "centred"):
        for budget in crossing["budgets"]:
            made.append(_crossing_at(budget, World(f"{name}, crossing at {budget:.0e}",
                                                   CONSTANTS["worlds"][name], design)))  # fmt: skip
    return made


def drawn(seed: int) -> World:
    """A world of constants that no study has, of either form, with repeats or without."""
    rng = np.random.default_rng([7, seed])
    a, b = rng.normal(-0.9, 0.5), rng.normal(0.3, 0.5)
    constants = {
        "form": str(rng.choice(["bounded", "chinchilla"])),
        "E": rng.uniform(0.1, 1.4),
        "alpha": rng.uniform(0.2, 0.6),
        "beta": rng.uniform(0.25, 1.1),
        "A": {"full": a, "lora": a + rng.normal(0, 0.2)},
        "B": {"full": b, "lora": b + rng.normal(0.2, 0.3)},
    }
    if rng.random() < 0.5:
        constants |= {"unique_pairs": int(10 ** rng.uniform(4.3, 6)), "R": rng.uniform(1, 12)}
    designs = CONSTANTS["designs"]
    return World("drawn constants", constants, designs[str(rng.choice(list(designs)))])


def _crossing_at(budget: float, world: World) -> World:
    """The same world with a LoRA whose optimal loss meets that of full fine-tuning at a budget."""
    base = world.constants
    full = World("", base, world.design).ideal("full", budget)[2]

    def with_lora(efficiency: float) -> World:
        a = base["A"] | {"lora": base["A"]["full"] - 0.25}
        return replace(world, constants=base | {"A": a, "B": base["B"] | {"lora": efficiency}})

    low, high = base["B"]["full"] - 0.5, base["B"]["full"] + 2
    return with_lora(brentq(lambda b: with_lora(b).ideal("lora", budget)[2] - full, low, high))

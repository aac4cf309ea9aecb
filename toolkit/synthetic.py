"""Run tables with a known truth: to learn with, and to test the right half of the house with.

Each method follows L(N, D) = E + A / N^α + B / D^β (Hoffmann et al. 2022, approach 3) and costs so
many FLOP per parameter and token; noise comes on top. The optimum at a budget C then follows:
N* = (αA / βB)^(1/(α+β)) · (C / cost)^(β/(α+β)) and D* = C / (cost · N*).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.decoders import KNOWN
from toolkit.methods import owners
from toolkit.methods.freeze import TRAINED_BLOCKS
from toolkit.methods.lora import LORA_RANK

TOKENS_PER_PAIR = 65
BUDGETS = (1e11, 10**11.5, 1e12, 10**12.5, 1e13)
DECODERS = ("small-7k", "small-15k", "small-38k", "small-85k", "small-200k", "small-559k")
BEST_RANK = 64
CANDIDATES = 16_384  # Chance, ln K, lies above every loss of these tables.


@dataclass(frozen=True)
class Truth:
    """The law that a method's runs follow.

    Attributes:
        floor, a, alpha, b, beta: E, A, α, B and β.
        cost: FLOP per parameter and token.
    """

    floor: float
    a: float
    alpha: float
    b: float
    beta: float
    cost: float

    def loss(self, params: float, budget_flop: float) -> float:
        """The loss when the budget is spent on a decoder of so many parameters."""
        tokens = budget_flop / (self.cost * params)
        return self.floor + self.a / params**self.alpha + self.b / tokens**self.beta

    def optimum(self, budget_flop: float) -> tuple[float, float, float]:
        """The best parameters, their tokens and the loss at a budget."""
        total = self.alpha + self.beta
        scale = (self.alpha * self.a / (self.beta * self.b)) ** (1 / total)
        params = scale * (budget_flop / self.cost) ** (self.beta / total)
        return params, budget_flop / (self.cost * params), self.loss(params, budget_flop)


# Of the study's methods. As on the poster, full fine-tuning is best at low budgets, LoRA at high.
TRUTH: dict[str, Truth] = {
    "full": Truth(1.50, 52, 0.35, 160, 0.35, 6.0),
    "freeze": Truth(1.75, 52, 0.35, 168, 0.35, 4.0),
    "lora": Truth(1.30, 61, 0.35, 190, 0.35, 4.3),
    "bias": Truth(2.40, 54, 0.35, 175, 0.35, 4.0),
}


def run_table(
    *,
    truth: Mapping[str, Truth] = TRUTH,
    decoders: Sequence[str] = DECODERS,
    budgets: Sequence[float] = BUDGETS,
    ranks: Sequence[int] = (BEST_RANK,),
    shares: Sequence[float] = (0.5,),
    seeds: Sequence[int] = (0,),
    noise: float = 0.01,
    seed: int = 0,
) -> pd.DataFrame:
    """A run table of methods × decoders × budgets × seeds, with the columns of a real one.

    Args:
        truth: Law by method.
        decoders: Names known to `toolkit.decoders`.
        budgets: In FLOP.
        ranks: Of methods that have one. Away from 64 they do worse, high ones most of all at low
            budgets.
        shares: Of the blocks, of methods that train the last ones; each share but the best, one
            half, does worse.
        seeds: One run for each.
        noise: Standard deviation of the loss relative to the loss.
        seed: Of the noise.
    """
    rng = np.random.default_rng(seed)
    largest = max(budgets)
    ranked, shared = owners(LORA_RANK.name), owners(TRAINED_BLOCKS.name)
    rows = [
        _row(method, law, decoder, budget, rank, share, run_seed, noise * rng.normal(), largest)
        for method, law in truth.items()
        for rank in (ranks if method in ranked else (None,))
        for share in (shares if method in shared else (None,))
        for decoder in decoders
        for budget in budgets
        for run_seed in seeds
    ]
    return pd.DataFrame(rows)


def _row(
    method: str,
    law: Truth,
    decoder: str,
    budget: float,
    rank: int | None,
    share: float | None,
    seed: int,
    error: float,
    largest: float,
) -> dict[str, object]:
    found = KNOWN[decoder]
    tokens = budget / (law.cost * found.params)
    penalty = 0.0
    if rank is not None:
        octaves = math.log2(rank / BEST_RANK)
        early = 1 + math.log10(largest / budget) if octaves > 0 else 1
        penalty = 0.012 * octaves**2 * early
    if share is not None:
        penalty = 0.8 * (share - 0.5) ** 2
    loss = (law.loss(found.params, budget) + penalty) * (1 + error)
    pairs = max(1, round(tokens / TOKENS_PER_PAIR))
    settings = [str(value) for value in (rank, share) if value is not None]
    blocks = None if share is None else max(1, round(share * found.shape.layers))
    return {
        "run": f"{method}-{decoder}-{budget:.3g}-s{seed}-{'-'.join(settings) or None}",
        "decoder": decoder,
        "method": method,
        "params": found.params,
        "budget_flop": budget,
        "flop_convention": "model",
        "flop_paper": 0.8 * budget,
        "flop_model": budget,
        "flop_hardware": 1.2 * budget,
        "tokens": round(tokens),
        "pairs": pairs,
        "unique_pairs": 10_000_000,
        "steps": max(1, pairs // 32),
        "loss": loss,
        "candidates": CANDIDATES,
        "lr": 4e-3,
        "batch_pairs": 32,
        "lora_rank": rank,
        "trained_blocks": blocks,
        "temperature": 0.025,
        "max_tokens": 75,
        "data": "docstrings",
        "seed": seed,
        "status": "finished",
        "reason": "",
    }

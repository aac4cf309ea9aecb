"""Hard negatives mined before the first step, by run zero: the decoder as it was pre-trained.

Of the pairs that the budget will reach, in groups of some thousand, every query is compared with
every positive; the most similar of the others' positives are its negatives, but for those within a
margin of its own or above it: they may be right answers (as in NV-Retriever: Moreira et al. 2024).
What that costs, a forward pass of all texts and the comparisons, the budget pays.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from toolkit.cache import cache_folder
from toolkit.choices import GROUP
from toolkit.contrast.loss import equal_texts
from toolkit.contrast.packing import plan_step
from toolkit.contrast.step import chunk_size, embed
from toolkit.errors import SurroundingsError
from toolkit.flops import NOTHING, StepFlops, forward_flops
from toolkit.pairs.negatives import Negatives
from toolkit.pairs.store import TokenisedPairs
from toolkit.pairs.tokens import TokenisedData

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from toolkit.decoders import Shape
    from toolkit.runs import RunConfig


def mine(
    model: PreTrainedModel,
    pairs: TokenisedPairs,
    order: np.ndarray,
    *,
    pooling: str,
    per_query: int,
    margin: float,
    precision: str = "float32",
) -> Negatives:
    """The hard negatives of the pairs at the positions `order`; others have none.

    Args:
        model: The untuned decoder. pairs: The training side. order: Which to mine, and for.
        pooling, precision: See `toolkit.contrast.step.embed`.
        per_query: At most so many of each.
        margin: Positives of others count as wrong if they are less similar than one's own by
            more than this (cosine).
    """
    found: list[list[int]] = [[] for _ in range(len(pairs))]
    for group in _groups(order):
        queries, positives = pairs.queries.take(group), pairs.positives.take(group)
        vectors = [
            torch.nn.functional.normalize(
                embed(model, texts, pooling=pooling, precision=precision).float(), dim=-1
            )
            for texts in (queries, positives)
        ]
        scores = vectors[0] @ vectors[1].T
        equal = equal_texts(queries.keys(), positives.keys())
        right = scores >= scores.diagonal()[:, None] - margin
        if equal is not None:
            right |= torch.from_numpy(equal).to(right.device)
        right.fill_diagonal_(True)
        best = scores.masked_fill_(right, -torch.inf).topk(min(per_query, len(group)))
        for pair, values, places in zip(
            group.tolist(), best.values.tolist(), best.indices.tolist(), strict=True
        ):
            found[pair] = [
                int(group[place])
                for value, place in zip(values, places, strict=True)
                if value > -np.inf
            ]
    counts = np.array([len(places) for places in found], np.int64)
    flat = np.array([place for places in found for place in places], np.int64)
    return Negatives(pairs.positives, flat, np.concatenate(([0], np.cumsum(counts))), per_query)


def _groups(order: np.ndarray) -> list[np.ndarray]:
    return [order[start : start + GROUP] for start in range(0, len(order), GROUP)]


def mining_flops(
    shape: Shape, pairs: TokenisedPairs, order: np.ndarray, like: Any, *, packed: bool = True
) -> StepFlops:
    """FLOPs of `mine` on these pairs.

    Args:
        shape: Of the decoder. like: A tensor on the device that it will run on.
        packed: Whether its texts run packed (`toolkit.contrast.paths`).
    """
    total = NOTHING
    for group in _groups(order):
        sides = pairs.queries.lengths(group), pairs.positives.lengths(group)
        for lengths in sides:
            execution = plan_step(lengths, chunk_tokens=chunk_size(like), packed=packed)
            total += forward_flops(shape, lengths, execution)
        total += StepFlops(0, *[2 * len(group) ** 2 * shape.hidden] * 2)
    return total


def reached(
    pool: np.ndarray, budget_flop: float, training_flop: float, searching_flop: float
) -> np.ndarray:
    """The pairs of a pool a budget reaches, if each is mined for and then trained on.

    Args:
        pool: Positions in the order in which they are first seen.
        training_flop, searching_flop: Of one pair, on average.
    """
    count = int(1.02 * budget_flop / (training_flop + searching_flop)) + 1
    return pool[: min(len(pool), count)]


def mined(
    model: PreTrainedModel,
    data: TokenisedData,
    order: np.ndarray,
    config: RunConfig,
    precision: str,
) -> Negatives:
    """`mine` as a configuration says, kept in the cache: a run that goes on finds the same.

    Raises:
        ToolkitError: The cache cannot be written.
    """
    from toolkit.training.weights import frozen_fingerprint

    per_query = config.negatives_per_query or 1
    settings = (
        data.identity,
        frozen_fingerprint(model.requires_grad_(False)),
        hashlib.sha256(order.tobytes()).hexdigest(),
        (config.pooling, config.prefix_in_pooling, config.attention, precision),
        (per_query, config.negative_margin or 0.0, GROUP),
    )
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:16]
    path = cache_folder() / f"mined-{digest}.npz"
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Negatives(data.train.positives, stored["places"], stored["offsets"], per_query)
    except Exception:  # numpy and zipfile fail in many ways on a damaged file
        pass
    found = mine(
        model,
        data.train,
        order,
        pooling=config.pooling,
        per_query=per_query,
        margin=config.negative_margin or 0.0,
        precision=precision,
    )
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, places=found.places, offsets=found.offsets)
        os.replace(temporary, path)
    except OSError as error:
        raise SurroundingsError(f"cannot keep what was mined in {path.parent}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return found

"""How a batch of texts runs: which texts together, and which of them twice. No torch.

Texts are sorted by length and cut into *chunks*, one forward pass each. The texts of a chunk follow
one another in one stream, so that linear layers see real tokens only; attention alone works on
*windows*, a text's length rounded up to a multiple of 16. All of it follows from the lengths, so
FLOPs are known before anything runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WINDOW = 16
CPU_CHUNK, GPU_CHUNK = 2_048, 16_384  # Tokens of a chunk that keep a device busy, near its caches.


@dataclass(frozen=True, eq=False)
class StepPlan:
    """The plan of a step, and the record of how it ran.

    Attributes:
        order: Positions of the texts (queries first, then positives) as they run, longest last;
            int64, shape [texts], as all that follows is in this order.
        tokens: Token slots of each text in linear layers; int64, shape [texts].
        windows: Token slots of each text in attention; int64, shape [texts].
        chunks: Where each chunk starts among the texts, and the end; int64, shape [chunks + 1].
        recomputed: Chunks whose graph is not kept: they run forward twice. Shape [chunks].
        checkpointing: Trained blocks run forward once more during the backward pass.
    """

    order: np.ndarray
    tokens: np.ndarray
    windows: np.ndarray
    chunks: np.ndarray
    recomputed: np.ndarray
    checkpointing: bool = False


def plan_step(
    lengths: np.ndarray,
    *,
    chunk_tokens: int | None = None,
    kept_tokens: int | None = None,
    checkpointing: bool = False,
    packed: bool = True,
) -> StepPlan:
    """Plan a step from its texts' lengths.

    Args:
        lengths: Tokens of each text, queries first, then positives; shape [texts].
        chunk_tokens: At most so many tokens a chunk (a longer text is a chunk of its own); None
            for one chunk. Chunks are about equally large.
        kept_tokens: Tokens whose graph may be kept at one time; None for one chunk's where
            `chunk_tokens` is given, else for all.
        checkpointing: Recompute trained blocks in the backward pass.
        packed: False for a decoder that takes no packed stream: texts of a chunk are padded to
            its longest.
    """
    order = np.argsort(lengths, kind="stable")
    tokens = lengths[order].astype(np.int64)
    longest = tokens[-1]
    ends = np.cumsum(tokens if packed else np.full_like(tokens, longest))
    total = ends[-1]
    count = 1
    if chunk_tokens is not None and total > chunk_tokens:
        count = -(-total // max(1, chunk_tokens - longest + 1))
    number = (ends - 1) * count // total
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    windows = -(-tokens // WINDOW) * WINDOW
    if not packed:
        tokens = windows = np.maximum.reduceat(tokens, starts)[np.unique_inverse(number)[1]]
    sizes = np.add.reduceat(tokens, starts)
    if kept_tokens is None:
        kept_tokens = sizes.max() if chunk_tokens is not None else total
    return StepPlan(
        order=order,
        tokens=tokens,
        windows=windows,
        chunks=np.append(starts, len(order)),
        # The chunk that runs last goes backward first: its graph costs no more than any other's
        # would a moment later, so it is always kept.
        recomputed=np.append(np.cumsum(sizes[::-1])[::-1][:-1] > kept_tokens, False),
        checkpointing=checkpointing,
    )


def plan_ahead(
    lengths: np.ndarray,
    *,
    packed: bool,
    chunk_tokens: int | None = None,
    checkpointing: bool = False,
    usual: int = CPU_CHUNK,
) -> StepPlan:
    """The plan of a step before anything is loaded, as it will be where its graphs fit in memory.

    Args:
        lengths, packed, chunk_tokens, checkpointing: See `plan_step`.
        usual: Tokens of a chunk on the device, where `chunk_tokens` is left to it. It matters to
            decoders that are padded alone.
    """
    if packed or chunk_tokens is not None:
        return plan_step(
            lengths, chunk_tokens=chunk_tokens, checkpointing=checkpointing, packed=packed
        )
    everything = len(lengths) * int(lengths.max())
    return plan_step(
        lengths,
        chunk_tokens=usual,
        kept_tokens=everything,
        checkpointing=checkpointing,
        packed=False,
    )


def spread(mean: float, count: int) -> np.ndarray:
    """`count` whole lengths with the given mean, as equal as can be: int64, shape [count]."""
    return np.diff(np.round(np.arange(count + 1) * mean).astype(np.int64))

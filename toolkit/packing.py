"""How a batch of texts runs: which texts together, which chunks twice. No torch.

Texts are sorted by length and laid out as *groups*: rectangles of texts with (nearly) the same
length, short ones padded on the right. The groups of a chunk follow one another in one stream of
tokens, on which the linear layers run; attention runs group by group. A chunk is what one forward
pass holds. All of it follows from the lengths alone, so FLOPs are known before anything runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Execution:
    """The plan of a step, and the record of how it ran.

    Attributes:
        order: Positions of the texts (queries first, then positives) as they run, int64,
            shape [texts]: longest last.
        rows: Texts of each group, int64, shape [groups].
        lengths: Tokens of each text of a group, padding included, int64, shape [groups].
        chunks: Where each chunk starts among the groups, and the end, int64, shape [chunks + 1].
        recomputed: Chunks whose graph is not kept: they run forward twice. Shape [chunks].
        checkpointing: Trained blocks run forward once more during the backward pass.
    """

    order: np.ndarray
    rows: np.ndarray
    lengths: np.ndarray
    chunks: np.ndarray
    recomputed: np.ndarray
    checkpointing: bool

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of each group, padding included: int64, shape [groups]."""
        return self.rows * self.lengths


def plan_step(
    lengths: np.ndarray,
    *,
    chunk_tokens: int | None = None,
    kept_tokens: int | None = None,
    checkpointing: bool = False,
) -> Execution:
    """Plan a step from its texts' lengths.

    Args:
        lengths: Tokens of each text, queries first, then positives; shape [texts].
        chunk_tokens: Tokens of a chunk, padding included (a longer text is a chunk of its own);
            None for one chunk.
        kept_tokens: Tokens whose graph may be kept at one time; None for one chunk's worth where
            `chunk_tokens` is given, else for all.
        checkpointing: Recompute trained blocks in the backward pass.
    """
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order].astype(np.int64)
    stops = _chunk_stops(ordered, chunk_tokens)
    starts = np.concatenate(([0], stops[:-1]))
    rows, widest = stops - starts, ordered[stops - 1]
    if kept_tokens is None:
        kept_tokens = int((rows * widest).max()) if chunk_tokens is not None else 2**62
    backwards = np.cumsum((rows * widest)[::-1])[::-1]
    return Execution(
        order=order,
        rows=rows,
        lengths=widest,
        chunks=np.arange(len(rows) + 1),
        recomputed=backwards > kept_tokens,
        checkpointing=checkpointing,
    )


def _chunk_stops(ordered: np.ndarray, chunk_tokens: int | None) -> np.ndarray:
    """Where chunks end, so that texts × longest stays within `chunk_tokens`."""
    if chunk_tokens is None:
        return np.array([len(ordered)])
    stops, start = [], 0
    while start < len(ordered):
        padded = ordered[start:] * np.arange(1, len(ordered) - start + 1)
        start += max(1, int(np.searchsorted(padded, chunk_tokens, side="right")))
        stops.append(start)
    return np.array(stops)


def spread(mean: float, count: int) -> np.ndarray:
    """`count` whole lengths with the given mean, as equal as can be: int64, shape [count]."""
    return np.diff(np.round(np.arange(count + 1) * mean).astype(np.int64))

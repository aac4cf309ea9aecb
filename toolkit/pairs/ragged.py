"""Ragged texts: token ids one after the other, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from toolkit.pairs.near import mixed


@dataclass(frozen=True)
class Ragged:
    """Texts as token ids, one after the other, without padding.

    Attributes:
        ids: Token ids of all texts, int32, shape [tokens].
        lengths: Tokens of each text, int32, shape [texts]; none is zero.
        skipped: First tokens of each text that pooling leaves out, int32, shape [texts]; None for
            none.
    """

    ids: np.ndarray
    lengths: np.ndarray
    skipped: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> Ragged:
        """These texts' ids, one after the other."""
        lengths = np.array([len(ids) for ids in texts], np.int32)
        return cls(np.fromiter(chain.from_iterable(texts), np.int32, lengths.sum()), lengths)

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """The texts of several, one after the other."""
        skipped = None
        if any(part.skipped is not None for part in parts):
            zeros = (np.zeros(len(part), np.int32) for part in parts)
            skipped = np.concatenate(
                [
                    zero if part.skipped is None else part.skipped
                    for part, zero in zip(parts, zeros, strict=True)
                ]
            )
        ids, lengths = (np.concatenate([getattr(p, n) for p in parts]) for n in ("ids", "lengths"))
        return cls(ids, lengths, skipped)

    @property
    def offsets(self) -> np.ndarray:
        """Where each text starts in `ids`, and the end of the last: int64, shape [texts + 1]."""
        return np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`, in that order."""
        found = _take(self.ids, self.offsets, order)
        return found if self.skipped is None else replace(found, skipped=self.skipped[order])

    def keys(self) -> np.ndarray:
        """A 64-bit key of each text's ids, uint64, shape [texts]: equal texts have equal keys, and
        two others the same one once in 10^19."""
        offsets = self.offsets
        places = np.arange(len(self.ids)) - np.repeat(offsets[:-1], self.lengths)
        words = mixed(mixed(self.ids.astype(np.uint64)) + places.astype(np.uint64))
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(words, dtype=np.uint64)))
        return sums[offsets[1:]] - sums[offsets[:-1]]


@dataclass(frozen=True)
class TokenColumn:
    """Texts, memory-mapped: ids [tokens], offsets [texts + 1], and how many first tokens of each
    pooling leaves out (`skip`)."""

    ids: np.ndarray
    offsets: np.ndarray
    skip: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`; only their pages are read from disk."""
        found = _take(self.ids, self.offsets, order)
        if not self.skip:
            return found
        return replace(found, skipped=np.full(len(order), self.skip, np.int32))

    def lengths(self, order: np.ndarray) -> np.ndarray:
        """Tokens of the texts at the positions `order`, int64, without reading the texts."""
        return self.offsets[order + 1] - self.offsets[order]


def _take(ids: np.ndarray, offsets: np.ndarray, order: np.ndarray) -> Ragged:
    starts = offsets[order]
    lengths = offsets[order + 1] - starts
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return Ragged(np.asarray(ids[np.repeat(starts, lengths) + within]), lengths.astype(np.int32))

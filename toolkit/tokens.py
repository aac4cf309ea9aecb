"""Tokenised texts: ragged, real tokens only, memory-mapped on disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Texts as token ids, one after the other, without padding.

    Attributes:
        ids: Token ids of all texts, int32, shape [tokens].
        lengths: Tokens of each text, int32, shape [texts]; none is zero.
    """

    ids: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """Where each text starts in `ids`, and the end of the last: int64, shape [texts + 1]."""
        return np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`, in that order."""
        lengths = self.lengths[order]
        starts = np.repeat(self.offsets[:-1][order], lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return Ragged(self.ids[starts + within], lengths)

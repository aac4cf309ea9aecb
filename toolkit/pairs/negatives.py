"""Hard negatives: texts that are close to a query and do not answer it, as extra candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from toolkit.pairs.ragged import Ragged, TokenColumn


@dataclass(frozen=True)
class Negatives:
    """The hard negatives of every pair of a side.

    Attributes:
        texts: Of which they are: those of a file, or, where they were mined, the positives.
        places: Positions in `texts`, pair after pair, hardest first; int64.
        offsets: Where each pair's start in `places`, and the end; int64, shape [pairs + 1].
        per_query: At most so many of a pair's are used in one step.
    """

    texts: TokenColumn
    places: np.ndarray
    offsets: np.ndarray
    per_query: int = 1

    def at(self, pairs: np.ndarray, epoch: int) -> np.ndarray:
        """Positions in `texts` of the negatives of these pairs in an epoch: a pair that has more
        than `per_query` takes the next ones in each epoch."""
        starts = self.offsets[pairs]
        counts = self.offsets[pairs + 1] - starts
        taken = np.minimum(counts, self.per_query)
        owner = np.repeat(np.arange(len(pairs)), taken)
        turn = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
        return self.places[starts[owner] + (turn + epoch * self.per_query) % counts[owner]]

    def lengths(self, pairs: np.ndarray, epoch: int) -> np.ndarray:
        """Tokens of the negatives of these pairs in an epoch."""
        return self.texts.lengths(self.at(pairs, epoch))

    def take(self, pairs: np.ndarray, epoch: int) -> Ragged:
        """The negatives of these pairs in an epoch, pair after pair."""
        return self.texts.take(self.at(pairs, epoch))

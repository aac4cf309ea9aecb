"""The contrastive loss: symmetric InfoNCE of all candidates, and what today's recipes add to it.

Hard negatives are candidates beside the positives; false negatives, those that score better than
the right answer by a margin, are left out; and the first features of an embedding may have to be an
embedding too (Matryoshka representation learning: Kusupati et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(
    queries: Tensor,
    positives: Tensor,
    temperature: float,
    equal: Tensor | None = None,
    *,
    each: bool = False,
) -> Tensor:
    """Symmetric in-batch InfoNCE of cosine similarities, in nats (scalar).

    Each query is to find its positive among all positives, and each positive its query; the two
    cross-entropies are averaged (van den Oord et al. 2018; Radford et al. 2021).

    Args:
        queries, positives: Embeddings, shape [pairs, hidden]; row i of one belongs to row i of
            the other. Rows of `positives` behind those are hard negatives, candidates of every
            query.
        temperature: Similarities are divided by it.
        equal: Which candidates are no wrong answers to which queries: bool, shape [pairs,
            candidates] (`equal_texts`); None for no others than one's own.
        each: Give every pair's loss, shape [pairs], not their mean.
    """
    losses = _losses(_cosine(queries, positives) / temperature, equal, equal)
    return losses if each else losses.mean()


def _cosine(queries: Tensor, candidates: Tensor) -> Tensor:
    return F.normalize(queries, dim=-1) @ F.normalize(candidates, dim=-1).T


def _losses(similarities: Tensor, there: Tensor | None, back: Tensor | None) -> Tensor:
    """Each pair's loss, shape [pairs], from similarities, shape [pairs, candidates].

    Args:
        there, back: What is masked from a query to its candidates, and, of the first columns,
            from a positive to its queries; shape [pairs, candidates].
    """
    pairs = len(similarities)
    own = torch.arange(pairs, device=similarities.device)
    rows, columns = (
        similarities if mask is None else similarities.masked_fill(mask, -torch.inf)
        for mask in (there, back)
    )
    directions = rows, columns[:, :pairs].T
    losses = [F.cross_entropy(x, own, reduction="none") for x in directions]
    return (losses[0] + losses[1]) / 2


@dataclass(frozen=True)
class Criterion:
    """What the embeddings of a batch are trained to.

    Attributes:
        temperature: Of `info_nce`.
        dimensions: The first so many features are to be embeddings as well, each cut normalised;
            the loss is the mean over them and the whole width.
        margin: A candidate whose cosine similarity to a query exceeds that of its positive by
            more than this is taken for another right answer and masked, in all dimensions and in
            either direction; None masks none. No gradient goes through the decision.
    """

    temperature: float
    dimensions: tuple[int, ...] = ()
    margin: float | None = None

    def __call__(
        self, queries: Tensor, candidates: Tensor, equal: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss (nats), and how many candidates the margin masked; both scalar.

        Args:
            queries: Shape [pairs, hidden].
            candidates: Positives, then hard negatives; shape [pairs + negatives, hidden].
            equal: See `info_nce`; what it masks is not counted.
        """
        similarities = _cosine(queries, candidates)
        there, back, masked = self._masks(similarities.detach(), equal)
        losses = [_losses(similarities / self.temperature, there, back)]
        for width in self.dimensions:
            cut = _cosine(queries[:, :width], candidates[:, :width])
            losses.append(_losses(cut / self.temperature, there, back))
        return torch.stack(losses).mean(), masked

    def _masks(
        self, similarities: Tensor, equal: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        if self.margin is None:
            return equal, equal, torch.zeros(())
        own = similarities.diagonal()
        there = similarities > own[:, None] + self.margin
        back = torch.zeros_like(there)
        back[:, : len(own)] = similarities[:, : len(own)] > own[None] + self.margin
        if equal is None:
            return there, back, there.sum() + back.sum()
        found = (there & ~equal).sum() + (back & ~equal).sum()
        return there | equal, back | equal, found


def equal_texts(
    queries: np.ndarray, positives: np.ndarray, negatives: np.ndarray | None = None
) -> np.ndarray | None:
    """Which candidates of a batch are no wrong answers, since their texts equal right ones.

    Of pairs with one query or one positive, the one's positive answers the other's query as well,
    and is not to be pushed away from it (false negatives: Chuang et al. 2020, "Debiased Contrastive
    Learning"). Nor is a hard negative that is a positive of the query after all.

    Args:
        queries, positives: Keys of the texts (`Ragged.keys`), shape [pairs].
        negatives: Keys of the hard negatives of all pairs, if there are any.

    Returns:
        Bool, shape [pairs, pairs + negatives], false on the diagonal and symmetric up to there;
        None where all texts are different.
    """
    parts = [_equal_pairs(queries, positives)]
    if negatives is not None and len(negatives):
        parts.append(_equal_negatives(queries, positives, negatives))
    if all(part is None for part in parts):
        return None
    widths = [len(positives), 0 if negatives is None else len(negatives)]
    return np.concatenate(
        [
            np.zeros((len(queries), width), bool) if part is None else part
            for part, width in zip(parts, widths, strict=False)
        ],
        axis=1,
    )


def _equal_pairs(queries: np.ndarray, positives: np.ndarray) -> np.ndarray | None:
    if all(len(np.unique(keys)) == len(keys) for keys in (queries, positives)):
        return None
    equal = (queries[:, None] == queries) | (positives[:, None] == positives)
    np.fill_diagonal(equal, False)
    return equal


def _equal_negatives(
    queries: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> np.ndarray | None:
    hit = positives[:, None] == negatives
    if not hit.any():
        return None
    return (queries[:, None] == queries) @ hit

"""Held-out evaluation: one fixed set of candidates, whatever the training batch was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from toolkit.contrast.step import embed, info_nce
from toolkit.pairs.tokens import Ragged, TokenisedPairs
from toolkit.training.enough import check_candidates

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class HeldOut:
    """The fixed set: query i belongs to positive i, all other positives are wrong for it."""

    queries: Ragged
    positives: Ragged

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class Evaluation:
    """How well positives are found among all candidates.

    Attributes:
        loss: Symmetric contrastive loss, nats; ln(candidates) is chance.
        recall_at_1, recall_at_10: Share of queries whose positive is first, or in the first ten.
        mrr: Mean reciprocal rank of the positive.
    """

    loss: float
    recall_at_1: float
    recall_at_10: float
    mrr: float


def held_out_set(pairs: TokenisedPairs, candidates: int) -> HeldOut:
    """The `candidates` held-out pairs with the smallest stable keys.

    Raises:
        ToolkitError: There are fewer held-out pairs than that.
    """
    check_candidates(len(pairs), candidates)
    order = pairs.first(candidates)
    return HeldOut(pairs.queries.take(order), pairs.positives.take(order))


@torch.no_grad()
def evaluate(
    model: PreTrainedModel,
    held_out: HeldOut,
    *,
    temperature: float,
    pooling: str,
    precision: str = "auto",
) -> Evaluation:
    """Loss and retrieval measures of an encoder on the fixed held-out set."""
    queries, positives = (
        embed(model, texts, pooling=pooling, precision=precision).float()
        for texts in (held_out.queries, held_out.positives)
    )
    loss = info_nce(queries, positives, temperature)
    similarity = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(positives).T
    # Ties count against the model: a collapsed encoder must not look perfect.
    ranks = (similarity >= similarity.diagonal().unsqueeze(1)).sum(1)
    return Evaluation(
        loss=loss.item(),
        recall_at_1=(ranks <= 1).float().mean().item(),
        recall_at_10=(ranks <= 10).float().mean().item(),
        mrr=(1.0 / ranks.clamp(min=1)).mean().item(),
    )

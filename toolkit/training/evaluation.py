"""Held-out evaluation: one fixed set of candidates, whatever the training batch was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from toolkit.contrast.loss import equal_texts, info_nce
from toolkit.contrast.step import embed
from toolkit.pairs.ragged import Ragged
from toolkit.pairs.split import Facts
from toolkit.pairs.store import TokenisedPairs
from toolkit.training.enough import check_candidates

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class HeldOut:
    """The fixed set: query i belongs to positive i, all other positives are wrong for it, unless
    their texts are equal.

    Attributes:
        queries, positives: The texts.
        origins: For each pair the place of its origin in `names`; None where the data have but one.
    """

    queries: Ragged
    positives: Ragged
    origins: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True)
class Evaluation:
    """How well positives are found among all candidates.

    Attributes:
        loss: Symmetric contrastive loss, nats; ln(candidates) is chance.
        recall_at_1, recall_at_10: Share of queries whose positive is first, or in the first ten.
        mrr: Mean reciprocal rank of the positive.
        loss_by_origin: Mean loss of the pairs of each origin, over all candidates.
        loss_by_dimension: Loss of the first so many features of the embeddings, by their number.
        masked: Candidates that were not counted as wrong, since their texts equal the right ones.
    """

    loss: float
    recall_at_1: float
    recall_at_10: float
    mrr: float
    loss_by_origin: dict[str, float] = field(default_factory=dict)
    loss_by_dimension: dict[str, float] = field(default_factory=dict)
    masked: int = 0


def held_out_set(pairs: TokenisedPairs, candidates: int, facts: Facts | None = None) -> HeldOut:
    """The `candidates` held-out pairs with the smallest stable keys.

    A pair with a text that, as it was cut, equals one before it is passed over.

    Args:
        pairs: The held-out side. candidates: How many. facts: Of the data, for the complaint.

    Raises:
        ToolkitError: There are fewer held-out pairs than that.
    """
    order = _distinct(pairs, candidates)
    check_candidates(len(order), candidates, facts)
    origins = None if pairs.origins is None else np.asarray(pairs.origins[order])
    return HeldOut(pairs.queries.take(order), pairs.positives.take(order), origins, pairs.names)


def _distinct(pairs: TokenisedPairs, count: int) -> np.ndarray:
    """Positions of the first `count` pairs none of whose texts is one before it."""
    order = pairs.first(len(pairs))
    kept: list[int] = []
    seen: set[tuple[str, int]] = set()
    for start in range(0, len(order), 4096):
        part = order[start : start + 4096]
        columns = (pairs.queries.take(part).keys(), pairs.positives.take(part).keys())
        for position, query, positive in zip(part, *columns, strict=True):
            texts = {("query", int(query)), ("positive", int(positive))}
            if not texts & seen:
                seen |= texts
                kept.append(int(position))
        if len(kept) >= count:
            break
    return np.array(kept[:count], np.int64)


@torch.no_grad()
def evaluate(
    model: PreTrainedModel,
    held_out: HeldOut,
    *,
    temperature: float,
    pooling: str,
    precision: str = "auto",
    dimensions: tuple[int, ...] = (),
) -> Evaluation:
    """Loss and retrieval measures of an encoder on the fixed held-out set, and its loss where only
    so many first features (`dimensions`) of each embedding are kept."""
    queries, positives = (
        embed(model, texts, pooling=pooling, precision=precision).float()
        for texts in (held_out.queries, held_out.positives)
    )
    return evaluation_of(
        queries, positives, held_out, temperature=temperature, dimensions=dimensions
    )


def evaluation_of(
    queries: torch.Tensor,
    positives: torch.Tensor,
    held_out: HeldOut,
    *,
    temperature: float,
    dimensions: tuple[int, ...] = (),
) -> Evaluation:
    """Loss and retrieval measures of the held-out set's embeddings, whoever made them.

    Args:
        queries, positives: Shape [pairs, h], in the set's order.
        dimensions: At which the loss is told for the first so many features as well.
    """
    found = equal_texts(held_out.queries.keys(), held_out.positives.keys())
    equal = None if found is None else torch.from_numpy(found).to(queries.device)
    losses = info_nce(queries, positives, temperature, equal, each=True)
    similarity = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(positives).T
    if equal is not None:
        similarity = similarity.masked_fill(equal, -torch.inf)
    # Ties count against the model: a collapsed encoder must not look perfect.
    ranks = (similarity >= similarity.diagonal().unsqueeze(1)).sum(1)
    return Evaluation(
        loss=losses.mean().item(),
        recall_at_1=(ranks <= 1).float().mean().item(),
        recall_at_10=(ranks <= 10).float().mean().item(),
        mrr=(1.0 / ranks.clamp(min=1)).mean().item(),
        loss_by_origin=_by_origin(losses.cpu().numpy(), held_out),
        loss_by_dimension={
            str(d): info_nce(queries[:, :d], positives[:, :d], temperature, equal).item()
            for d in dimensions
        },
        masked=0 if found is None else int(found.sum()),
    )


def halvings(width: int) -> tuple[int, ...]:
    """The dimensions at which truncation is told where a run was not trained for any: a half, a
    quarter and an eighth of the width, from 8 on."""
    return tuple(width >> k for k in (1, 2, 3) if width >> k >= 8)


def _by_origin(losses: np.ndarray, held_out: HeldOut) -> dict[str, float]:
    if held_out.origins is None:
        return {}
    means = {
        name: float(losses[held_out.origins == place].mean())
        for place, name in enumerate(held_out.names)
        if (held_out.origins == place).any()
    }
    return dict(sorted(means.items()))

"""The exact contrastive step: pooling, the loss of a whole batch, cached gradients over chunks.

Gradients equal those of one plain pass over the whole batch, whatever the chunks (gradient
caching: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup"). What differs from the textbook is what is not done twice, or at all:

1. Token embeddings are looked up once for all chunks, and go backward once.
2. Frozen blocks below the lowest trained one run once, without a graph; trained blocks start
   from what they put out.
3. Chunks keep their graphs where those fit; only the others run forward a second time.
4. Linear layers see real tokens only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from toolkit.contrast import memory
from toolkit.contrast.attention import Layout, lay_out
from toolkit.contrast.bodies import body_of
from toolkit.contrast.loss import Criterion, equal_texts
from toolkit.contrast.packing import CPU_CHUNK, GPU_CHUNK, StepPlan, plan_step
from toolkit.contrast.transfer import Later, send
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import Ragged


@dataclass(frozen=True)
class StepResult:
    """How a step ran, its loss once it is known, and how many candidates were not counted as wrong:
    `masked` since their texts equal right ones, `masked_by_margin` since they scored better."""

    pending: Later
    execution: StepPlan
    masked: int = 0
    pending_masks: Later | None = None

    @property
    def loss(self) -> float:
        """In nats; a GPU is waited for, the first time."""
        return self.pending.item()

    @property
    def masked_by_margin(self) -> int:
        """As `loss`, waited for."""
        return 0 if self.pending_masks is None else int(self.pending_masks.item())


class ContrastiveStep:
    """Loss and exact gradients of a batch of pairs, as cheaply as memory allows.

    Dropout is off: a chunk that runs twice must give the same embeddings twice.

    Args:
        model: Decoder whose trained parameters require gradients (`Method.apply`).
        temperature, dimensions, false_negative_margin: Of the loss (`Criterion`).
        pooling: mean over real tokens, or last token.
        chunk_tokens: Tokens of a chunk, of which one at a time keeps a graph; None chooses by
            memory, and keeps everything where it fits.
        checkpointing: Keep no activations within trained blocks; recompute them.
        precision: auto, float32 or bfloat16: of its products (`toolkit.contrast.precision`).
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        temperature: float,
        dimensions: tuple[int, ...] = (),
        false_negative_margin: float | None = None,
        pooling: str = "mean",
        chunk_tokens: int | None = None,
        checkpointing: bool = False,
        precision: str = "auto",
    ) -> None:
        self.body = body_of(model, precision)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.criterion = Criterion(temperature, dimensions, false_negative_margin)
        self.pooling = pooling
        self.checkpointing = checkpointing
        self.chunk_tokens = chunk_tokens
        self.kept_tokens: int | None = None
        self.by_memory = chunk_tokens is None
        if not self.body.like.is_cuda:
            memory.keep_freed_memory()

    def plan(self, lengths: np.ndarray) -> StepPlan:
        """How a batch of texts of these lengths (queries, positives, negatives) will run."""
        if self.by_memory and self.kept_tokens is None:
            self._measure(int(lengths.max()))
        return plan_step(
            lengths,
            chunk_tokens=self.chunk_tokens,
            kept_tokens=self.kept_tokens,
            checkpointing=self.checkpointing,
            packed=self.body.packed,
        )

    def _measure(self, longest: int) -> None:
        """Set chunk size and kept graphs by what a text of this length takes, and what is free."""
        body, like = self.body, self.body.like
        layout = lay_out(
            np.zeros(longest, np.int64), np.array([longest]), np.array([longest]), like
        )

        def run() -> Tensor:
            tokens = body.embedding(layout.ids).detach().requires_grad_(not body.first_trained)
            return body.trunk(body.prefix(tokens, layout), layout, checkpointing=self.checkpointing)

        with body.ready():
            taken = memory.graph_bytes(run, body.weights)
        fitting = memory.SHARE * memory.free_bytes(like.device) * longest / max(1, taken)
        # A power of two, so that a little more or less free memory changes nothing.
        self.kept_tokens = 1 << max(6, int(fitting).bit_length() - 1)
        self.chunk_tokens = min(self.kept_tokens, chunk_size(like))

    def __call__(
        self, queries: Ragged, positives: Ragged, negatives: Ragged | None = None
    ) -> StepResult:
        """Set every trained parameter's `.grad` to the gradient of the batch's loss.

        Where memory runs out, chunks and what is kept are halved from then on, with a warning.

        Args:
            queries, positives: Text i of one belongs to text i of the other.
            negatives: Hard negatives, any number: candidates of every query beside the positives.

        Raises:
            ToolkitError: Memory does not even suffice for one text at a time.
        """
        sides = [queries, positives, *([] if negatives is None else [negatives])]
        texts = Ragged.joined(sides)
        equal = self.equal(*sides)
        masked = 0 if equal is None else int(equal.sum())
        while True:
            execution = self.plan(texts.lengths)
            for parameter in self.trained:
                parameter.grad = None
            try:
                with self.body.ready():
                    loss, by_margin = self._run(texts, len(queries), execution, equal)
                    return StepResult(loss, execution, masked, by_margin)
            except RuntimeError as error:
                if not memory.is_out_of_memory(error):
                    raise
            self._halve(execution)

    def _halve(self, execution: StepPlan) -> None:
        sizes = np.add.reduceat(execution.tokens, execution.chunks[:-1])
        if len(sizes) == len(execution.order):
            raise ToolkitError("out of memory with one text at a time; take a smaller decoder")
        self.chunk_tokens = max(1, int(sizes.max()) // 2)
        if self.by_memory:
            kept = sizes[~execution.recomputed].sum()
            self.kept_tokens = max(self.chunk_tokens, int(kept) // 2)
        if self.body.like.is_cuda:
            torch.cuda.empty_cache()
        warnings.warn(
            f"out of memory: going on with chunks of {self.chunk_tokens} tokens", stacklevel=3
        )

    def _run(
        self, texts: Ragged, pairs: int, execution: StepPlan, equal: np.ndarray | None
    ) -> tuple[Later, Later]:
        body = self.body
        layouts = lay_out_all(texts, execution, body.like)
        tokens, starts = self._embed_tokens(layouts)
        pooled = [
            self._pooled(layout, start, keep_graph=not again)
            for layout, start, again in zip(layouts, starts, execution.recomputed, strict=True)
        ]
        loss, masked, gradients = self._loss(pooled, pairs, execution, equal)
        # Chunks write the gradients of their token embeddings into one tensor.
        flow = torch.zeros_like(tokens) if tokens.requires_grad else None
        sizes = [len(layout.ids) for layout in layouts]
        for start, part in zip(starts, flow.split(sizes) if flow is not None else [], strict=False):
            start.grad = part
        for layout, gradient in zip(layouts[::-1], gradients[::-1], strict=True):
            start, part = starts.pop(), pooled.pop()
            if not part.requires_grad:
                part = self._pooled(layout, start, keep_graph=True)
            part.backward(gradient)
        if flow is not None:
            tokens.backward(flow)
        return loss, masked

    def _embed_tokens(self, layouts: list[Layout]) -> tuple[Tensor, list[Any]]:
        """Token embeddings with their graph, and where each chunk's trained part starts."""
        body = self.body
        tokens = body.embedding(torch.cat([layout.ids for layout in layouts]))
        parts = tokens.detach().split([len(layout.ids) for layout in layouts])
        if tokens.requires_grad:
            return tokens, [part.requires_grad_() for part in parts]
        return tokens, [body.prefix(*part) for part in zip(parts, layouts, strict=True)]

    def _pooled(self, layout: Layout, start: Any, *, keep_graph: bool) -> Tensor:
        with torch.set_grad_enabled(keep_graph):
            hidden = self.body.trunk(start, layout, checkpointing=self.checkpointing and keep_graph)
            return pool(hidden, layout, self.pooling)

    def equal(self, *sides: Ragged) -> np.ndarray | None:
        """The batch's `equal_texts`; `distributed` adds those of other processes."""
        return equal_texts(*(side.keys() for side in sides))

    def gathered(self, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        """The embeddings that the loss is of; `distributed` adds those of other processes."""
        return queries, candidates

    def _loss(
        self, pooled: list[Tensor], pairs: int, execution: StepPlan, equal: np.ndarray | None
    ) -> tuple[Later, Later, list[Tensor]]:
        """The loss, how many its margin masked, and its gradient by each chunk's embeddings."""
        joined = torch.cat([part.detach() for part in pooled]).requires_grad_()
        places = np.empty_like(execution.order)
        places[execution.order] = np.arange(len(places))
        (where, *masks) = send([places] if equal is None else [places, equal], joined.device)
        ordered = joined.index_select(0, where)
        everything = self.gathered(ordered[:pairs], ordered[pairs:])
        loss, masked = self.criterion(*everything, masks[0].bool() if masks else None)
        (gradient,) = torch.autograd.grad(loss, joined)
        return Later(loss), Later(masked), list(gradient.split([len(part) for part in pooled]))


def chunk_size(like: Tensor) -> int:
    """Tokens of a chunk that keep this device busy, and on a CPU stay near its caches."""
    return GPU_CHUNK if like.is_cuda else CPU_CHUNK


def embed(
    model: PreTrainedModel,
    texts: Ragged,
    *,
    pooling: str = "mean",
    chunk_tokens: int | None = None,
    precision: str = "auto",
) -> Tensor:
    """Embeddings of texts, without gradients: float32 (or the model's dtype), shape [texts, h].

    Args:
        model: Decoder.
        texts: In any order; the embeddings come in the same.
        pooling: mean over real tokens, or last token.
        chunk_tokens: Tokens of one forward pass; None for what suits the device.
        precision: auto, float32 or bfloat16: of the products.
    """
    body = body_of(model, precision)
    execution = plan_step(
        texts.lengths, chunk_tokens=chunk_tokens or chunk_size(body.like), packed=body.packed
    )
    with torch.no_grad(), body.ready():
        parts = []
        for layout in lay_out_all(texts, execution, body.like):
            states = body.prefix(body.embedding(layout.ids), layout)
            parts.append(pool(body.trunk(states, layout), layout, pooling))
        pooled = torch.cat(parts)
    result = torch.empty_like(pooled)
    result[torch.from_numpy(execution.order).to(pooled.device)] = pooled
    return result


def lay_out_all(texts: Ragged, execution: StepPlan, like: Tensor) -> list[Layout]:
    """The chunks of a batch, laid out in running order on the device of `like`."""
    bounds = zip(execution.chunks[:-1], execution.chunks[1:], strict=True)
    layouts = []
    for start, stop in bounds:
        part = texts.take(execution.order[start:stop])
        layouts.append(
            lay_out(part.ids, part.lengths, execution.windows[start:stop], like, part.skipped)
        )
    return layouts


def pool(hidden: Tensor, layout: Layout, pooling: str) -> Tensor:
    """Text embeddings, shape [texts, hidden], from hidden states, shape [tokens, hidden].

    A text of which nothing is left beside the tokens that are left out has an embedding of zeros.
    """
    counted = layout.lengths
    if layout.skipped is not None:
        counted = layout.lengths - layout.skipped
    if pooling == "last":
        last = hidden[layout.lengths.cumsum(0) - 1]
        return last if layout.skipped is None else last * (counted > 0)[:, None]
    if layout.skipped is not None:
        hidden = hidden * (layout.positions >= layout.skipped[layout.owners])[:, None]
    sums = hidden.new_zeros(len(layout.lengths), hidden.shape[1])
    return sums.index_add(0, layout.owners, hidden) / counted.clamp(min=1)[:, None]

"""The exact contrastive step: pooling, symmetric InfoNCE, cached gradients over chunks.

Gradients equal those of one plain pass over the whole batch, whatever the chunks (gradient
caching: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
Setup"). A step has five parts:

1. Embed the tokens once for all chunks.
2. Forward, chunk by chunk; the graph is kept where it fits, else only embeddings are, and, with
   frozen blocks at the bottom, what comes out of those.
3. Loss over all texts, and its gradient by each text's embedding.
4. Backward, chunk by chunk, last first; a chunk without a graph runs forward again, from its
   first trained block on.
5. One backward step of the token embedding for all chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from toolkit.packing import Execution, plan_step
from toolkit.suite import find_blocks
from toolkit.tokens import Ragged

GROUPED = "grouped_causal"


@dataclass(frozen=True)
class StepResult:
    """The step's loss in nats, and how the step ran."""

    loss: float
    execution: Execution


def info_nce(queries: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Symmetric in-batch InfoNCE of cosine similarities, in nats (scalar).

    Each query is to find its positive among all positives, and each positive its query; the two
    cross-entropies are averaged (van den Oord et al. 2018; Radford et al. 2021).

    Args:
        queries, positives: Embeddings, shape [pairs, hidden]; row i of one belongs to row i of
            the other.
        temperature: Similarities are divided by it.
    """
    similarities = F.normalize(queries, dim=-1) @ F.normalize(positives, dim=-1).T / temperature
    own = torch.arange(len(queries), device=queries.device)
    return (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2


class ContrastiveStep:
    """Loss and exact gradients of a batch of pairs, as cheaply as memory allows.

    Args:
        model: Decoder whose trained parameters require gradients (`toolkit.methods.apply`).
        temperature: Of `info_nce`.
        pooling: mean over real tokens, or last token.
        chunk_tokens: Tokens of a chunk, of which one at a time keeps a graph; None chooses by
            memory.
        checkpointing: Keep no activations within trained blocks; recompute them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        temperature: float,
        pooling: str = "mean",
        chunk_tokens: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        self.encoder = Encoder(model, pooling, checkpointing)
        self.temperature = temperature
        self.chunk_tokens = chunk_tokens
        self.trained = [p for p in model.parameters() if p.requires_grad]

    def plan(self, lengths: np.ndarray) -> Execution:
        """How a batch of texts of these lengths (queries first, then positives) will run."""
        return plan_step(
            lengths, chunk_tokens=self.chunk_tokens, checkpointing=self.encoder.checkpointing
        )

    def __call__(self, queries: Ragged, positives: Ragged) -> StepResult:
        """Set every trained parameter's `.grad` to the gradient of the batch's loss."""
        texts = _joined(queries, positives)
        execution = self.plan(texts.lengths)
        for parameter in self.trained:
            parameter.grad = None
        with self.encoder.ready():
            loss = self._run(texts, execution)
        return StepResult(loss, execution)

    def _run(self, texts: Ragged, execution: Execution) -> float:
        encoder = self.encoder
        batch = encoder.lay_out(texts, execution)
        tokens, leaves = encoder.embed_tokens(batch)
        passes = [
            encoder.forward(chunk, leaf, keep_graph=not again)
            for chunk, leaf, again in zip(batch, leaves, execution.recomputed, strict=True)
        ]
        pooled = torch.cat([one.pooled.detach() for one in passes]).requires_grad_()
        loss = self._loss(pooled, execution)
        (gradient,) = torch.autograd.grad(loss, pooled)
        slices = gradient.split([len(one.pooled) for one in passes])
        for chunk, leaf, part in zip(batch[::-1], leaves[::-1], slices[::-1], strict=True):
            one = passes.pop()
            if not one.pooled.requires_grad:
                one = encoder.forward(chunk, leaf, keep_graph=True, boundary=one.boundary)
            one.pooled.backward(part)
            del one
        if tokens.requires_grad:
            tokens.backward(torch.cat([leaf.grad for leaf in leaves], 1))  # type: ignore[misc]
        return loss.item()

    def _loss(self, pooled: Tensor, execution: Execution) -> Tensor:
        place = np.empty_like(execution.order)
        place[execution.order] = np.arange(len(place))
        where = torch.from_numpy(place).to(pooled.device)
        queries, positives = pooled[where].chunk(2)
        return info_nce(queries, positives, self.temperature)


def embed(
    model: PreTrainedModel,
    texts: Ragged,
    *,
    pooling: str = "mean",
    chunk_tokens: int | None = 16_384,
) -> Tensor:
    """Embeddings of texts, without gradients: float32 (or the model's dtype), shape [texts, h].

    Args:
        model: Decoder.
        texts: In any order; the embeddings come in the same.
        pooling: mean over real tokens, or last token.
        chunk_tokens: Tokens of one forward pass, padding included.
    """
    execution = plan_step(texts.lengths, chunk_tokens=chunk_tokens)
    encoder = Encoder(model, pooling)
    with torch.no_grad(), encoder.ready():
        chunks = encoder.lay_out(texts, execution)
        pooled = torch.cat(
            [
                encoder.forward(chunk, encoder.embedding(chunk.ids), keep_graph=False).pooled
                for chunk in chunks
            ]
        )
    result = torch.empty_like(pooled)
    result[torch.from_numpy(execution.order).to(pooled.device)] = pooled
    return result


def _joined(queries: Ragged, positives: Ragged) -> Ragged:
    return Ragged(
        np.concatenate((queries.ids, positives.ids)),
        np.concatenate((queries.lengths, positives.lengths)),
    )


@dataclass(frozen=True)
class Chunk:
    """One chunk's stream of tokens on the device.

    Attributes:
        ids, positions: Token ids and their positions within their texts, int64,
            shape [1, tokens].
        groups: (texts, tokens of each) of each group, in stream order.
        lengths: Real tokens of each text, int64, shape [texts].
        padded: Whether any text is shorter than its group.
    """

    ids: Tensor
    positions: Tensor
    groups: tuple[tuple[int, int], ...]
    lengths: Tensor
    padded: bool


@dataclass(frozen=True)
class Pass:
    """What a forward pass over a chunk leaves.

    Attributes:
        pooled: Text embeddings, shape [texts, hidden]; they carry the graph where it is kept.
        boundary: What the last frozen block put out, for a second pass to start from.
    """

    pooled: Tensor
    boundary: Any = None


class Encoder:
    """A decoder run on packed chunks of texts and pooled.

    Args:
        model: Decoder.
        pooling: mean or last.
        checkpointing: Recompute trained blocks in the backward pass.
    """

    def __init__(self, model: PreTrainedModel, pooling: str, checkpointing: bool = False) -> None:
        self.model = model
        self.pooling = pooling
        self.checkpointing = checkpointing
        self.embedding = model.get_input_embeddings()
        self.blocks = find_blocks(model, model.config.model_type)
        self.device = next(model.parameters()).device
        self.rotary = getattr(model, "rotary_emb", None)
        self.angles: Callable | None = None
        if getattr(self.rotary, "rope_type", None) == "default":
            self.angles = _tabled(self.rotary, next(model.parameters()))
        self.first_trained = self._first_trained()

    def _first_trained(self) -> int:
        """The lowest block that takes part in the backward pass."""
        if any(p.requires_grad for p in self.embedding.parameters()):
            return 0
        trained = [any(p.requires_grad for p in block.parameters()) for block in self.blocks]
        return trained.index(True) if True in trained else len(self.blocks)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within it the model attends by groups, in bfloat16 on a GPU; after it, as before."""
        config = self.model.config
        before = config._attn_implementation
        self.eager = before == "eager"
        config._attn_implementation = GROUPED
        try:
            with ExitStack() as stack:
                if self.rotary is not None and self.angles is not None:
                    stack.enter_context(_forward_as(self.rotary, self.angles))
                if self.device.type == "cuda":
                    stack.enter_context(torch.autocast("cuda", torch.bfloat16))
                yield
        finally:
            config._attn_implementation = before

    def lay_out(self, texts: Ragged, execution: Execution) -> list[Chunk]:
        """The chunks' streams on the device, in running order."""
        chunks = []
        sizes = np.concatenate(([0], np.cumsum(execution.rows)))
        for start, stop in zip(execution.chunks[:-1], execution.chunks[1:], strict=True):
            rows, lengths = execution.rows[start:stop], execution.lengths[start:stop]
            part = texts.take(execution.order[sizes[start] : sizes[stop]])
            chunks.append(self._chunk(part, rows, lengths))
        return chunks

    def _chunk(self, texts: Ragged, rows: np.ndarray, lengths: np.ndarray) -> Chunk:
        padded = np.repeat(lengths, rows)
        starts = np.cumsum(padded) - padded
        positions = np.arange(padded.sum()) - np.repeat(starts, padded)
        ids = np.zeros(len(positions), np.int64)
        ids[positions < np.repeat(texts.lengths, padded)] = texts.ids
        return Chunk(
            ids=torch.from_numpy(ids)[None].to(self.device, non_blocking=True),
            positions=torch.from_numpy(positions)[None].to(self.device, non_blocking=True),
            groups=tuple(zip(rows.tolist(), lengths.tolist(), strict=True)),
            lengths=torch.from_numpy(texts.lengths.astype(np.int64)).to(self.device),
            padded=bool((padded != texts.lengths).any()),
        )

    def embed_tokens(self, chunks: list[Chunk]) -> tuple[Tensor, list[Tensor]]:
        """Token embeddings of all chunks with their graph, and cut from it, chunk by chunk."""
        tokens = self.embedding(torch.cat([chunk.ids for chunk in chunks], dim=1))
        parts = tokens.detach().split([chunk.ids.shape[1] for chunk in chunks], dim=1)
        return tokens, [part.requires_grad_(tokens.requires_grad) for part in parts]

    def forward(
        self, chunk: Chunk, tokens: Tensor, *, keep_graph: bool, boundary: Any = None
    ) -> Pass:
        """Embeddings of a chunk's texts.

        Args:
            chunk: From `lay_out`.
            tokens: Its token embeddings, shape [1, tokens, hidden].
            keep_graph: Whether a backward pass is to follow from this very pass.
            boundary: From an earlier pass over the chunk: start after the frozen blocks.
        """
        caught: list[Any] = [boundary]
        grad: AbstractContextManager = nullcontext() if keep_graph else torch.no_grad()
        with grad, self._patched(keep_graph and self.checkpointing, caught):
            hidden = self.model(
                inputs_embeds=tokens,
                position_ids=chunk.positions,
                use_cache=False,
                attention_groups=chunk.groups,
                attention_eager=self.eager,
            ).last_hidden_state[0]
            pooled = _pool(hidden, chunk, self.pooling)
        return Pass(pooled, None if keep_graph else caught[0])

    @contextmanager
    def _patched(self, checkpointing: bool, caught: list[Any]) -> Iterator[None]:
        """Blocks that skip what is known already, note the boundary, or recompute."""
        first = self.first_trained
        with ExitStack() as stack:
            if first and caught[0] is not None:
                for block in self.blocks[:first]:
                    stack.enter_context(_forward_as(block, lambda *_, **__: caught[0]))
            elif first:
                last = self.blocks[first - 1]
                stack.enter_context(_forward_as(last, _catching(last.forward, caught)))
            if checkpointing:
                for block in self.blocks[first:]:
                    stack.enter_context(_forward_as(block, _checkpointed(block.forward)))
            yield


@contextmanager
def _forward_as(module: torch.nn.Module, forward: Callable) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _tabled(rotary: Any, like: Tensor) -> Callable:
    """Rotary angles computed once a position, then looked up for each token of a stream."""
    compute = rotary.forward

    def angles(longest: int) -> tuple[Tensor, ...]:
        return compute(like, position_ids=torch.arange(longest, device=like.device)[None])

    table = list(angles(2048))

    def looked_up(states: Tensor, position_ids: Tensor) -> tuple[Tensor, ...]:
        if int(position_ids.max()) >= table[0].shape[1]:
            table[:] = angles(2 * int(position_ids.max()))
        return tuple(part[:, position_ids[0]] for part in table)

    return looked_up


def _catching(forward: Callable, caught: list[Any]) -> Callable:
    def caught_forward(*args: Any, **kwargs: Any) -> Any:
        caught[0] = forward(*args, **kwargs)
        return caught[0]

    return caught_forward


def _checkpointed(forward: Callable) -> Callable:
    def checkpointed_forward(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return checkpointed_forward


def _pool(hidden: Tensor, chunk: Chunk, pooling: str) -> Tensor:
    """Text embeddings, shape [texts, hidden], from hidden states, shape [tokens, hidden]."""
    parts = []
    counts = [rows for rows, _ in chunk.groups]
    sizes = [rows * length for rows, length in chunk.groups]
    lengths = chunk.lengths.split(counts)
    for (rows, length), part, real in zip(chunk.groups, hidden.split(sizes), lengths, strict=True):
        states = part.view(rows, length, -1)
        if pooling == "last":
            parts.append(states[torch.arange(rows, device=real.device), real - 1])
            continue
        if chunk.padded:
            within = torch.arange(length, device=real.device) < real[:, None]
            states = states * within[:, :, None].to(states.dtype)
        parts.append(states.sum(1) / real[:, None])
    return torch.cat(parts)


def grouped_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    attention_groups: tuple[tuple[int, int], ...],
    attention_eager: bool = False,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each text of a packed stream, group by group.

    Registered with transformers, which calls it with query, key and value of shape
    [1, heads, tokens, head_size] and expects [1, tokens, heads, head_size]. Right padding needs no
    mask: no real token comes after it.
    """
    attend = _eager if attention_eager else F.scaled_dot_product_attention
    sharing = query.shape[1] // key.shape[1]
    if sharing > 1:
        key, value = key.repeat_interleave(sharing, 1), value.repeat_interleave(sharing, 1)
    sizes = [rows * length for rows, length in attention_groups]
    parts = []
    for (rows, length), *heads in zip(
        attention_groups, *(x[0].split(sizes, dim=1) for x in (query, key, value)), strict=True
    ):
        q, k, v = (x.unflatten(1, (rows, length)).transpose(0, 1) for x in heads)
        out = attend(q, k, v, is_causal=True, scale=scaling)
        parts.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)[None], None


def _eager(
    query: Tensor, key: Tensor, value: Tensor, *, is_causal: bool, scale: float | None
) -> Tensor:
    """Attention by plain matrix products, which torch's FlopCounterMode can count on a CPU."""
    scores = query @ key.transpose(-1, -2) * (scale or query.shape[-1] ** -0.5)
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, float("-inf")).softmax(-1) @ value


ALL_ATTENTION_FUNCTIONS.register(GROUPED, grouped_attention)

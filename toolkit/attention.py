"""Causal attention over a packed stream of texts, window by window.

Linear layers see real tokens only. Attention alone needs rectangles: the texts of a chunk are
sorted by length and those whose length rounds up to the same multiple of 16 share one *window*
size, so that a handful of batched products serves all texts and vector units run full. Right
padding needs no mask but the causal one: no real token comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Above this many tokens the fused kernel wins, which never stores a text's whole square.
LONGEST_EXPLICIT = 256


@dataclass(frozen=True)
class Window:
    """Texts that attend within rectangles of one size.

    Attributes:
        texts, size: Rows and columns of the rectangle of token slots.
        slots: Which token of the stream each slot holds; padding repeats a text's last token.
            int64, shape [texts × size].
        real: 1 where a slot holds a token of its own, 0 on padding; None if there is no padding.
            Shape [texts × size, 1].
    """

    texts: int
    size: int
    slots: Tensor
    real: Tensor | None


@dataclass(frozen=True)
class Layout:
    """A chunk's stream of tokens on the device.

    Attributes:
        ids, positions: Token ids, and their places within their texts; int64, shape [tokens].
        owners: Which text each token belongs to; int64, shape [tokens].
        lengths: Tokens of each text; int64, shape [texts].
        windows: In stream order; between them they hold every text once.
        tokens: Which slot of all windows, one after the other, holds each token; int64,
            shape [tokens].
    """

    ids: Tensor
    positions: Tensor
    owners: Tensor
    lengths: Tensor
    windows: tuple[Window, ...]
    tokens: Tensor


def lay_out(ids: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, like: Tensor) -> Layout:
    """Lay out a chunk.

    Args:
        ids: Token ids of its texts, one after the other; shape [tokens].
        lengths: Tokens of each text, shape [texts].
        sizes: Window of each text, at least its length and never falling; shape [texts].
        like: Any tensor on the device and of the type that the chunk is to run in.
    """
    lengths, sizes = lengths.astype(np.int64), sizes.astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    owners = np.repeat(np.arange(len(lengths)), lengths)
    positions = np.arange(len(ids)) - starts[owners]
    windows = []
    of_size = np.unique(sizes, return_index=True, return_counts=True)
    for size, first, texts in zip(*of_size, strict=True):
        own, begin = lengths[first : first + texts, None], starts[first : first + texts, None]
        slots = begin + np.minimum(np.arange(size), own - 1)
        real = None
        if (own < size).any():
            real = _send(np.arange(size) < own, like).to(like.dtype).view(-1, 1)
        windows.append(Window(int(texts), int(size), _send(slots.ravel(), like), real))
    tokens = (np.cumsum(sizes) - sizes)[owners] + positions
    columns = (ids.astype(np.int64), positions, owners, lengths, tokens)
    ids_, positions_, owners_, lengths_, tokens_ = (_send(column, like) for column in columns)
    return Layout(ids_, positions_, owners_, lengths_, tuple(windows), tokens_)


def _send(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(array).to(like.device, non_blocking=True)


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding of the first 2 × half features of a head (Su et al. 2021).

    Attributes:
        cos, sin: Angles by position, shape [positions, half].
    """

    cos: Tensor
    sin: Tensor

    def turn(self, heads: Tensor, *, back: bool = False) -> None:
        """Rotate query and key heads in place, or back: shape [..., size, heads, 2, head_size]."""
        size, half = heads.shape[-4], self.cos.shape[1]
        cos, sin = (angle[:size, None, None] for angle in (self.cos, self.sin))
        first, second = heads[..., :half], heads[..., half : 2 * half]
        turned = first * sin
        sign = 1 if back else -1
        first.mul_(cos).addcmul_(second, sin, value=sign)
        second.mul_(cos).add_(turned, alpha=-sign)


def attend(
    mixed: Tensor, layout: Layout, heads: int, scale: float, rotary: Rotary | None = None
) -> Tensor:
    """Causal attention of each text of a stream to itself.

    Args:
        mixed: Queries, keys and values of every token, head by head: GPT-NeoX's order
            [heads, 3, head_size] flattened; shape [tokens, 3 × heads × head_size].
        layout: Of the stream.
        heads: Number of heads.
        scale: Scores are multiplied by it.
        rotary: Turns queries and keys by their positions first.

    Returns:
        Shape [tokens, heads × head_size].
    """
    longest = layout.windows[-1].size
    if mixed.device.type == "cpu" and longest <= LONGEST_EXPLICIT:
        return _Explicit.apply(mixed, layout, heads, scale, rotary)
    return _fused(mixed, layout, heads, scale, rotary)


def _fused(
    mixed: Tensor, layout: Layout, heads: int, scale: float, rotary: Rotary | None
) -> Tensor:
    """By torch's fused kernels: fast on GPUs and for long texts."""
    parts = []
    for window in layout.windows:
        x = mixed[window.slots].view(window.texts, window.size, heads, 3, -1)
        if rotary is not None:
            x = x.clone()
            rotary.turn(x[..., :2, :])
        query, key, value = x.permute(3, 0, 2, 1, 4).unbind()
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
        parts.append(out.transpose(1, 2).flatten(2).flatten(0, 1))
    return torch.cat(parts)[layout.tokens]


class _Explicit(torch.autograd.Function):
    """By plain batched products, with the backward pass written out.

    On a CPU this is two to four times as fast as torch's fused kernel for short texts and narrow
    heads, and it is what torch's FlopCounterMode can count.
    """

    @staticmethod
    def forward(
        ctx: Any,
        mixed: Tensor,
        layout: Layout,
        heads: int,
        scale: float,
        rotary: Rotary | None,
    ) -> Tensor:
        saved, parts = [], []
        for window in layout.windows:
            x = mixed.index_select(0, window.slots).view(window.texts, window.size, heads, 3, -1)
            if rotary is not None:
                rotary.turn(x[..., :2, :])
            stacked = x.permute(3, 0, 2, 1, 4).flatten(1, 2)  # [3, texts × heads, size, head_size]
            query, key, value = stacked.unbind()
            later = _later(window.size, query.dtype, query.device)
            weights = torch.baddbmm(later, query, key.mT, alpha=scale).softmax(-1)
            out = _product(weights, value)
            saved += [stacked, weights]
            parts.append(_by_token(out, window))
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.heads, ctx.scale, ctx.rotary = layout, heads, scale, rotary
        return torch.cat(parts).index_select(0, layout.tokens)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        saved, parts = ctx.saved_tensors, []
        for number, window in enumerate(ctx.layout.windows):
            stacked, weights = saved[2 * number : 2 * number + 2]
            query, key, value = stacked.unbind()
            g = gradient.index_select(0, window.slots)
            if window.real is not None:
                g *= window.real
            g = g.view(window.texts, window.size, ctx.heads, -1).transpose(1, 2).flatten(0, 1)
            scores = torch._softmax_backward_data(
                torch.bmm(g, value.mT), weights, -1, weights.dtype
            )
            scores *= ctx.scale
            out = g.new_empty(window.texts, window.size, ctx.heads, 3, g.shape[-1])
            for part, one in enumerate(
                (_product(scores, key), _product(scores.mT, query), _product(weights.mT, g))
            ):
                out[..., part, :] = one.unflatten(0, (window.texts, ctx.heads)).transpose(1, 2)
            if ctx.rotary is not None:
                ctx.rotary.turn(out[..., :2, :], back=True)
            parts.append(out.view(len(window.slots), -1))
        return torch.cat(parts).index_select(0, ctx.layout.tokens), None, None, None, None


def _by_token(out: Tensor, window: Window) -> Tensor:
    """From [texts × heads, size, head_size] to [texts × size, heads × head_size]."""
    split = out.unflatten(0, (window.texts, -1))
    return split.transpose(1, 2).reshape(len(window.slots), -1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Batched product; a narrow one is four times as fast on a CPU when done transposed."""
    return torch.bmm(right.mT, left.mT).mT if right.shape[-1] < 16 else torch.bmm(left, right)


@lru_cache(maxsize=64)
def _later(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What to add to scores so that no token sees a later one; shape [size, size]."""
    return torch.full((size, size), float("-inf"), dtype=dtype, device=device).triu(1)

"""Causal attention over a packed stream of texts, window by window.

Linear layers see real tokens only. Attention alone needs rectangles: the texts of a chunk are
sorted by length and those whose length rounds up to the same multiple of 16 share one *window*
size, so that a handful of batched products serves all texts and vector units run full. Right
padding needs no mask but the causal one: no real token comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
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
        stream: Which part of the stream its tokens are.
        slots: Which token of that part each slot holds; padding repeats a text's last token.
            int64, shape [texts × size].
        tokens: The way back: which slot holds each token; int64, shape [tokens of the window].
        real: 1 where a slot holds a token of its own, 0 on padding; None if there is no padding.
            Shape [texts × size, 1].
    """

    texts: int
    size: int
    stream: slice
    slots: Tensor
    tokens: Tensor
    real: Tensor | None

    def spread(self, stream: Tensor) -> Tensor:
        """From stream to slots: [tokens of the stream, …] → [texts × size, …]."""
        part = stream[self.stream]
        return part if self.real is None else part.index_select(0, self.slots)

    def gather(self, slots: Tensor, stream: Tensor) -> None:
        """From slots, [texts × size, …], into their part of the stream."""
        if self.real is None:
            stream[self.stream] = slots
        else:
            torch.index_select(slots, 0, self.tokens, out=stream[self.stream])


@dataclass(frozen=True)
class Layout:
    """A chunk's stream of tokens on the device.

    Attributes:
        ids, positions: Token ids, and their places within their texts; int64, shape [tokens].
        owners: Which text each token belongs to; int64, shape [tokens].
        lengths: Tokens of each text; int64, shape [texts].
        windows: In stream order; between them they hold every text once.
    """

    ids: Tensor
    positions: Tensor
    owners: Tensor
    lengths: Tensor
    windows: tuple[Window, ...]


def lay_out(ids: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, like: Tensor) -> Layout:
    """Lay out a chunk.

    Args:
        ids: Token ids of its texts, one after the other; shape [tokens].
        lengths: Tokens of each text, shape [texts].
        sizes: Window of each text, at least its length and never falling; shape [texts].
        like: Any tensor on the device and of the type that the chunk is to run in.
    """
    lengths, sizes = lengths.astype(np.int64), sizes.astype(np.int64)
    ends = np.cumsum(lengths)
    owners = np.repeat(np.arange(len(lengths)), lengths)
    positions = np.arange(len(ids)) - (ends - lengths)[owners]
    cuts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    windows = [
        _window(lengths[a:b], int(sizes[a]), int(ends[a] - lengths[a]), like)
        for a, b in pairwise(cuts)
    ]
    columns = (ids.astype(np.int64), positions, owners, lengths)
    ids_, positions_, owners_, lengths_ = (_send(column, like) for column in columns)
    return Layout(ids_, positions_, owners_, lengths_, tuple(windows))


def _window(lengths: np.ndarray, size: int, start: int, like: Tensor) -> Window:
    ends = np.cumsum(lengths)[:, None]
    within, own = np.arange(size), lengths[:, None]
    filled = within < own
    return Window(
        texts=len(lengths),
        size=size,
        stream=slice(start, start + int(ends[-1, 0])),
        slots=_send((ends - own + np.minimum(within, own - 1)).ravel(), like),
        tokens=_send(np.flatnonzero(filled), like),
        real=None if filled.all() else _send(filled.reshape(-1, 1), like).to(like.dtype),
    )


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
        """Rotate heads in place, or back: shape [..., size, head_size]."""
        size, half = heads.shape[-2], self.cos.shape[1]
        cos, sin = self.cos[:size], self.sin[:size]
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
        x = window.spread(mixed).view(window.texts, window.size, heads, 3, -1)
        heads_first = x.permute(3, 0, 2, 1, 4)
        if rotary is not None:
            heads_first = heads_first.clone()
            rotary.turn(heads_first[:2])
        query, key, value = heads_first.unbind()
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale)
        parts.append(out.transpose(1, 2).flatten(2).flatten(0, 1)[window.tokens])
    return torch.cat(parts)


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
        saved = []
        result = mixed.new_empty(len(mixed), mixed.shape[1] // 3)
        for window in layout.windows:
            # [texts, size, heads, 3, head_size] → [3, texts × heads, size, head_size]
            x = window.spread(mixed).view(window.texts, window.size, heads, 3, -1)
            stacked = x.permute(3, 0, 2, 1, 4).flatten(1, 2)
            query, key, value = stacked.unbind()
            if rotary is not None:
                rotary.turn(stacked[:2])
            query *= scale
            later = _later(window.size, query.dtype, query.device)
            weights = torch.baddbmm(later, query, key.mT).softmax(-1)
            out = _product(weights, value).unflatten(0, (window.texts, heads)).transpose(1, 2)
            window.gather(out.reshape(len(window.slots), -1), result)
            saved += [stacked, weights]
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.heads, ctx.scale, ctx.rotary = layout, heads, scale, rotary
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        saved = ctx.saved_tensors
        result = gradient.new_empty(len(gradient), 3 * gradient.shape[1])
        for number, window in enumerate(ctx.layout.windows):
            stacked, weights = saved[2 * number : 2 * number + 2]
            query, key, value = stacked.unbind()
            g = window.spread(gradient)
            if window.real is not None:
                g *= window.real
            g = g.view(window.texts, window.size, ctx.heads, -1).transpose(1, 2).flatten(0, 1)
            scores = torch._softmax_backward_data(
                torch.bmm(g, value.mT), weights, -1, weights.dtype
            )
            products = torch.empty_like(stacked)
            products[0] = _product(scores, key)
            products[0] *= ctx.scale
            products[1] = _product(scores.mT, query)  # already scaled
            products[2] = _product(weights.mT, g)
            if ctx.rotary is not None:
                ctx.rotary.turn(products[:2], back=True)
            split = products.unflatten(1, (window.texts, ctx.heads)).permute(1, 3, 2, 0, 4)
            window.gather(split.reshape(len(window.slots), -1), result)
        return result, None, None, None, None


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Batched product; a narrow one is four times as fast on a CPU when done transposed."""
    return torch.bmm(right.mT, left.mT).mT if right.shape[-1] < 16 else torch.bmm(left, right)


@lru_cache(maxsize=64)
def _later(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What to add to scores so that no token sees a later one; shape [size, size]."""
    return torch.full((size, size), float("-inf"), dtype=dtype, device=device).triu(1)

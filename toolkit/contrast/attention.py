"""Attention over a packed stream of texts: window by window or packed itself, causal or not.

Linear layers see real tokens only. So does attention on a GPU in half precision, where torch has a
kernel for texts of any lengths one after the other (FlashAttention: Dao 2023). Elsewhere attention
needs rectangles: the texts of a chunk are sorted by length and those whose length rounds up to the
same multiple of 16 share one *window* size, so that a handful of batched products serves all texts
and vector units run full. Right padding needs no mask but the causal one, since no real token comes
after it; where tokens see later ones too, it is masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache, partial
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.contrast.transfer import send
from toolkit.doors import softmax_backward

# Above this many tokens the fused kernel wins, which never stores a text's whole square.
LONGEST_EXPLICIT = 256


@dataclass(frozen=True)
class Window:
    """Texts that attend within rectangles of one size: rows `texts`, columns `size`."""

    texts: int
    size: int
    slots: slice


@dataclass(frozen=True)
class Layout:
    """A chunk's stream of tokens on the device, and the slots that its tokens attend in.

    Attributes:
        ids, positions: Token ids, and their places within their texts; int64, shape [tokens].
        owners: Which text each token belongs to; int64, shape [tokens].
        lengths: Tokens of each text; int64, shape [texts].
        windows: One after the other they make up the slots.
        slots: Which token each slot holds; padding repeats a text's last. int64, shape [slots].
        places: Where in its text each slot is; int64, shape [slots].
        real: 1 where a slot holds a token of its own, 0 on padding; shape [slots, 1].
        tokens: The way back: which slot holds each token; int64, shape [tokens].
        bounds: Where each text starts among the tokens, and the end; int32, shape [texts + 1].
        longest: Tokens of the longest text.
        skipped: First tokens of each text that pooling leaves out; int64, shape [texts]. None
            where it takes all.
    """

    ids: Tensor
    positions: Tensor
    owners: Tensor
    lengths: Tensor
    windows: tuple[Window, ...]
    slots: Tensor
    places: Tensor
    real: Tensor
    tokens: Tensor
    bounds: Tensor
    longest: int
    skipped: Tensor | None = None

    def real_keys(self, window: Window) -> Tensor:
        """1 where a slot of a window holds a token of its own; shape [texts, size]."""
        return self.real[window.slots].view(window.texts, window.size)


def lay_out(
    ids: np.ndarray,
    lengths: np.ndarray,
    sizes: np.ndarray,
    like: Tensor,
    skipped: np.ndarray | None = None,
) -> Layout:
    """Lay out a chunk.

    Args:
        ids: Token ids of its texts, one after the other; shape [tokens].
        lengths: Tokens of each text, shape [texts].
        sizes: Window of each text, at least its length and never falling; shape [texts].
        like: Any tensor on the device and of the type that the chunk is to run in.
        skipped: First tokens of each text that pooling leaves out, shape [texts]; None for none.
    """
    lengths, sizes = lengths.astype(np.int64), sizes.astype(np.int64)
    starts, first_slots = np.cumsum(lengths) - lengths, np.cumsum(sizes) - sizes
    owners = np.repeat(np.arange(len(lengths)), lengths)
    positions = np.arange(len(ids)) - starts[owners]
    places = np.arange(sizes.sum()) - np.repeat(first_slots, sizes)
    own = np.repeat(lengths, sizes)
    slots = np.repeat(starts, sizes) + np.minimum(places, own - 1)
    cuts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
    windows = []
    for a, b in pairwise(cuts):
        size, first = int(sizes[a]), int(first_slots[a])
        windows.append(Window(b - a, size, slice(first, first + (b - a) * size)))
    parts = {
        "ids": ids,
        "positions": positions,
        "owners": owners,
        "lengths": lengths,
        "slots": slots,
        "places": places,
        "real": places < own,
        "tokens": first_slots[owners] + positions,
        "bounds": np.append(starts, len(ids)),
    }
    if skipped is not None:
        parts["skipped"] = skipped
    sent = dict(zip(parts, send(list(parts.values()), like.device), strict=True))
    sent["real"] = sent["real"][:, None].to(like.dtype)
    sent["bounds"] = sent["bounds"].to(torch.int32)
    return Layout(**sent, windows=tuple(windows), longest=int(lengths.max()))


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding of the first 2 × half features of a head (Su et al. 2021).

    Attributes:
        cos, sin: Angles of each position, or of each slot; shape [positions, half].
    """

    cos: Tensor
    sin: Tensor

    def at(self, places: Tensor) -> Rotary:
        """The angles of slots at these places of their texts."""
        return Rotary(self.cos[places, None, None], self.sin[places, None, None])

    def turn(self, heads: Tensor, *, back: bool = False) -> None:
        """Rotate heads in place, or back: shape [slots, heads, n, head_size]."""
        half = self.cos.shape[-1]
        part = heads[..., : 2 * half].to(self.cos.dtype)
        first, second = part[..., :half], part[..., half:]
        turned = first * self.sin
        sign = 1 if back else -1
        first.mul_(self.cos).addcmul_(second, self.sin, value=sign)
        second.mul_(self.cos).add_(turned, alpha=-sign)
        if part.dtype != heads.dtype:  # else it is a view of them
            heads[..., : 2 * half] = part


def attend(
    mixed: Tensor,
    layout: Layout,
    heads: int,
    scale: float,
    rotary: Rotary | None = None,
    *,
    causal: bool = True,
) -> Tensor:
    """Attention of each text of a stream to itself.

    Args:
        mixed: Queries, keys and values of every token, head by head: GPT-NeoX's order
            [heads, 3, head_size] flattened; shape [tokens, 3 × heads × head_size].
        layout: Of the stream.
        heads: Number of heads.
        scale: Scores are multiplied by it.
        rotary: Turns queries and keys first: of each slot, or of each token where attention is
            itself packed (`Rotary.at`, `is_packed`).
        causal: Whether a token sees only itself and those before it, or its whole text.

    Returns:
        Shape [tokens, heads × head_size].
    """
    if is_packed(mixed.device, mixed.dtype, mixed.shape[1] // (3 * heads)):
        return _packed(mixed, layout, heads, scale, rotary, causal)
    longest = layout.windows[-1].size
    if mixed.device.type == "cpu" and longest <= LONGEST_EXPLICIT:
        return _Explicit.apply(mixed, layout, heads, scale, rotary, causal)
    return _fused(mixed, layout, heads, scale, rotary, causal)


def is_packed(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether attention takes the packed stream as it is: a GPU's kernel can, in half precision."""
    return (
        device.type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and head_size % 8 == 0
        and head_size <= 256
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and _kernel() is not None
    )


@cache
def _kernel(causal: bool = True) -> Any:
    """torch's attention over texts of any lengths; None where this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    kernel: Any = varlen_attn
    if not causal:
        return kernel
    if "window_size" in signature(kernel).parameters:
        return partial(kernel, window_size=(-1, 0))
    return partial(kernel, is_causal=True)


def _packed(
    mixed: Tensor, layout: Layout, heads: int, scale: float, rotary: Rotary | None, causal: bool
) -> Tensor:
    """By torch's kernel for texts of any lengths: no padding, no copies but the rotated one."""
    x = mixed.view(len(mixed), heads, 3, -1)
    if rotary is not None:
        x = x.clone()
        rotary.turn(x[:, :, :2])
    query, key, value = x.unbind(2)
    usual = query.shape[-1] ** -0.5  # what the kernel scales by; not all of torch's take another
    if scale != usual:
        query = query * (scale / usual)
    bounds, longest = layout.bounds, layout.longest
    return _kernel(causal)(query, key, value, bounds, bounds, longest, longest).flatten(1)


def _fused(
    mixed: Tensor, layout: Layout, heads: int, scale: float, rotary: Rotary | None, causal: bool
) -> Tensor:
    """By torch's fused kernels: fast on GPUs and for long texts."""
    x = mixed[layout.slots].view(len(layout.slots), heads, 3, -1)
    if rotary is not None:
        x = x.clone()
        rotary.turn(x[:, :, :2])
    parts = []
    for window in layout.windows:
        query, key, value = _by_head(x[window.slots], window).unbind()
        mask = None if causal else layout.real_keys(window)[:, None, None] > 0
        out = F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)
        parts.append(out.transpose(1, 2).flatten(2).flatten(0, 1))
    return torch.cat(parts)[layout.tokens]


class _Explicit(torch.autograd.Function):
    """By plain batched products, with the backward pass written out.

    On a CPU this beats torch's fused kernel for short texts and narrow heads, and it is what
    torch's FlopCounterMode can count. What can be done for all windows at once is.
    """

    @staticmethod
    def forward(
        ctx: Any,
        mixed: Tensor,
        layout: Layout,
        heads: int,
        scale: float,
        rotary: Rotary | None,
        causal: bool,
    ) -> Tensor:
        x = mixed.index_select(0, layout.slots).view(len(layout.slots), heads, 3, -1)
        if rotary is not None:
            rotary.turn(x[:, :, :2])
        x[:, :, 0] *= scale
        result = x.new_empty(len(x), heads, x.shape[-1])
        saved = []
        for window in layout.windows:
            stacked = _by_head(x[window.slots], window).flatten(1, 2)
            query, key, value = stacked.unbind()
            if causal:
                unseen = _later(window.size, query.dtype, query.device)
            else:
                unseen = _padding(layout.real_keys(window), heads, query.dtype)
            scores = torch.baddbmm(unseen, query, key.mT)
            weights = scores.softmax(-1, dtype=_exact(scores)).to(scores.dtype)
            _by_slot(result, window).copy_(_product(weights, value).unflatten(0, (-1, heads)))
            saved += [stacked, weights]
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.scale, ctx.rotary = layout, scale, rotary
        return result.flatten(1).index_select(0, layout.tokens)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), layout, saved = gradients, ctx.layout, ctx.saved_tensors
        size = saved[0].shape[-1]
        g = gradient.index_select(0, layout.slots)
        g = g.mul_(layout.real.to(g.dtype)).unflatten(1, (-1, size))
        result = g.new_empty(*g.shape[:2], 3, size)
        for number, window in enumerate(layout.windows):
            stacked, weights = saved[2 * number : 2 * number + 2]
            query, key, value = stacked.unbind()
            inward = _by_slot(g, window).flatten(0, 1)
            exact = _exact(weights)
            scores = softmax_backward(torch.bmm(inward, value.mT).to(exact), weights.to(exact)).to(
                weights.dtype
            )
            products = (scores, key), (scores.mT, query), (weights.mT, inward)
            for part, (left, right) in zip(result.unbind(2), products, strict=True):
                out = _by_slot(part, window)
                out.copy_(_product(left, right).unflatten(0, out.shape[:2]))
        result[:, :, 0] *= ctx.scale  # the saved queries, and so the keys' gradient, have it
        if ctx.rotary is not None:
            ctx.rotary.turn(result[:, :, :2], back=True)
        return result.flatten(1).index_select(0, layout.tokens), None, None, None, None, None


def _by_head(x: Tensor, window: Window) -> Tensor:
    """View of [slots, heads, 3, head_size] as [3, texts, heads, size, head_size]."""
    return x.unflatten(0, (window.texts, window.size)).permute(3, 0, 2, 1, 4)


def _by_slot(x: Tensor, window: Window) -> Tensor:
    """View of [all slots, heads, head_size] as [texts, heads, size, head_size] of a window."""
    return x[window.slots].unflatten(0, (window.texts, window.size)).transpose(1, 2)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Batched product; a narrow one is four times as fast on a CPU when done transposed."""
    return torch.bmm(right.mT, left.mT).mT if right.shape[-1] < 16 else torch.bmm(left, right)


def _exact(x: Tensor) -> torch.dtype:
    """The type for what is not a product: never less than float32."""
    return torch.promote_types(x.dtype, torch.float32)


@lru_cache(maxsize=64)
def _later(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """What to add to scores so that no token sees a later one; shape [size, size]."""
    return torch.full((size, size), float("-inf"), dtype=dtype, device=device).triu(1)


def _padding(real: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """What to add to scores so that no token sees padding; shape [texts × heads, 1, size]."""
    hidden = torch.zeros_like(real, dtype=dtype).masked_fill_(real == 0, -torch.inf)
    return hidden.repeat_interleave(heads, 0)[:, None]

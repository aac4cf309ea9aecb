"""Doors of other libraries that they keep private and we cannot do without, in one place.

Each has a test of its own in `tests/test_doors.py`, so that a version that moves one is noticed
there and not in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode as DispatchMode
from torch.utils._pytree import tree_leaves as leaves

__all__ = ["DispatchMode", "attending", "leaves", "softmax_backward"]


@contextmanager
def attending(model: Any, how: str) -> Iterator[None]:
    """With another of transformers' attention implementations for as long as the block lasts.

    `model.set_attn_implementation` is the public way, but it walks through all modules, and this
    is done at every step.
    """
    before = model.config._attn_implementation
    model.config._attn_implementation = how
    try:
        yield
    finally:
        model.config._attn_implementation = before


def softmax_backward(gradient: Tensor, weights: Tensor) -> Tensor:
    """Gradient of the scores, from that of `weights = scores.softmax(-1)`; all [..., n].

    In one pass over memory; written out, `weights * (gradient - (gradient * weights).sum(-1))`
    takes three.
    """
    return torch._softmax_backward_data(gradient, weights, -1, weights.dtype)

"""The arithmetic of a step: float32 throughout, or bfloat16 products around float32 sums.

In bfloat16 (mixed precision: Micikevicius et al. 2018; Kalamkar et al. 2019) only matrix products
take rounded operands, and add up in float32 inside. Weights, their gradients and the optimiser,
the residual stream, norms, softmax, pooling and the loss stay in float32: an update smaller than a
weight's 1/256 is not lost.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from toolkit import machine
from toolkit.errors import ToolkitError

FLOAT32, BFLOAT16 = "float32", "bfloat16"
# Hidden width from which bfloat16 pays on a processor that multiplies in it: benchmarks/README.md.
LEAST_WIDTH = 96


def resolve(asked: str, width: int, device: torch.device) -> str:
    """The precision that a decoder of this width runs in: float32 or bfloat16.

    Args:
        asked: auto, float32 or bfloat16. auto takes bfloat16 on a GPU, and on a processor that
            multiplies in it where the decoder is wide enough to gain by it.
        width: Hidden width of the decoder.
        device: That it runs on.

    Raises:
        ToolkitError: `asked` is none of the three.
    """
    if asked == FLOAT32:
        return asked
    if asked == BFLOAT16:
        if not _fast(device):
            warnings.warn(
                f"{_name(device)} has no faster products in bfloat16: the run will be right but "
                "slow; precision: float32 is faster here",
                stacklevel=2,
            )
        return asked
    if asked != "auto":
        raise ToolkitError(f"precision is auto, float32 or bfloat16, not {asked!r}")
    wide = width >= LEAST_WIDTH or device.type == "cuda"
    return BFLOAT16 if wide and _fast(device) else FLOAT32


def _fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return machine.multiplies_bfloat16()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine.processor()


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager:
    """Within it products run in this precision; their backward pass then does by itself.

    Autocast's own cache is off: it would hand a weight that was rounded without a graph to a pass
    that needs its gradient. `rounded_weights` takes its place.
    """
    if precision == FLOAT32:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@contextmanager
def rounded_weights(model: nn.Module) -> Iterator[list[Tensor]]:
    """Within it linear layers see their weights in bfloat16, rounded once for all chunks of a step.

    The rounded copy is an attribute that hides the parameter, whose gradient flows through it, in
    float32. Yields the copies.
    """
    from transformers.pytorch_utils import Conv1D

    layers = [x for x in model.modules() if isinstance(x, (nn.Linear, Conv1D))]
    copies = [layer.weight.bfloat16() for layer in layers]
    for layer, copy in zip(layers, copies, strict=True):
        layer.__dict__["weight"] = copy
    try:
        yield copies
    finally:
        for layer in layers:
            del layer.__dict__["weight"]

"""Copies between the processor and a GPU that neither waits for.

A step that never waits lets the processor lay out the next batch, and send it ahead, while the GPU
still works on this one. On a processor nothing is copied at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def send(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """The arrays of whole numbers on the device, as int64, in one copy from pinned memory."""
    parts = [np.ascontiguousarray(array, np.int64) for array in arrays]
    if device.type != "cuda":
        return [torch.from_numpy(part).to(device) for part in parts]
    # torch gives pinned memory to no other before the copy from it is done.
    together = torch.from_numpy(np.concatenate([part.ravel() for part in parts])).pin_memory()
    sent = together.to(device, non_blocking=True).split([part.size for part in parts])
    return [x.view(part.shape) for x, part in zip(sent, parts, strict=True)]


class Later:
    """A number that a device is still working on: on its way here, waited for when it is asked."""

    def __init__(self, value: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._value = value.detach()
        if value.is_cuda:
            self._value = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._value.copy_(value.detach(), non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def item(self) -> float:
        if self._event is not None:
            self._event.synchronize()
        return self._value.item()

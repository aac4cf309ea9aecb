"""One run on several GPUs: each process takes its share of every batch; the gradients stay exact.

Started by torchrun, or by `accelerate launch`, which set the same variables::

    torchrun --nproc-per-node 4 -m toolkit train runs/big/runs/<run>

In-batch negatives are those of the whole batch. Each process embeds its own texts, gathers all
embeddings, and computes the loss over all of them; the gradient of that loss by its own
embeddings is exact, since the others' embeddings do not depend on its texts; so the parameters'
gradient is the plain sum over processes (not their mean). Cached gradients and kept graphs work
as on one device, because only embeddings cross over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from toolkit.contrast.loss import equal_texts
from toolkit.contrast.step import ContrastiveStep, StepResult
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import Ragged


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the other processes of the run, if torchrun or accelerate started any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number; 0 alone writes records and checkpoints."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batch: np.ndarray) -> np.ndarray:
    """This process's pairs of a batch: every `size()`-th, so that lengths even out.

    Raises:
        ToolkitError: The batch does not divide evenly.
    """
    if len(batch) % size():
        raise ToolkitError(
            f"batch_pairs {len(batch)} is not a multiple of the {size()} processes of this run"
        )
    return batch[rank() :: size()]


class SharedStep(ContrastiveStep):
    """`ContrastiveStep` on this process's share of a batch, with all processes' candidates.

    The loss and every `.grad` come out the same on each process.
    """

    def __call__(
        self, queries: Ragged, positives: Ragged, negatives: Ragged | None = None
    ) -> StepResult:
        # Where memory runs out the share is done again, by this process alone: what the others
        # sent is kept, and they are not asked twice.
        self._gathered: list[list[Tensor]] | None = None
        result = super().__call__(queries, positives, negatives)
        _sum([p.grad for p in self.trained if p.grad is not None])
        return result

    def equal(self, *sides: Ragged) -> np.ndarray | None:
        # Bit patterns: there is no uint64 to send.
        device = self.body.like.device
        keys = [torch.from_numpy(side.keys().view(np.int64)).to(device) for side in sides]
        return equal_texts(*(torch.cat(_gather(own)).cpu().numpy() for own in keys))

    def gathered(self, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        own = queries, candidates[: len(queries)], candidates[len(queries) :]
        if self._gathered is None:
            self._gathered = [_gather(part.detach()) for part in own]
        # Of its own embeddings each process keeps those that a gradient goes through.
        whole = [
            torch.cat([*others[: rank()], mine, *others[rank() + 1 :]])
            for others, mine in zip(self._gathered, own, strict=True)
        ]
        return whole[0], torch.cat(whole[1:])


def _gather(own: Tensor) -> list[Tensor]:
    """Every process's tensor, of which the first dimension may differ."""
    counts = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(size())]
    dist.all_gather(counts, torch.tensor([len(own)], device=own.device))
    most = int(max(counts))
    padded = own.new_zeros(most, *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in range(size())]
    dist.all_gather(parts, padded)
    return [part[: int(count)] for part, count in zip(parts, counts, strict=True)]


def _sum(gradients: list[Tensor]) -> None:
    """Sum each gradient over all processes, in place, in one message."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))

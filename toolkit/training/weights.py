"""The tensors that a run trains, on disk: what its checkpoints and its kept encoder consist of.

Of a LoRA run they are the adapters, of bias tuning the biases, of block freezing the last blocks.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from torch import Tensor, nn

_SAMPLES = 4096  # Values of a tensor that its fingerprint looks at.


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require gradients, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def write(model: nn.Module, path: Path) -> str:
    """Save the trained tensors in safetensors. Returns the file's `digest`."""
    save_file({name: p.detach().contiguous() for name, p in trained(model).items()}, path)
    return digest(path)


def read(model: nn.Module, path: Path) -> bool:
    """Fill the trained parameters from a file; False where it holds others than those."""
    stored, ours = load_file(path), trained(model)
    if {n: t.shape for n, t in stored.items()} != {n: p.shape for n, p in ours.items()}:
        return False
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(stored[name])
    return True


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def frozen_fingerprint(model: nn.Module) -> str:
    """Tells one set of untrained weights from another: a digest of their names, shapes and of
    some thousand values of each, as all of a large decoder's would take minutes."""
    found = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            found.update(f"{name} {tuple(parameter.shape)} ".encode())
            found.update(_some(parameter.detach()).numpy().tobytes())
    return found.hexdigest()[:16]


def _some(values: Tensor) -> Tensor:
    flat = values.flatten()
    return flat[:: max(1, len(flat) // _SAMPLES)].float().cpu().contiguous()

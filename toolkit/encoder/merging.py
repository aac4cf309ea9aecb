"""LoRA adapters become part of the weights that they adapt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def merge_adapters(model: nn.Module) -> None:
    """Add every LoRA adapter to the weights it adapts and leave the plain layers in place."""
    if not any(".lora_" in name for name, _ in model.named_parameters()):
        return  # peft takes seconds to import.
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())

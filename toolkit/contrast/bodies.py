"""Which body runs which decoder."""

from __future__ import annotations

from transformers import PreTrainedModel

from toolkit.contrast.body import Body
from toolkit.contrast.families import LlamaBody, NeoxBody
from toolkit.contrast.hub import HubBody

__all__ = ["Body", "HubBody", "LlamaBody", "NeoxBody", "body_of"]


def body_of(model: PreTrainedModel, precision: str = "auto") -> Body:
    """The fastest body that runs this decoder exactly.

    Args:
        model: Decoder.
        precision: auto, float32 or bfloat16: of its products (`toolkit.contrast.precision`).
    """
    kind = next((kind for kind in (NeoxBody, LlamaBody) if kind.runs(model)), HubBody)
    return kind(model, precision)

"""Variants of LoRA: rank-stabilised scaling, and DoRA."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from toolkit.decoders import Decoder, Linear, Shape
from toolkit.methods.base import Added
from toolkit.methods.lora import Lora

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class RankStabilised(Lora):
    """Updates are scaled by alpha / √rank, so that high ranks learn as fast as low ones.

    Kalajdzievski 2023, arXiv 2312.03732. It costs what LoRA costs; with alpha left at the rank its
    scale is √rank, where LoRA's is 1.
    """

    name = "rslora"
    title = "rank-stabilised LoRA"
    colour, marker = "#BBCC33", "d"
    spellings = "rslora rankstabilizedlora rankstabilisedlora lorars"
    studied = False
    flags = ("use_rslora",)

    @classmethod
    def learning_rate(cls, decoder: Decoder) -> float:
        """A quarter of LoRA's: its scale is √rank times that one's (`runs/methods`, rank 16)."""
        return super().learning_rate(decoder) / 4


@dataclass(frozen=True)
class Dora(Lora):
    """The length of each row of a weight is trained apart from LoRA's update of its direction.

    W' = m (W + s B A) / |W + s B A|, where the norm, a row's, counts as a constant for gradients
    (Liu et al. 2024, arXiv 2402.09353, section 4.3). For the norm B A is multiplied out each time
    that a layer runs.
    """

    name = "dora"
    title = "DoRA"
    colour, marker = "#56B4E9", "h"
    spellings = "dora weightdecomposedlora"
    studied = False
    flags = ("use_dora",)

    def adapter(self, linear: Linear, above: int) -> tuple[Added, ...]:
        products = super().adapter(linear, above)
        if not products:
            return ()
        down, up = products
        whole = Added(call=2 * linear.inputs * self.lora_rank * linear.outputs)
        return whole, down, replace(up, kept=True)

    def adapter_params(self, linear: Linear, above: int) -> int:
        lengths = linear.outputs * self.adapts(linear.name, above)
        return super().adapter_params(linear, above) + lengths

    def embedding_adapter(self, shape: Shape) -> tuple[Added, ...]:
        products = super().embedding_adapter(shape)
        whole = Added(call=2 * shape.vocabulary * self.lora_rank * shape.hidden)
        return (whole, *products) if products else ()

    def embedding_adapter_params(self, shape: Shape) -> int:
        lengths = shape.hidden * self.adapts(shape.embedding, shape.layers)
        return super().embedding_adapter_params(shape) + lengths

    def inject(self, model: PreTrainedModel, seed: int) -> None:
        from peft.tuners.lora.dora import DoraLinearLayer

        super().inject(model, seed)
        for module in model.modules():
            if type(module) is DoraLinearLayer:
                module.__class__ = _lengths()


@cache
def _lengths() -> Any:
    """peft's layer of lengths with one product for its norm instead of two, always in float32."""
    import torch
    from peft.tuners.lora.dora import DoraLinearLayer

    def full(layer: Any) -> torch.Tensor:
        """A layer's parameter, where a rounded copy may hide it."""
        return layer._parameters["weight"]

    class Lengths(DoraLinearLayer):
        def forward(
            self,
            x: torch.Tensor,
            *,
            lora_A: Any,
            lora_B: Any,
            scaling: float,
            base_layer: Any,
            base_result: Any = None,  # Given where there is no dropout, as here.
            adapter_name: str = "default",
        ) -> torch.Tensor:
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                update = full(lora_B) @ full(lora_A)
                norm = self.get_weight_norm(full(base_layer), update, scaling)
            scale = self.weight / norm
            plain = base_result if base_layer.bias is None else base_result - base_layer.bias
            return (scale - 1) * plain + scale * scaling * lora_B(lora_A(x))

    return Lengths

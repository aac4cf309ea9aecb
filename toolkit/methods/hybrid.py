"""The last blocks are trained in full, LoRA adapts the rest: between block freezing and LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from toolkit.decoders import Shape
from toolkit.errors import ToolkitError
from toolkit.methods.freeze import TRAINED_BLOCKS, trained_blocks
from toolkit.methods.lora import Lora

if TYPE_CHECKING:
    from toolkit.runs import RunConfig


@dataclass(frozen=True)
class Hybrid(Lora):
    """The last `trained_blocks` blocks and the final norm are trained; below them, adapters are.

    The embedding has an adapter as well, where the targets name it.
    """

    trained_blocks: int

    name = "hybrid"
    title = "last blocks and LoRA"
    colour, marker = "#000000", "p"
    spellings = "hybrid freezelora lorafreeze lastblocksandlora"
    settings = (TRAINED_BLOCKS, *Lora.settings)
    studied = False

    @classmethod
    def resolve(cls, config: RunConfig, shape: Shape) -> Self:
        lora = Lora.resolve(config, shape)
        blocks = trained_blocks(config.trained_blocks, shape)
        if blocks == shape.layers:
            raise ToolkitError(
                f"method hybrid adapts the blocks below those that it trains, but trained_blocks "
                f"is {blocks}, all that the decoder has; take fewer, or method full"
            )
        return cls(lora.lora_rank, lora.lora_alpha, lora.lora_targets, blocks)

    def trains(self, parameter: str, above: int) -> bool:
        return above < self.trained_blocks

    def adapts(self, module: str, above: int) -> bool:
        return above >= self.trained_blocks and super().adapts(module, above)

"""Block freezing: the last blocks and the final norm are trained, what lies below is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from toolkit.decoders import Shape
from toolkit.errors import ToolkitError
from toolkit.methods.base import Method, Setting, positive

if TYPE_CHECKING:
    from toolkit.runs import RunConfig

DEFAULT_SHARE = 0.5


def _same_share(blocks: float, found: Shape | None, wanted: Shape) -> float:
    if blocks < 1:  # A fraction already.
        return trained_blocks(float(blocks), wanted)
    return blocks if found is None else max(1, round(blocks / found.layers * wanted.layers))


def _check(name: str, blocks: Any) -> None:
    positive(name, blocks)
    if isinstance(blocks, float) and not blocks < 1:
        wanted = "a whole number of blocks or a fraction below 1"
        raise ToolkitError(f"{name} is {wanted}, not {blocks}")


TRAINED_BLOCKS = Setting(
    name="trained_blocks",
    title="trained blocks",
    short="blocks",
    meaning="the last so many blocks, or a fraction of them below 1; half of them by default",
    recommended=True,
    carry=_same_share,
    check=_check,
)


def trained_blocks(wanted: int | float | None, shape: Shape) -> int:
    """How many of the last blocks are trained; a fraction is rounded down, to at least one.

    Raises:
        ToolkitError: More than the decoder has.
    """
    wanted = DEFAULT_SHARE if wanted is None else wanted
    blocks = max(1, int(wanted * shape.layers)) if isinstance(wanted, float) else wanted
    if blocks > shape.layers:
        raise ToolkitError(
            f"trained_blocks is {blocks}, but the decoder has only {shape.layers} blocks"
        )
    return blocks


@dataclass(frozen=True)
class Freeze(Method):
    """The last `trained_blocks` blocks and the final norm are trained; the embedding is frozen."""

    trained_blocks: int

    name = "freeze"
    title = "block freezing"
    colour, marker = "#22AA77", "s"
    spellings = "freeze frozen freezing blockfreezing layerfreezing blockfreeze layerfreeze"
    settings = (TRAINED_BLOCKS,)
    studied = True
    small_rate = 2.0
    pretraining_share = 0.1

    @classmethod
    def resolve(cls, config: RunConfig, shape: Shape) -> Self:
        return cls(trained_blocks(config.trained_blocks, shape))

    def trains(self, parameter: str, above: int) -> bool:
        return above < self.trained_blocks

    def paper_flops_per_token(self, shape: Shape) -> int:
        """2N + 4n: the backward pass ends where the frozen blocks begin."""
        return 2 * shape.params + 4 * self.trainable_params(shape)

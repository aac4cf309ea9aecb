"""Bias tuning (BitFit: Ben Zaken et al. 2022, arXiv 2106.10199): only biases are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from toolkit.decoders import Shape
from toolkit.errors import ToolkitError
from toolkit.methods.base import Method

if TYPE_CHECKING:
    from toolkit.runs import RunConfig


@dataclass(frozen=True)
class Bias(Method):
    """The biases of linear layers and norms are trained; rates are far above those of weights."""

    name = "bias"
    title = "bias tuning"
    colour, marker = "#882255", "^"
    spellings = "bias biases bitfit biasonly biasesonly"
    studied = True
    small_rate = 16.0

    @classmethod
    def resolve(cls, config: RunConfig, shape: Shape) -> Self:
        if not shape.biases:
            raise ToolkitError("this decoder has no biases to tune; use another method")
        return cls()

    def trains(self, parameter: str, above: int) -> bool:
        return parameter.endswith(".bias")

"""Full fine-tuning: every parameter is trained."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.methods.base import Method


@dataclass(frozen=True)
class Full(Method):
    """Every parameter is trained, embeddings among them."""

    name = "full"
    title = "full fine-tuning"
    colour, marker = "#0072B2", "o"
    spellings = "full all everything fft fullparameter fullparameters allparameters"
    studied = True
    pretraining_share = 0.1

    def trains(self, parameter: str, above: int) -> bool:
        return True

"""What runs a decoder for the contrastive step: frozen blocks apart from trained ones.

A body runs a decoder without its head in two parts: `prefix`, the blocks below the lowest trained
one, which never need a gradient, and `trunk`, the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from toolkit.contrast.attention import Layout
from toolkit.contrast.precision import BFLOAT16, FLOAT32, arithmetic, resolve, rounded_weights
from toolkit.decoders import find_blocks


class Body(ABC):
    """A decoder without its head, in two parts.

    Attributes:
        model: The decoder, with trained parameters requiring gradients.
        first_trained: The lowest block that takes part in the backward pass.
        causal: Whether tokens see only those before them, or their whole text: what the model's
            configuration says (`toolkit.decoders.load`).
        packed: Whether it runs on a packed stream; if not, texts of a chunk are padded.
        precision: float32 or bfloat16: of its products. A model that is not in float32 runs in
            its own type, which this then calls float32.
        rounded: Within `ready`, the copies of weights that products take in place of parameters.
    """

    packed = True

    def __init__(self, model: PreTrainedModel, precision: str = "auto") -> None:
        self.model: Any = model
        self.causal = bool(getattr(self.model.config, "is_causal", True))
        self.embedding: Any = self.model.get_input_embeddings()
        self.precision = FLOAT32
        if self.like.dtype == torch.float32:
            self.precision = resolve(precision, self.width, self.like.device)
        self.rounded: list[Tensor] = []
        self.blocks = find_blocks(model, model.config.model_type)
        if any(p.requires_grad for p in self.embedding.parameters()):
            self.first_trained = 0
        else:
            trained = [any(p.requires_grad for p in block.parameters()) for block in self.blocks]
            self.first_trained = [*trained, True].index(True)

    @property
    def width(self) -> int:
        """Of the embedding's vectors."""
        return self.embedding.weight.shape[-1]

    @property
    def like(self) -> Tensor:
        """A parameter: of the device and the type that everything is in."""
        return next(self.model.parameters())

    @property
    def product_dtype(self) -> torch.dtype:
        """The type of what products put out."""
        return torch.bfloat16 if self.precision == BFLOAT16 else self.like.dtype

    def prefix(self, tokens: Tensor, layout: Layout) -> Any:
        """Through the frozen blocks, without a graph: what `trunk` takes for states."""
        if not self.first_trained:
            return tokens
        with torch.no_grad(), arithmetic(self.precision, self.like.device):
            return self._prefix(tokens, layout)

    def trunk(self, states: Any, layout: Layout, *, checkpointing: bool = False) -> Tensor:
        """Through the trained blocks and the final norm: states, shape [tokens, hidden]."""
        with arithmetic(self.precision, self.like.device):
            states = self._trunk(states, layout, checkpointing)
        return states.to(self.like.dtype)

    @abstractmethod
    def _prefix(self, tokens: Tensor, layout: Layout) -> Any: ...

    @abstractmethod
    def _trunk(self, states: Any, layout: Layout, checkpointing: bool) -> Tensor: ...

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Within it the model runs as a body, backward passes included; after it, as before."""
        if self.precision == FLOAT32:
            yield
            return
        with rounded_weights(self.model) as self.rounded:
            yield
        self.rounded = []

    @property
    def weights(self) -> list[Tensor]:
        """All that the model keeps whether or not there is a graph."""
        return [*self.model.parameters(), *self.model.buffers(), *self.rounded]

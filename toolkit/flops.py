"""FLOPs of one contrastive training step, from shapes alone, in three conventions.

*paper*: the study's convention, real tokens × (6N full; 2N + 4n freeze; 4N + 2n lora and bias).
*model*: what the method needs on real tokens, attention and loss included, nothing twice.
*hardware*: what is really executed: padding, cached gradients and checkpointing included.

The last equals what torch's FlopCounterMode counts, to the integer, with eager attention: matrix
products only, 2 FLOPs a multiply-add, attention over the full square.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from toolkit.contrast.packing import Execution
from toolkit.decoders import Linear, Shape
from toolkit.methods import (
    Method,
    adapted,
    adapts_embedding,
    first_trained_block,
    trainable_params,
)


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step in the three conventions (see the module)."""

    paper: int
    model: int
    hardware: int


@dataclass(frozen=True)
class Cost:
    """FLOPs of one token, and of one query-key pair of tokens within a text."""

    token: int = 0
    square: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.token + other.token, self.square + other.square)

    def __mul__(self, times: int) -> Cost:
        return Cost(self.token * times, self.square * times)

    def of(self, tokens: int, squares: int) -> int:
        return self.token * tokens + self.square * squares


@dataclass(frozen=True)
class Passes:
    """What each pass over a decoder costs under a method.

    Attributes:
        once: Forward of what runs once a step whatever is recomputed: the embedding's adapter
            and the frozen blocks below the lowest trained one.
        forward: Forward of the trained blocks.
        backward: Backward of all of it.
        replay: What checkpointing runs again of the trained blocks.
    """

    once: Cost
    forward: Cost
    backward: Cost
    replay: Cost


def step_flops(
    shape: Shape,
    method: Method,
    query_lengths: np.ndarray,
    positive_lengths: np.ndarray,
    execution: Execution,
) -> StepFlops:
    """FLOPs of one step on these pairs, run as `execution` says.

    Args:
        shape: Of the decoder.
        method: From `toolkit.methods.resolve`.
        query_lengths, positive_lengths: Real tokens of each text; shape [pairs].
        execution: From `toolkit.contrast.packing.plan_step` on both lengths, queries first.
    """
    passes = pass_costs(shape, method)
    lengths = np.concatenate((query_lengths, positive_lengths))
    real = _sums(lengths, lengths)
    # Symmetric InfoNCE: one matrix of similarities serves both directions, forward and twice back.
    loss = 6 * len(query_lengths) ** 2 * shape.hidden
    whole = passes.once + passes.forward + passes.backward

    ran = _sums(execution.tokens, execution.windows)
    hardware = whole.of(*ran) + loss
    if execution.checkpointing:
        hardware += passes.replay.of(*ran)
    if execution.recomputed.any():
        again = np.repeat(execution.recomputed, np.diff(execution.chunks))
        hardware += passes.forward.of(*_sums(execution.tokens[again], execution.windows[again]))
    return StepFlops(
        paper=real[0] * paper_flops_per_token(shape, method),
        model=whole.of(*real) + loss,
        hardware=hardware,
    )


def _sums(tokens: np.ndarray, windows: np.ndarray) -> tuple[int, int]:
    """Tokens, and query-key pairs within windows, of these texts."""
    wide = windows.astype(np.int64)
    return int(tokens.sum()), int(np.dot(wide, wide))


def paper_flops_per_token(shape: Shape, method: Method) -> int:
    """The study's FLOPs a token: 6N full, 2N + 4n freeze, 4N + 2n lora and bias.

    N counts all parameters, adapters among them, and n the trainable ones, embeddings left out
    of both.
    """
    trainable = trainable_params(shape, method)
    if method.name == "full":
        return 6 * shape.params
    if method.name == "freeze":
        return 2 * shape.params + 4 * trainable
    adapters = trainable if method.name == "lora" else 0
    return 4 * (shape.params + adapters) + 2 * trainable


@lru_cache(maxsize=256)
def pass_costs(shape: Shape, method: Method) -> Passes:
    """What each pass costs, block by block, with no gradient computed that nothing needs."""
    first = first_trained_block(shape, method)
    frozen = _Block(shape, None, input_gradient=False)
    lowest = _Block(shape, method, input_gradient=_embedding_trained(shape, method))
    other = _Block(shape, method, input_gradient=True)
    others = shape.layers - first - 1
    adapter = Cost()
    if adapts_embedding(shape, method):
        adapter = Cost(token=2 * (method.lora_rank or 0) * shape.hidden)
    return Passes(
        once=adapter + frozen.forward * first,
        forward=lowest.forward + other.forward * others,
        backward=adapter * 2 + lowest.backward + other.backward * others,
        replay=lowest.replay + other.replay * others,
    )


def _embedding_trained(shape: Shape, method: Method) -> bool:
    return method.name == "full" or adapts_embedding(shape, method)


class _Block:
    """One block walked through in running order: which matrix products it does, forward and back.

    Args:
        shape: Of the decoder.
        method: None for a frozen block.
        input_gradient: Whether the block's input needs a gradient.
    """

    def __init__(self, shape: Shape, method: Method | None, *, input_gradient: bool) -> None:
        self.rank = method.lora_rank or 0 if method else 0
        self.weights = method is not None and method.name in ("full", "freeze")
        self.biases = method is not None and method.name in ("full", "freeze", "bias")
        self.forward = self.backward = self.replay = Cost()
        linears = list(
            zip(shape.block, adapted(shape, method) if method else [False] * 99, strict=False)
        )
        inputs = 1 if shape.block[0].outputs > shape.attention_width else 3
        normed = self._norm(shape, input_gradient)

        roles = {self._role(x, inputs): self._linear(x, has, normed) for x, has in linears[:inputs]}
        attended = self._attention(shape, roles)
        added = self._linear(*linears[inputs], attended)
        if not shape.parallel_residual:
            normed = self._norm(shape, input_gradient or added)
        wide = [self._linear(x, has, normed) for x, has in linears[inputs + 1 : -1]]
        self._linear(*linears[-1], any(wide))

    def _norm(self, shape: Shape, gradient: bool) -> bool:
        """Whether the output of a norm needs a gradient."""
        return gradient or self.weights or (self.biases and shape.norm_biases > 0)

    @staticmethod
    def _role(linear: Linear, inputs: int) -> str:
        return "qkv" if inputs == 1 else linear.name.rsplit(".", 1)[-1][0]

    def _product(self, forward: Cost, gradients: int) -> None:
        """One matrix product, and as many of the same size in the backward pass."""
        if gradients:
            # A checkpoint replays up to the last product that keeps something for the backward
            # pass; that one itself is not run again, since what it needs is there by then.
            self.replay = self.forward
        self.forward += forward
        self.backward += forward * gradients

    def _linear(self, linear: Linear, has_adapter: bool, gradient: bool) -> bool:
        """Walk a linear layer. Returns whether its output needs a gradient."""
        self._product(Cost(2 * linear.inputs * linear.outputs), gradient + self.weights)
        if has_adapter:
            self._product(Cost(2 * linear.inputs * self.rank), gradient + 1)
            self._product(Cost(2 * self.rank * linear.outputs), 2)
        return gradient or has_adapter or self.weights or (self.biases and linear.bias)

    def _attention(self, shape: Shape, needs: dict[str, bool]) -> bool:
        """Walk scores and weighted values. Returns whether the output needs a gradient."""
        query, key, value = (needs.get(role, needs.get("qkv", False)) for role in "qkv")
        product = Cost(square=2 * shape.attention_width)
        self._product(product, query + key)
        self._product(product, (query or key) + value)
        return query or key or value

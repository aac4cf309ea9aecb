"""FLOPs of one contrastive training step, from shapes alone, in three conventions.

*paper*: the study's convention, real tokens × (6N full; 2N + 4n freeze; 4N + 2n lora and bias).
*model*: what the method needs on real tokens, attention and loss included, nothing twice.
*hardware*: what is really executed: padding, cached gradients and checkpointing included.

The last equals what torch's FlopCounterMode counts, to the integer, with eager attention: matrix
products only, 2 FLOPs a multiply-add, attention over the full square. Only the table of angles that
rotary decoders of the hub make anew in each pass is left out: some hundred FLOP.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from toolkit.contrast.packing import Execution
from toolkit.decoders.shapes import INPUT, Product, Shape
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
        embedding: Forward of the embedding's adapter, which runs once, on real tokens; backward
            is twice that.
        once: Forward of the frozen blocks below the lowest trained one, run once a step whatever
            is recomputed.
        forward: Forward of the trained blocks.
        backward: Backward of the trained blocks.
        replay: What checkpointing runs again of the trained blocks.
    """

    embedding: Cost
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
    once = (passes.embedding * 3).of(*real) + loss
    hardware = whole.of(*ran) + once
    if execution.checkpointing:
        hardware += passes.replay.of(*ran)
    if execution.recomputed.any():
        again = np.repeat(execution.recomputed, np.diff(execution.chunks))
        hardware += passes.forward.of(*_sums(execution.tokens[again], execution.windows[again]))
    return StepFlops(
        paper=real[0] * paper_flops_per_token(shape, method),
        model=whole.of(*real) + once,
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
    lowest = _Block(shape, method, input_gradient=_trains_below(shape, method))
    other = _Block(shape, method, input_gradient=True)
    others = shape.layers - first - 1
    adapter = Cost()
    if adapts_embedding(shape, method):
        adapter = Cost(token=2 * (method.lora_rank or 0) * shape.hidden)
    return Passes(
        embedding=adapter,
        once=frozen.forward * first,
        forward=lowest.forward + other.forward * others,
        backward=lowest.backward + other.backward * others,
        replay=lowest.replay + other.replay * others,
    )


def _trains_below(shape: Shape, method: Method) -> bool:
    """Whether something is trained before the first block."""
    biases = method.name == "bias" and shape.first_norm_biases > 0
    return method.name == "full" or biases or adapts_embedding(shape, method)


class _Block:
    """One block walked through in running order: which matrix products it does, forward and back.

    Args:
        shape: Of the decoder.
        method: None for a frozen block.
        input_gradient: Whether the block's input needs a gradient.
    """

    def __init__(self, shape: Shape, method: Method | None, *, input_gradient: bool) -> None:
        self.method = method
        self.input_gradient = input_gradient
        has_adapter = adapted(shape, method) if method else (False,) * len(shape.block)
        self.adapters = {
            f"{linear.name}.weight": linear
            for linear, has in zip(shape.block, has_adapter, strict=True)
            if has
        }
        self.forward = self.backward = self.replay = Cost()
        for product in shape.products:
            self._walk(product)
        if shape.keeps_last and self.backward != Cost():
            self.replay = self.forward

    def _walk(self, product: Product) -> None:
        """A product of the block, and those of an adapter on it."""
        left = self._needs(product.left)
        right = self._trains(product.weight) if product.weight else self._needs(product.right)
        self._multiply(Cost(product.token, product.square), left + right)
        linear = self.adapters.get(product.weight)
        if linear is not None and self.method is not None:
            rank = self.method.lora_rank or 0
            self._multiply(Cost(2 * linear.inputs * rank), left + 1)
            self._multiply(Cost(2 * rank * linear.outputs), 2)

    def _multiply(self, forward: Cost, gradients: int) -> None:
        """One matrix product, and as many of the same size in the backward pass."""
        if gradients:
            # A checkpoint replays up to the last product that keeps something for the backward
            # pass; that one itself is not run again, since what it needs is there by then.
            self.replay = self.forward
        self.forward += forward
        self.backward += forward * gradients

    def _needs(self, sources: frozenset[str]) -> bool:
        """Whether something that depends on these needs a gradient."""
        if INPUT in sources and self.input_gradient:
            return True
        return any(self._trains(x) or x in self.adapters for x in sources if x != INPUT)

    def _trains(self, parameter: str) -> bool:
        """Whether the method trains this parameter of the block."""
        if self.method is None or self.method.name == "lora":
            return False
        return self.method.name != "bias" or parameter.endswith(".bias")

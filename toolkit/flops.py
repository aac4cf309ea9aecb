"""FLOPs of one contrastive training step, from shapes alone, in three conventions.

*paper*: the study's convention, real tokens × (6N full; 2N + 4n freeze; 4N + 2n lora and bias).
*model*: what the method needs on real tokens, attention and loss included, nothing twice.
*hardware*: what is really executed: padding, cached gradients and checkpointing included.

The last equals what torch's FlopCounterMode counts, to the integer, with eager attention: matrix
products only, 2 FLOPs a multiply-add, attention over the full square. Only the table of angles that
rotary decoders of the hub make anew in each pass is left out: some hundred FLOP.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from toolkit.contrast.packing import CPU_CHUNK, StepPlan, plan_ahead
from toolkit.decoders.shapes import INPUT, Product, Shape
from toolkit.methods import Added, Method


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step in the three conventions (see the module)."""

    paper: int
    model: int
    hardware: int

    def __add__(self, other: StepFlops) -> StepFlops:
        return StepFlops(
            self.paper + other.paper, self.model + other.model, self.hardware + other.hardware
        )


CONVENTIONS = tuple(convention.name for convention in fields(StepFlops))


@dataclass(frozen=True)
class PassFlops:
    """FLOPs of a pass: of one token, of one pair of tokens within a text, and of each call."""

    token: int = 0
    square: int = 0
    call: int = 0

    def __add__(self, other: PassFlops) -> PassFlops:
        return PassFlops(
            self.token + other.token, self.square + other.square, self.call + other.call
        )

    def __mul__(self, times: int) -> PassFlops:
        return PassFlops(self.token * times, self.square * times, self.call * times)

    def of(self, tokens: int, squares: int, calls: int) -> int:
        return self.token * tokens + self.square * squares + self.call * calls


@dataclass(frozen=True)
class Passes:
    """What each pass over a decoder costs under a method.

    Attributes:
        embedding: The embedding's adapter, forward and backward, once a step on real tokens.
        once: Forward of the frozen blocks below the lowest trained one, run once a step whatever
            is recomputed.
        forward: Forward of the trained blocks.
        backward: Backward of the trained blocks.
        replay: What checkpointing runs again of the trained blocks.
    """

    embedding: PassFlops
    once: PassFlops
    forward: PassFlops
    backward: PassFlops
    replay: PassFlops

    @property
    def whole(self) -> PassFlops:
        """Forward and backward, but for the embedding's adapter."""
        return self.once + self.forward + self.backward


NOTHING = StepFlops(0, 0, 0)


def planned_flops(
    shape: Shape,
    method: Method,
    query_lengths: np.ndarray,
    positive_lengths: np.ndarray,
    negative_lengths: np.ndarray | None = None,
    *,
    packed: bool,
    dimensions: tuple[int, ...] = (),
    chunk_tokens: int | None = None,
    checkpointing: bool = False,
    usual: int = CPU_CHUNK,
) -> tuple[StepFlops, StepPlan]:
    """FLOPs of a step before anything is loaded, and the plan that they are of.

    Args:
        packed, chunk_tokens, checkpointing, usual: See `toolkit.contrast.packing.plan_ahead`.
        The others: See `step_flops`.
    """
    sides = [query_lengths, positive_lengths]
    sides += [] if negative_lengths is None else [negative_lengths]
    execution = plan_ahead(
        np.concatenate(sides),
        packed=packed,
        chunk_tokens=chunk_tokens,
        checkpointing=checkpointing,
        usual=usual,
    )
    flops = step_flops(
        shape,
        method,
        query_lengths,
        positive_lengths,
        execution,
        negative_lengths=negative_lengths,
        dimensions=dimensions,
    )
    return flops, execution


def step_flops(
    shape: Shape,
    method: Method,
    query_lengths: np.ndarray,
    positive_lengths: np.ndarray,
    execution: StepPlan,
    *,
    negative_lengths: np.ndarray | None = None,
    dimensions: tuple[int, ...] = (),
) -> StepFlops:
    """FLOPs of one step on these pairs, run as `execution` says.

    Args:
        shape: Of the decoder.
        method: From `toolkit.methods.resolve`.
        query_lengths, positive_lengths: Real tokens of each text; shape [pairs].
        execution: From `toolkit.contrast.packing.plan_step` on all lengths, queries first, then
            positives, then hard negatives.
        negative_lengths: Real tokens of each hard negative, if there are any.
        dimensions: Beside the whole width, that the loss is taken of (Matryoshka).
    """
    passes = pass_costs(shape, method)
    extra = np.zeros(0, np.int64) if negative_lengths is None else negative_lengths
    lengths = np.concatenate((query_lengths, positive_lengths, extra))
    real = _sums(lengths, lengths, 1)
    # Symmetric InfoNCE: one matrix of similarities serves both directions, forward and twice back.
    candidates = len(positive_lengths) + len(extra)
    loss = 6 * len(query_lengths) * candidates * (shape.hidden + sum(dimensions))
    once = passes.embedding.of(*real) + loss
    chunks = len(execution.recomputed)
    ran = _sums(execution.tokens, execution.windows, chunks)
    hardware = passes.whole.of(*ran) + once
    if execution.checkpointing:
        hardware += passes.replay.of(*ran)
    if execution.recomputed.any():
        again = np.repeat(execution.recomputed, np.diff(execution.chunks))
        twice = _sums(
            execution.tokens[again], execution.windows[again], int(execution.recomputed.sum())
        )
        hardware += passes.forward.of(*twice)
    return StepFlops(
        paper=real[0] * method.paper_flops_per_token(shape),
        model=passes.whole.of(*real) + once,
        hardware=hardware,
    )


def forward_flops(shape: Shape, lengths: np.ndarray, execution: StepPlan) -> StepFlops:
    """FLOPs of embedding texts with the untuned decoder.

    Args:
        shape: Of the decoder.
        lengths: Real tokens of each text.
        execution: From `toolkit.contrast.packing.plan_step` on these lengths.
    """
    untouched = _Block(shape, frozenset(), ((),) * len(shape.block), input_gradient=False)
    forward = untouched.forward * shape.layers
    real = _sums(lengths, lengths, 1)
    ran = _sums(execution.tokens, execution.windows, len(execution.recomputed))
    return StepFlops(2 * shape.params * real[0], forward.of(*real), forward.of(*ran))


def _sums(tokens: np.ndarray, windows: np.ndarray, calls: int) -> tuple[int, int, int]:
    """Tokens of these texts, query-key pairs within their windows, and calls."""
    wide = windows.astype(np.int64)
    return int(tokens.sum()), int(np.dot(wide, wide)), calls


@lru_cache(maxsize=256)
def pass_costs(shape: Shape, method: Method) -> Passes:
    """What each pass costs, block by block, with no gradient computed that nothing needs."""
    walked: dict[tuple, _Block] = {}
    needed = method.trains_before(shape)
    once = forward = backward = replay = PassFlops()
    for above in reversed(range(shape.layers)):
        trained = frozenset(name for name in _parameters(shape) if method.trains(name, above))
        added = tuple(method.adapter(linear, above) for linear in shape.block)
        alike = (trained, added, needed)
        block = walked.get(alike) or walked.setdefault(alike, _Block(shape, *alike))
        needed = needed or bool(trained) or any(added)
        if not needed:
            once += block.forward
            continue
        forward, backward = forward + block.forward, backward + block.backward
        replay += block.replay
    embedding = PassFlops()
    for product in method.embedding_adapter(shape):
        one = PassFlops(product.token, call=product.call)
        embedding += one + one * product.trained
    return Passes(embedding, once, forward, backward, replay)


@lru_cache(maxsize=256)
def _parameters(shape: Shape) -> frozenset[str]:
    """Names of a block's parameters, as far as they are told apart."""
    names = {x for product in shape.products for x in product.left | product.right}
    names |= {f"{linear.name}.weight" for linear in shape.block}
    names |= {f"{linear.name}.bias" for linear in shape.block if linear.bias}
    norm = {"norm.weight": shape.norm_weights, "norm.bias": shape.norm_biases}
    return frozenset(names | {name for name, size in norm.items() if size}) - {INPUT}


class _Block:
    """One block walked through in running order: which matrix products it does, forward and back.

    Args:
        shape: Of the decoder.
        trained: Names of the block's trained parameters.
        added: By linear layer, the products of its adapter.
        input_gradient: Whether the block's input needs a gradient.
    """

    def __init__(
        self,
        shape: Shape,
        trained: frozenset[str],
        added: tuple[tuple[Added, ...], ...],
        input_gradient: bool,
    ) -> None:
        self.adapters = {
            f"{linear.name}.weight": products
            for linear, products in zip(shape.block, added, strict=True)
            if products
        }
        self.sources = trained | set(self.adapters) | ({INPUT} if input_gradient else set())
        self.trained = trained
        self.forward = self.backward = self.replay = PassFlops()
        for product in shape.products:
            self._walk(product)
        if shape.keeps_last and self.backward != PassFlops():
            self.replay = self.forward

    def _walk(self, product: Product) -> None:
        """A product of the block, and those of an adapter on it."""
        left = self._needs(product.left)
        right = product.weight in self.trained if product.weight else self._needs(product.right)
        self._multiply(PassFlops(product.token, product.square), left + right)
        for added in self.adapters.get(product.weight, ()):
            operands = added.trained + (left and added.reads_input)
            self._multiply(PassFlops(added.token, call=added.call), operands, kept=added.kept)

    def _multiply(self, forward: PassFlops, gradients: int, *, kept: bool = False) -> None:
        """One matrix product, and as many of the same size in the backward pass."""
        if gradients:
            # A checkpoint replays up to the last product that keeps something for the backward
            # pass; that one itself is not run again, since what it needs is there by then.
            self.replay = self.forward
        self.forward += forward
        self.backward += forward * gradients
        if kept:
            self.replay = self.forward

    def _needs(self, sources: frozenset[str]) -> bool:
        """Whether something that depends on these needs a gradient."""
        return not self.sources.isdisjoint(sources)

"""What a decoder multiplies, seen rather than assumed: one forward pass on torch's meta device.

Nothing is computed there and nothing takes memory, but every operation is dispatched. So each
matrix product is met in running order, with its size and with the parameters that its operands
depend on: all that is needed to know which gradients a fine-tuning method will have to compute,
whatever the architecture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from toolkit.decoders.shapes import INPUT, Product
from toolkit.doors import DispatchMode, leaves

# Two lengths tell what of a product's cost grows with tokens from what grows with their square.
_LENGTHS = (8, 16)
# Operations for whose backward pass nothing is kept.
_KEEP_NOTHING = frozenset(
    {"add", "add_", "sub", "neg", "view", "_unsafe_view", "reshape", "transpose", "permute", "t"}
    | {"slice", "select", "clone", "expand", "unsqueeze", "squeeze", "detach"}
)


@dataclass(frozen=True)
class Trace:
    """One forward pass of a decoder.

    Attributes:
        blocks: The products of each block, in running order.
        outside: Parameters outside the blocks that multiply in a product of their own.
        before, after: Parameters outside the blocks used before the first and after the last.
        keeps_last: Whether the backward pass of a block needs something that runs after its last
            product (a norm behind the MLP), so that checkpointing replays that product too.
    """

    blocks: tuple[tuple[Product, ...], ...]
    outside: tuple[str, ...]
    before: frozenset[str]
    after: frozenset[str]
    keeps_last: bool


def trace(model: Any, blocks: Any) -> Trace:
    """Run a decoder that is on the meta device, and see.

    Raises:
        ValueError: What it does depends on more than the number of tokens.
        Exception: Whatever the architecture's own code raises.
    """
    try:  # a mask that is there already spares some architectures a look at values
        short, long = (_run(model, blocks, length, masked=True) for length in _LENGTHS)
    except Exception:  # others make their own of it, and fail in their own ways
        short, long = (_run(model, blocks, length, masked=False) for length in _LENGTHS)
    sizes = [len(found) for found in short.products]
    if sizes != [len(found) for found in long.products]:
        raise ValueError("how many products it does depends on the number of tokens")
    merged = tuple(
        tuple(_merged(a, b) for a, b in zip(one, other, strict=True))
        for one, other in zip(short.products, long.products, strict=True)
    )
    return Trace(
        blocks=merged[1:-1],
        outside=tuple(p.weight for p in (*merged[0], *merged[-1]) if p.weight),
        before=frozenset(short.used[0]),
        after=frozenset(short.used[-1]),
        keeps_last=short.keeps_last,
    )


def _merged(short: tuple[int, Product], long: tuple[int, Product]) -> Product:
    """The product with its cost told apart by token and by square of tokens."""
    (few, product), (many, other) = short, long
    tokens, twice = _LENGTHS
    square, rest = divmod(many - 2 * few, twice * twice - 2 * tokens * tokens)
    token, left = divmod(few - square * tokens * tokens, tokens)
    if rest or left or square < 0 or token < 0 or product != other:
        raise ValueError("a product's size is not in tokens and their squares")
    return Product(token, square, product.left, product.right, product.weight)


def _run(model: Any, blocks: Any, length: int, *, masked: bool) -> _Watch:
    watch = _Watch(model, blocks)
    width = model.get_input_embeddings().weight.shape[1]
    handles = [
        hook
        for number, block in enumerate(blocks)
        for hook in (
            block.register_forward_pre_hook(watch.enter(number), with_kwargs=True),
            block.register_forward_hook(watch.leave),
        )
    ]
    try:
        with torch.no_grad(), watch, torch.device("meta"):
            mask = {"attention_mask": torch.empty(1, 1, length, length)} if masked else {}
            model(inputs_embeds=torch.empty(1, length, width), use_cache=False, **mask)
    finally:
        for handle in handles:
            handle.remove()
    return watch


class _Watch(DispatchMode):
    """Follows which parameters each tensor depends on, and notes every product."""

    def __init__(self, model: Any, blocks: Any) -> None:
        super().__init__()
        self.place = 0  # 0 before the blocks, then the number of the block from 1, then the end
        self.products: list[list[tuple[int, Product]]] = [[] for _ in range(len(blocks) + 2)]
        self.used: list[set[str]] = [set() for _ in range(len(blocks) + 2)]
        self.keeps_last = False
        self.sources: dict[int, frozenset[str]] = {}
        self.alive: list[Tensor] = []  # an id means one tensor only while that lives
        for key, parameter in model.named_parameters():
            self._set(parameter, {key})
        for block in blocks:
            for key, parameter in block.named_parameters():
                self._set(parameter, {key})

    def _set(self, tensor: Tensor, sources: Iterable[str]) -> None:
        self.alive.append(tensor)
        self.sources[id(tensor)] = frozenset(sources)

    def enter(self, number: int) -> Any:
        """A hook that begins a block: its input depends on nothing but being its input."""

        def entering(module: Any, args: tuple, kwargs: dict) -> None:
            self.place = number + 1
            hidden = args[0] if args else kwargs["hidden_states"]
            self._set(hidden, {INPUT})

        return entering

    def leave(self, block: Any, args: Any, out: Any) -> None:
        """A hook that ends a block: what comes after it has sources of its own."""
        self.place = len(self.products) - 1
        self._set(out[0] if isinstance(out, tuple) else out, ())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read = [x for x in leaves((args, kwargs)) if isinstance(x, Tensor)]
        sources = frozenset().union(*(self._of(x) for x in read))
        for tensor in leaves(out):
            if isinstance(tensor, Tensor):
                self._set(tensor, sources)
        self.used[self.place] |= sources
        packet = func.overloadpacket
        if packet in flop_registry:
            flop = flop_registry[packet](*args, **kwargs, out_val=out)
            left, right = map(self._of, read[-2:])
            weight = next(iter(right)) if len(right) == 1 and INPUT not in right else ""
            self.products[self.place].append((flop, Product(0, 0, left, right, weight)))
        if 0 < self.place < len(self.products) - 1:
            self.keeps_last = packet not in flop_registry and (
                self.keeps_last or self._keeps(packet.__name__, read)
            )
        return out

    @staticmethod
    def _keeps(name: str, read: list[Tensor]) -> bool:
        by_number = name in ("mul", "mul_", "div", "div_") and len(read) < 2
        return name not in _KEEP_NOTHING and not by_number

    def _of(self, tensor: Tensor) -> frozenset[str]:
        return self.sources.get(id(tensor), frozenset())

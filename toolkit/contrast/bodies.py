"""Decoders as the contrastive step runs them: on a packed stream, frozen blocks apart from trained.

A body runs a decoder without its head in two parts: `prefix`, the blocks below the lowest trained
one, which never need a gradient, and `trunk`, the rest. `NeoxBody` runs GPT-NeoX (Pythia) with as
few passes over memory as there can be; `HubBody` runs any decoder that transformers knows through
its own code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from toolkit.contrast.attention import Layout, Rotary, attend, is_packed, lay_out
from toolkit.contrast.precision import BFLOAT16, FLOAT32, arithmetic, resolve, rounded_weights
from toolkit.decoders import architecture_key, find_blocks
from toolkit.doors import attending
from toolkit.errors import ToolkitError

# What transformers' registry calls our attention, causal or not.
PACKED = {True: "packed_causal", False: "packed_bidirectional"}
# Whether a packed stream is exact, as tried out in this process, by configuration and type.
_PACKS: dict[tuple[object, ...], bool] = {}


def body_of(model: PreTrainedModel, precision: str = "auto") -> Body:
    """The fastest body that runs this decoder exactly.

    Args:
        model: Decoder.
        precision: auto, float32 or bfloat16: of its products (`toolkit.contrast.precision`).
    """
    kind = NeoxBody if NeoxBody.runs(model) else HubBody
    return kind(model, precision)


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


class NeoxBody(Body):
    """GPT-NeoX, block by block, on two-dimensional states.

    What makes it faster than the model's own forward: queries, keys and values stay in one
    tensor; angles are looked up, not computed; residual and biases enter the last products
    as their start value, and so do a LoRA layer's outputs; no masks, no hooks.
    """

    def __init__(self, model: PreTrainedModel, precision: str = "auto") -> None:
        super().__init__(model, precision)
        self.heads = model.config.num_attention_heads
        self.rotary = self._rotary(256)

    @staticmethod
    def runs(model: Any) -> bool:
        """Whether this is GPT-NeoX as Pythia uses it."""
        return (
            type(model).__name__ == "GPTNeoXModel"
            and model.config.use_parallel_residual
            and model.rotary_emb.rope_type == "default"
        )

    def _angles(self, layout: Layout) -> Rotary:
        if layout.windows[-1].size > len(self.rotary.cos):
            self.rotary = self._rotary(2 * layout.windows[-1].size)
        packed = is_packed(self.like.device, self.product_dtype, self.width // self.heads)
        return self.rotary.at(layout.positions if packed else layout.places)

    def _rotary(self, positions: int) -> Rotary:
        every = torch.arange(positions, device=self.like.device)[None]
        with torch.no_grad():
            tables = self.model.rotary_emb(self.like, position_ids=every)
        cos, sin = (table[0, :, : table.shape[-1] // 2].contiguous() for table in tables)
        return Rotary(cos, sin)

    def _prefix(self, tokens: Tensor, layout: Layout) -> Tensor:
        rotary = self._angles(layout)
        for block in self.blocks[: self.first_trained]:
            tokens = self._block(block, tokens, layout, rotary)
        return tokens

    def _trunk(self, states: Tensor, layout: Layout, checkpointing: bool) -> Tensor:
        rotary = self._angles(layout)
        for block in self.blocks[self.first_trained :]:
            if checkpointing:
                states = checkpoint(self._block, block, states, layout, rotary, use_reentrant=False)
            else:
                states = self._block(block, states, layout, rotary)
        return self.model.final_layer_norm(states)

    def _block(self, block: Any, states: Tensor, layout: Layout, rotary: Rotary) -> Tensor:
        """x + dense(attention(norm(x))) + mlp(norm'(x)): the parallel residual."""
        attention, mlp = block.attention, block.mlp
        mixed = _linear(attention.query_key_value, block.input_layernorm(states))
        mixed = attend(mixed, layout, self.heads, attention.scaling, rotary, causal=self.causal)
        biases = [x.bias for x in (attention.dense, mlp.dense_4h_to_h) if x.bias is not None]
        total = states + sum(biases) if biases else states
        total = _add_linear(total, attention.dense, mixed)
        wide = mlp.act(_linear(mlp.dense_h_to_4h, block.post_attention_layernorm(states)))
        return _add_linear(total, mlp.dense_4h_to_h, wide)


def _linear(layer: Any, states: Tensor) -> Tensor:
    """A linear layer, with its LoRA adapter if it has one."""
    if getattr(layer, "lora_variant", None):  # More than a product is added: peft knows what.
        return layer(states)
    return _add_adapter(F.linear(states, layer.weight, layer.bias), layer, states)


def _add_linear(total: Tensor, layer: Any, states: Tensor) -> Tensor:
    """`total` plus a linear layer without its bias."""
    if getattr(layer, "lora_variant", None):
        return total + (layer(states) - (0 if layer.bias is None else layer.bias))
    return _add_adapter(_add_product(total, states, layer.weight), layer, states)


def _add_adapter(total: Tensor, layer: Any, states: Tensor) -> Tensor:
    if not hasattr(layer, "lora_A"):
        return total
    for name in layer.active_adapters:
        low = F.linear(states, layer.lora_A[name].weight)
        total = _add_product(total, low, layer.lora_B[name].weight, layer.scaling[name])
    return total


def _add_product(total: Tensor, states: Tensor, weight: Tensor, scale: float = 1.0) -> Tensor:
    """`total` plus a product, which starts from it unless it is rounded and `total` is not."""
    if weight.dtype == total.dtype:
        return torch.addmm(total, states, weight.T, alpha=scale)
    # Added in one type: to add tensors of two is four times as slow on a CPU.
    return torch.add(total, F.linear(states, weight).to(total.dtype), alpha=scale)


class HubBody(Body):
    """Any decoder of transformers, through its own forward pass.

    It gets the packed stream as one text with positions that start anew, and attention by way of
    transformers' registry. Whether that is exact for a configuration is tried out once, on two
    short texts; where it is not, the texts of a chunk are padded on the right instead, which
    causal attention does not see, and bidirectional attention is told to pass over.
    """

    def __init__(self, model: PreTrainedModel, precision: str = "auto") -> None:
        super().__init__(model, precision)
        key = *architecture_key(model.config), self.like.dtype, self.like.device.type
        if key not in _PACKS:
            precision, self.precision = self.precision, FLOAT32  # rounding would hide a difference
            _PACKS[key] = self._packs()
            self.precision = precision
        self.packed = _PACKS[key]

    @torch.no_grad()
    def _packs(self) -> bool:
        ids = np.arange(14) % self.embedding.weight.shape[0]
        try:
            together = self._try(ids, [5, 9])
            self.packed = False
            alone = torch.cat([self._try(ids[:5], [5]), self._try(ids[5:], [9])])
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError):
            return False
        return torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()))

    def _try(self, ids: np.ndarray, lengths: list[int]) -> Tensor:
        sizes = np.full(len(lengths), 16 if self.packed else max(lengths))
        layout = lay_out(ids, np.array(lengths), sizes, self.like)
        with self.ready():
            return self.trunk(self.prefix(self.embedding(layout.ids), layout), layout)

    @contextmanager
    def ready(self) -> Iterator[None]:
        training = self.model.training
        self.model.eval()  # dropout would make a recomputed chunk another one
        packed = attending(self.model, PACKED[self.causal]) if self.packed else nullcontext()
        try:
            with packed, super().ready():
                yield
        finally:
            self.model.train(training)

    def _prefix(self, tokens: Tensor, layout: Layout) -> Any:
        caught: list[Any] = []
        last = self.blocks[self.first_trained - 1]
        with _forward_as(last, _stopping(last.forward, caught)), suppress(_Stop):
            self._forward(self._rectangle(tokens, layout), layout)
        return caught[0]

    def _trunk(self, states: Any, layout: Layout, checkpointing: bool) -> Tensor:
        with ExitStack() as stack:
            for block in self.blocks[: self.first_trained]:
                stack.enter_context(_forward_as(block, lambda *_, **__: states))
            if checkpointing:
                for block in self.blocks[self.first_trained :]:
                    stack.enter_context(_forward_as(block, _checkpointed(block.forward)))
            if not self.first_trained:
                states = self._rectangle(states, layout)
            inputs = states if isinstance(states, Tensor) else states[0]
            hidden = self._forward(inputs, layout)
        return hidden[0] if self.packed else hidden.flatten(0, 1)[layout.tokens]

    def _rectangle(self, tokens: Tensor, layout: Layout) -> Tensor:
        """The stream as one long text, or its texts padded to rows of one length."""
        if self.packed:
            return tokens[None]
        (window,) = layout.windows
        return tokens[layout.slots].view(window.texts, window.size, -1)

    def _forward(self, tokens: Tensor, layout: Layout) -> Tensor:
        if not self.packed:
            (window,) = layout.windows
            mask = None if self.causal else layout.real_keys(window).long()
            return self.model(
                inputs_embeds=tokens, attention_mask=mask, use_cache=False
            ).last_hidden_state
        return self.model(
            inputs_embeds=tokens,
            position_ids=layout.positions[None],
            use_cache=False,
            packed_layout=layout,
        ).last_hidden_state


class _Stop(Exception):
    """Ends a forward pass whose rest nobody needs."""


@contextmanager
def _forward_as(module: nn.Module, forward: Callable) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _stopping(forward: Callable, caught: list[Any]) -> Callable:
    def stopping(*args: Any, **kwargs: Any) -> None:
        caught.append(forward(*args, **kwargs))  # some blocks give a tuple or list: keep it
        raise _Stop

    return stopping


def _checkpointed(forward: Callable) -> Callable:
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return checkpointed


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    causal: bool,
    packed_layout: Layout,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: [1, heads, tokens, size] → [1, tokens, heads, size].

    Raises:
        NotImplementedError: The architecture asks for more than plain attention.
        ToolkitError: A text is longer than the architecture's sliding window.
    """
    if softcap is not None or s_aux is not None or attention_mask is not None:
        raise NotImplementedError("attention with soft caps, sinks or a mask of its own")
    longest = packed_layout.windows[-1].size
    if sliding_window is not None and longest > sliding_window:
        raise ToolkitError(
            f"texts of {longest} tokens are longer than the decoder's attention window of "
            f"{sliding_window}; set max_tokens to at most that"
        )
    heads, size = query.shape[1], query.shape[-1]
    # Norms and rotary angles may have left some of them in float32: `value` is as products are.
    query, key = query.to(value.dtype), key.to(value.dtype)
    key, value = (x.repeat_interleave(heads // x.shape[1], 1) for x in (key, value))
    mixed = torch.stack((query[0], key[0], value[0]), 2).transpose(0, 1).flatten(1)
    out = attend(mixed, packed_layout, heads, scaling or size**-0.5, causal=causal)
    return out.view(1, -1, heads, size), None


for _causal, _name in PACKED.items():
    ALL_ATTENTION_FUNCTIONS.register(_name, partial(_packed_attention, causal=_causal))

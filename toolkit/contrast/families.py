"""Families of decoders that are run block by block, on two-dimensional states.

What makes this faster than a model's own forward: queries, keys and values stay in one tensor;
angles are looked up, not computed; residual and biases enter the last products as their start
value, and so do a LoRA layer's outputs; norms have their backward pass written out; no masks, no
hooks.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from toolkit.contrast.attention import Layout, Rotary, attend, is_packed
from toolkit.contrast.body import Body


class FamilyBody(Body):
    """Blocks one after the other, with rotary angles looked up in a table that grows."""

    def __init__(self, model: PreTrainedModel, precision: str = "auto") -> None:
        super().__init__(model, precision)
        config = model.config
        self.heads: int = config.num_attention_heads
        self.head_size: int = getattr(config, "head_dim", None) or self.width // self.heads
        self.rotary = self._rotary(256)

    @staticmethod
    @abstractmethod
    def runs(model: Any) -> bool:
        """Whether this is a decoder of the family, in a form that is run exactly."""

    @abstractmethod
    def _block(self, block: Any, states: Tensor, layout: Layout, rotary: Rotary) -> Tensor:
        """One block: states to states, shape [tokens, hidden]."""

    @abstractmethod
    def _last(self, states: Tensor) -> Tensor:
        """The final norm."""

    def _angles(self, layout: Layout) -> Rotary:
        if layout.windows[-1].size > len(self.rotary.cos):
            self.rotary = self._rotary(2 * layout.windows[-1].size)
        packed = is_packed(self.like.device, self.product_dtype, self.head_size)
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
        return self._last(states)


class NeoxBody(FamilyBody):
    """GPT-NeoX as Pythia uses it, with its parallel residual."""

    @staticmethod
    def runs(model: Any) -> bool:
        return (
            type(model).__name__ == "GPTNeoXModel"
            and model.config.use_parallel_residual
            and model.rotary_emb.rope_type == "default"
        )

    def _block(self, block: Any, states: Tensor, layout: Layout, rotary: Rotary) -> Tensor:
        """x + dense(attention(norm(x))) + mlp(norm'(x))."""
        attention, mlp = block.attention, block.mlp
        mixed = _linear(attention.query_key_value, block.input_layernorm(states))
        mixed = attend(mixed, layout, self.heads, attention.scaling, rotary, causal=self.causal)
        total = _add_biases(states, attention.dense, mlp.dense_4h_to_h)
        total = _add_linear(total, attention.dense, mixed)
        wide = mlp.act(_linear(mlp.dense_h_to_4h, block.post_attention_layernorm(states)))
        return _add_linear(total, mlp.dense_4h_to_h, wide)

    def _last(self, states: Tensor) -> Tensor:
        return self.model.final_layer_norm(states)


class LlamaBody(FamilyBody):
    """Llama, and Mistral and Qwen2 where every token sees its whole text."""

    @staticmethod
    def runs(model: Any) -> bool:
        if type(model).__name__ not in ("LlamaModel", "MistralModel", "Qwen2Model"):
            return False
        kinds = getattr(model.config, "layer_types", None) or ()
        window = None if kinds else getattr(model.config, "sliding_window", None)
        # Kinds whose angles do not depend on how long a text is.
        still = model.rotary_emb.rope_type in ("default", "linear", "llama3")
        return still and window is None and set(kinds) <= {"full_attention"}

    def _block(self, block: Any, states: Tensor, layout: Layout, rotary: Rotary) -> Tensor:
        """y = x + o(attention(norm(x))), then y + down(act(gate(norm'(y))) · up(norm'(y)))."""
        attention, mlp = block.self_attn, block.mlp
        normed = self._norm(block.input_layernorm, states)
        mixed = self._mixed(attention, normed)
        mixed = attend(mixed, layout, self.heads, attention.scaling, rotary, causal=self.causal)
        states = _add_linear(_add_biases(states, attention.o_proj), attention.o_proj, mixed)
        normed = self._norm(block.post_attention_layernorm, states)
        wide = mlp.act_fn(_linear(mlp.gate_proj, normed)) * _linear(mlp.up_proj, normed)
        return _add_linear(_add_biases(states, mlp.down_proj), mlp.down_proj, wide)

    def _mixed(self, attention: Any, states: Tensor) -> Tensor:
        """Queries, keys and values head by head, a key and its value once for each of its heads."""
        layers = attention.q_proj, attention.k_proj, attention.v_proj
        parts = [_linear(layer, states).unflatten(1, (-1, self.head_size)) for layer in layers]
        repeated = [
            part[:, :, None].expand(-1, -1, self.heads // part.shape[1], -1).flatten(1, 2)
            for part in parts
        ]
        return torch.stack(repeated, 2).flatten(1)

    def _last(self, states: Tensor) -> Tensor:
        return RmsNorm.apply(states, self.model.norm.weight, self.model.norm.variance_epsilon)

    def _norm(self, norm: Any, states: Tensor) -> Tensor:
        """A norm, rounded once for all products that take it."""
        return RmsNorm.apply(states, norm.weight, norm.variance_epsilon).to(self.product_dtype)


class RmsNorm(torch.autograd.Function):
    """x / √(mean(x²) + ε) · weight (Zhang and Sennrich 2019), summed in float32 at least.

    torch has no kernel of its own for it on a CPU: what its autograd makes of the formula takes
    five times as long as LayerNorm's kernel, this twice.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Shapes [tokens, hidden] and [hidden] to [tokens, hidden]."""
        exact = states.to(torch.promote_types(states.dtype, torch.float32))
        squares = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square_()
        inverse = squares.div_(exact.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(exact, inverse, weight)
        return (exact * inverse).mul_(weight).to(states.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,), (states, inverse, weight) = gradients, ctx.saved_tensors
        scaled = gradient * weight
        inner = torch.linalg.vecdot(scaled, states)[:, None]
        flow = scaled.mul_(inverse).addcmul_(states, inner * inverse**3 / -states.shape[-1])
        own = None
        if ctx.needs_input_grad[1]:
            own = (states * inverse).mul_(gradient).sum(0)
        return flow.to(gradient.dtype), own, None


def _linear(layer: Any, states: Tensor) -> Tensor:
    """A linear layer, with its LoRA adapter if it has one."""
    if getattr(layer, "lora_variant", None):  # More than a product is added: peft knows what.
        return layer(states)
    return _add_adapter(F.linear(states, layer.weight, layer.bias), layer, states)


def _add_biases(total: Tensor, *layers: Any) -> Tensor:
    """`total` plus the biases that these layers have."""
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return total + sum(biases) if biases else total


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

"""A decoder's shape: all that its cost depends on, without any weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Linear:
    """One linear layer of a block: `inputs` → `outputs` features, with or without a bias."""

    name: str
    inputs: int
    outputs: int
    bias: bool = True

    @property
    def params(self) -> int:
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Shape:
    """What a decoder's cost depends on; every count follows from it.

    Attributes:
        vocabulary: Rows of the embedding matrix.
        hidden: Width of the residual stream.
        layers: Number of transformer blocks.
        heads: Attention heads of a block.
        head_size: Width of one head; `heads * head_size` is the attention width.
        block: The linear layers of one block, in the order in which they run.
        norm_weights, norm_biases: Normalisation parameters of one block.
        final_norm_weights, final_norm_biases: Those of the norm after the last block.
        embedding: Name of the input embedding's module.
        parallel_residual: Whether attention and MLP of a block read the same input (GPT-NeoX),
            or the MLP reads what attention has added to (Llama).
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    head_size: int
    block: tuple[Linear, ...]
    norm_weights: int
    norm_biases: int
    final_norm_weights: int
    final_norm_biases: int
    embedding: str = "embed_in"
    parallel_residual: bool = False

    @property
    def attention_width(self) -> int:
        return self.heads * self.head_size

    @property
    def block_params(self) -> int:
        linears = sum(linear.params for linear in self.block)
        return linears + self.norm_weights + self.norm_biases

    @property
    def params(self) -> int:
        """Non-embedding parameters of the encoder: for GPT-NeoX L(12h² + 13h) + 2h."""
        final = self.final_norm_weights + self.final_norm_biases
        return self.layers * self.block_params + final

    @property
    def encoder_params(self) -> int:
        """All parameters of the encoder: the decoder without its language-model head."""
        return self.params + self.vocabulary * self.hidden

    @property
    def biases(self) -> int:
        """Bias parameters of the encoder, of linears and norms: what bias tuning trains."""
        block = sum(linear.outputs for linear in self.block if linear.bias) + self.norm_biases
        return self.layers * block + self.final_norm_biases


def neox_shape(*, vocabulary: int, hidden: int, layers: int, heads: int) -> Shape:
    """The shape of a GPT-NeoX decoder (Pythia's architecture), intermediate width 4 × hidden."""
    h = hidden
    return Shape(
        vocabulary=vocabulary,
        hidden=h,
        layers=layers,
        heads=heads,
        head_size=h // heads,
        block=(
            Linear("attention.query_key_value", h, 3 * h),
            Linear("attention.dense", h, h),
            Linear("mlp.dense_h_to_4h", h, 4 * h),
            Linear("mlp.dense_4h_to_h", 4 * h, h),
        ),
        norm_weights=2 * h,
        norm_biases=2 * h,
        final_norm_weights=h,
        final_norm_biases=h,
        parallel_residual=True,
    )


def llama_shape(
    *,
    vocabulary: int,
    hidden: int,
    layers: int,
    heads: int,
    key_value_heads: int,
    intermediate: int,
) -> Shape:
    """The shape of a Llama decoder: grouped queries, a gated MLP, no biases, norms of weights."""
    h, size = hidden, hidden // heads
    return Shape(
        vocabulary=vocabulary,
        hidden=h,
        layers=layers,
        heads=heads,
        head_size=size,
        block=(
            Linear("self_attn.q_proj", h, h, bias=False),
            Linear("self_attn.k_proj", h, key_value_heads * size, bias=False),
            Linear("self_attn.v_proj", h, key_value_heads * size, bias=False),
            Linear("self_attn.o_proj", h, h, bias=False),
            Linear("mlp.gate_proj", h, intermediate, bias=False),
            Linear("mlp.up_proj", h, intermediate, bias=False),
            Linear("mlp.down_proj", intermediate, h, bias=False),
        ),
        norm_weights=2 * h,
        norm_biases=0,
        final_norm_weights=h,
        final_norm_biases=0,
        embedding="embed_tokens",
    )

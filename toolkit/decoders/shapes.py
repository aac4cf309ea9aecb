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


INPUT = "input"


@dataclass(frozen=True)
class Product:
    """One matrix product of a block, and what its two operands depend on.

    Attributes:
        token, square: Forward FLOPs for each token, and for each pair of tokens within a text.
        left, right: Parameters of the block (and `INPUT`, its input) that each operand depends on:
            an operand needs a gradient where one of them does.
        weight: The parameter that is the right operand itself, if it is one.
    """

    token: int
    square: int
    left: frozenset[str]
    right: frozenset[str]
    weight: str = ""


@dataclass(frozen=True)
class Shape:
    """What a decoder's cost depends on; every count follows from it.

    Attributes:
        vocabulary: Rows of the embedding matrix.
        hidden: Width of the residual stream.
        layers: Number of transformer blocks, all alike.
        heads: Attention heads of a block.
        block: The linear layers of one block.
        products: Its matrix products, in the order in which they run.
        norm_weights, norm_biases: Parameters of one block outside its linear layers.
        final_norm_weights, final_norm_biases: Those of the norm after the last block.
        first_norm_weights, first_norm_biases: Those of one before the first block (Bloom's).
        embedding: Name of the input embedding's module.
        keeps_last: Whether the backward pass of a block needs something that runs after its last
            product: a norm behind the MLP.
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    block: tuple[Linear, ...]
    products: tuple[Product, ...]
    norm_weights: int
    norm_biases: int
    final_norm_weights: int
    final_norm_biases: int
    first_norm_weights: int = 0
    first_norm_biases: int = 0
    embedding: str = "embed_in"
    keeps_last: bool = False

    @property
    def block_params(self) -> int:
        linears = sum(linear.params for linear in self.block)
        return linears + self.norm_weights + self.norm_biases

    @property
    def final_params(self) -> int:
        """Of the norm after the last block."""
        return self.final_norm_weights + self.final_norm_biases

    @property
    def params(self) -> int:
        """Non-embedding parameters of the encoder: for GPT-NeoX L(12h² + 13h) + 2h."""
        first = self.first_norm_weights + self.first_norm_biases
        return first + self.layers * self.block_params + self.final_params

    @property
    def encoder_params(self) -> int:
        """All parameters of the encoder: the decoder without its language-model head."""
        return self.params + self.vocabulary * self.hidden

    @property
    def biases(self) -> int:
        """Bias parameters of the encoder, of linears and norms: what bias tuning trains."""
        block = sum(linear.outputs for linear in self.block if linear.bias) + self.norm_biases
        return self.first_norm_biases + self.layers * block + self.final_norm_biases


class _Walk:
    """A block described in the order in which it runs; keeps its linears and its products.

    What an operand depends on is passed on from call to call, as the block itself would pass
    tensors.
    """

    def __init__(self) -> None:
        self.linears: list[Linear] = []
        self.products: list[Product] = []

    def linear(
        self, name: str, inputs: int, outputs: int, of: frozenset[str], *, bias: bool
    ) -> frozenset[str]:
        self.linears.append(Linear(name, inputs, outputs, bias))
        weight = f"{name}.weight"
        self.products.append(Product(2 * inputs * outputs, 0, of, frozenset({weight}), weight))
        return of | {weight} | ({f"{name}.bias"} if bias else set())

    def attention(
        self, width: int, query: frozenset[str], key: frozenset[str], value: frozenset[str]
    ) -> frozenset[str]:
        self.products.append(Product(0, 2 * width, query, key))
        self.products.append(Product(0, 2 * width, query | key, value))
        return query | key | value


def neox_shape(*, vocabulary: int, hidden: int, layers: int, heads: int) -> Shape:
    """The shape of a GPT-NeoX decoder (Pythia's architecture), intermediate width 4 × hidden.

    Attention and MLP read the same input: the residual is parallel.
    """
    h, walk = hidden, _Walk()
    norms = [
        frozenset({INPUT, f"{name}.weight", f"{name}.bias"})
        for name in ("input_layernorm", "post_attention_layernorm")
    ]
    mixed = walk.linear("attention.query_key_value", h, 3 * h, norms[0], bias=True)
    mixed = walk.attention(h, mixed, mixed, mixed)
    walk.linear("attention.dense", h, h, mixed, bias=True)
    wide = walk.linear("mlp.dense_h_to_4h", h, 4 * h, norms[1], bias=True)
    walk.linear("mlp.dense_4h_to_h", 4 * h, h, wide, bias=True)
    return Shape(
        vocabulary=vocabulary,
        hidden=h,
        layers=layers,
        heads=heads,
        block=tuple(walk.linears),
        products=tuple(walk.products),
        norm_weights=2 * h,
        norm_biases=2 * h,
        final_norm_weights=h,
        final_norm_biases=h,
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
    h, narrow, walk = hidden, hidden // heads * key_value_heads, _Walk()
    normed = frozenset({INPUT, "input_layernorm.weight"})
    query = walk.linear("self_attn.q_proj", h, h, normed, bias=False)
    key = walk.linear("self_attn.k_proj", h, narrow, normed, bias=False)
    value = walk.linear("self_attn.v_proj", h, narrow, normed, bias=False)
    mixed = walk.attention(h, query, key, value)
    added = walk.linear("self_attn.o_proj", h, h, mixed, bias=False)
    normed = added | {"post_attention_layernorm.weight"}
    gate = walk.linear("mlp.gate_proj", h, intermediate, normed, bias=False)
    up = walk.linear("mlp.up_proj", h, intermediate, normed, bias=False)
    walk.linear("mlp.down_proj", intermediate, h, gate | up, bias=False)
    return Shape(
        vocabulary=vocabulary,
        hidden=h,
        layers=layers,
        heads=heads,
        block=tuple(walk.linears),
        products=tuple(walk.products),
        norm_weights=2 * h,
        norm_biases=0,
        final_norm_weights=h,
        final_norm_biases=0,
        embedding="embed_tokens",
    )

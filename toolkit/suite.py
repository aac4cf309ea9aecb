"""Decoders: their shapes, parameter counts and where their weights come from.

A `Shape` is all that FLOP accounting and planning need, so the Pythia names work without any
download; `load` brings the weights themselves, from a hub, a folder or the small suite that ships
under `runs/suite/`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SUITE_FOLDER = Path(__file__).resolve().parent.parent / "runs" / "suite"


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


@dataclass(frozen=True)
class Decoder:
    """A decoder by name: its shape, where its weights are, and how it was pre-trained.

    Attributes:
        name: What people call it: `pythia-70m`, `small-38k`, or the given folder or hub name.
        shape: See `Shape`.
        source: Hub name or folder that `load` reads the weights from.
        pretraining_lr: Peak learning rate of its pre-training, where that is known.
    """

    name: str
    shape: Shape
    source: str
    pretraining_lr: float | None = None

    @property
    def params(self) -> int:
        """Non-embedding parameters."""
        return self.shape.params


def _pythia(
    name: str, layers: int, hidden: int, heads: int, lr: float, vocabulary: int = 50_304
) -> Decoder:
    shape = neox_shape(vocabulary=vocabulary, hidden=hidden, layers=layers, heads=heads)
    return Decoder(f"pythia-{name}", shape, f"EleutherAI/pythia-{name}", lr)


# Biderman et al. 2023, README and configurations of EleutherAI/pythia.
PYTHIA: dict[str, Decoder] = {
    decoder.name: decoder
    for decoder in (
        _pythia("14m", 6, 128, 4, 1e-3),
        _pythia("31m", 6, 256, 8, 1e-3),
        _pythia("70m", 6, 512, 8, 1e-3),
        _pythia("160m", 12, 768, 12, 6e-4),
        _pythia("410m", 24, 1024, 16, 3e-4),
        _pythia("1b", 16, 2048, 8, 3e-4),
        _pythia("1.4b", 24, 2048, 16, 2e-4),
        _pythia("2.8b", 32, 2560, 32, 1.6e-4),
        _pythia("6.9b", 32, 4096, 32, 1.2e-4, 50_432),
        _pythia("12b", 36, 5120, 40, 1.2e-4, 50_688),
    )
}

SMALL_VOCABULARY = 4096


def _small(name: str, layers: int, hidden: int, heads: int, lr: float) -> Decoder:
    shape = neox_shape(vocabulary=SMALL_VOCABULARY, hidden=hidden, layers=layers, heads=heads)
    return Decoder(f"small-{name}", shape, str(SUITE_FOLDER / f"small-{name}"), lr)


# Pythia's shape rules, 2.0 to 2.8 times apart in non-embedding parameters; small-1.2m has the
# very shape of pythia-14m apart from its vocabulary.
SMALL: dict[str, Decoder] = {
    decoder.name: decoder
    for decoder in (
        _small("3k", 1, 16, 2, 1e-2),
        _small("7k", 2, 16, 2, 1e-2),
        _small("15k", 2, 24, 3, 1e-2),
        _small("38k", 3, 32, 4, 8e-3),
        _small("85k", 3, 48, 6, 6e-3),
        _small("200k", 4, 64, 8, 4e-3),
        _small("559k", 5, 96, 6, 3e-3),
        _small("1.2m", 6, 128, 4, 2e-3),
        _small("2.7m", 6, 192, 6, 1.5e-3),
    )
}

KNOWN: dict[str, Decoder] = {**SMALL, **PYTHIA}


def find(name: str) -> Decoder:
    """The decoder called `name`: one of the small suite, a Pythia, a local folder or a hub name.

    Only the configuration is read for a folder or a hub name (`owner/name`).

    Raises:
        ToolkitError: The name is unknown (nearest names are offered) or its configuration is
            not that of a causal decoder.
    """
    if name in KNOWN:
        return KNOWN[name]
    official = name.removeprefix("EleutherAI/")
    if official in PYTHIA:
        return PYTHIA[official]
    if Path(name).is_dir():
        return Decoder(name, config_shape(_read_config(name), name), name)
    if "/" in name and not name.startswith((".", "/")):
        return Decoder(name, config_shape(_read_config(name), name), name)
    raise ToolkitError(f"unknown decoder {name!r}{nearest(name, list(KNOWN))}")


def is_known(name: str) -> bool:
    """Whether it is the small suite's or Pythia's name, for which nothing has to be read."""
    return name in KNOWN or name.removeprefix("EleutherAI/") in PYTHIA


def _read_config(source: str) -> Any:
    from transformers import AutoConfig

    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise ToolkitError(f"decoder folder {source} has no config.json; is it a saved model?")
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ToolkitError(
            f"cannot read the configuration of decoder {source!r}: {error}"
        ) from error


def config_shape(config: Any, name: str) -> Shape:
    """The shape of any causal decoder that transformers knows, from its configuration alone.

    The model is built without memory (meta device) and its first block's linears are listed.

    Raises:
        ToolkitError: The model has no list of uniform blocks.
    """
    import torch
    from transformers import AutoModel

    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False)
    blocks = find_blocks(model, name)
    block_linears, block_norms = _split_parameters(blocks[0])
    inside = {id(parameter) for parameter in blocks.parameters()}
    embedding = model.get_input_embeddings()
    final = [
        (key, parameter)
        for key, parameter in model.named_parameters()
        if id(parameter) not in inside and parameter.dim() == 1
    ]
    heads = config.num_attention_heads
    return Shape(
        vocabulary=embedding.weight.shape[0],
        hidden=embedding.weight.shape[1],
        layers=len(blocks),
        heads=heads,
        head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
        block=tuple(block_linears),
        norm_weights=sum(p.numel() for key, p in block_norms if not key.endswith("bias")),
        norm_biases=sum(p.numel() for key, p in block_norms if key.endswith("bias")),
        final_norm_weights=sum(p.numel() for key, p in final if not key.endswith("bias")),
        final_norm_biases=sum(p.numel() for key, p in final if key.endswith("bias")),
        embedding=next(
            key.rsplit(".", 1)[-1] for key, module in model.named_modules() if module is embedding
        ),
        parallel_residual=_parallel_residual(config),
    )


def _parallel_residual(config: Any) -> bool:
    named = getattr(config, "use_parallel_residual", getattr(config, "parallel_attn", None))
    return config.model_type in ("gptj", "phi", "cohere") if named is None else bool(named)


def find_blocks(model: Any, name: str) -> Any:
    """The `ModuleList` of transformer blocks of a loaded decoder.

    Raises:
        ToolkitError: There is none whose length is the number of layers.
    """
    from torch.nn import ModuleList

    for _, module in model.named_modules():
        if isinstance(module, ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise ToolkitError(f"decoder {name!r} has no list of transformer blocks; give a causal decoder")


def _split_parameters(block: Any) -> tuple[list[Linear], list[tuple[str, Any]]]:
    """The linears of a block in order, and its remaining (norm) parameters by name."""
    from torch.nn import Linear as TorchLinear
    from transformers.pytorch_utils import Conv1D

    linears: list[Linear] = []
    covered: set[str] = set()
    for key, module in block.named_modules():
        if isinstance(module, TorchLinear):
            inputs, outputs = module.in_features, module.out_features
        elif isinstance(module, Conv1D):
            inputs, outputs = module.nx, module.nf
        else:
            continue
        linears.append(Linear(key, inputs, outputs, module.bias is not None))
        covered.update(f"{key}.{part}" for part in ("weight", "bias"))
    return linears, [(key, p) for key, p in block.named_parameters() if key not in covered]


def load(decoder: Decoder, *, attention: str = "sdpa") -> PreTrainedModel:
    """The decoder's weights in float32, without its language-model head, from safetensors only.

    Args:
        decoder: From `find`.
        attention: Name of the attention implementation, as transformers knows it.

    Raises:
        ToolkitError: The weights are missing, damaged or not in safetensors format.
    """
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar for every load would drown a notebook's own
    folder = Path(decoder.source)
    if decoder.name in SMALL and not (folder / "model.safetensors").is_file():
        raise ToolkitError(
            f"{decoder.name} has no weights under {folder}; "
            "restore runs/suite from the repository or run `make suite`"
        )
    try:
        return AutoModel.from_pretrained(
            decoder.source,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
        )
    except Exception as error:  # safetensors and the hub raise many types; all mean the same here
        raise ToolkitError(f"cannot load decoder {decoder.name!r}: {error}") from error


def load_tokenizer(decoder: Decoder) -> PreTrainedTokenizerBase:
    """The decoder's own tokenizer; the small suite shares one.

    Raises:
        ToolkitError: There is none at the decoder's source.
    """
    from transformers import AutoTokenizer

    source = str(SUITE_FOLDER / "tokenizer") if decoder.name in SMALL else decoder.source
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise ToolkitError(f"cannot load the tokenizer of {decoder.name!r}: {error}") from error


def suite_records() -> list[dict[str, Any]]:
    """How each small decoder was pre-trained: tokens seen, loss, seconds (`record.json`)."""
    paths = (Path(decoder.source) / "record.json" for decoder in SMALL.values())
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]

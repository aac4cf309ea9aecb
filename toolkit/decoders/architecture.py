"""What an architecture of transformers is made of, from its configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.decoders.shapes import Linear, Shape
from toolkit.errors import SurroundingsError, ToolkitError


def read_config(source: str) -> Any:
    from transformers import AutoConfig

    if Path(source).is_dir() and not (Path(source) / "config.json").is_file():
        raise SurroundingsError(f"decoder folder {source} has no config.json; is it a saved model?")
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        kind = SurroundingsError if isinstance(error, OSError) else ToolkitError
        raise kind(f"cannot read the configuration of decoder {source!r}: {error}") from error


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

"""What an architecture of transformers is made of, from its configuration alone."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.decoders.shapes import Linear, Shape
from toolkit.errors import SurroundingsError, ToolkitError

if TYPE_CHECKING:
    from toolkit.decoders.tracing import Trace


def read_config(source: str) -> Any:
    """The configuration of a folder or hub name, read by transformers; no code is run.

    Raises:
        ToolkitError: There is none, it is not one that transformers knows, or the folder holds an
            adapter and no model.
    """
    from transformers import AutoConfig

    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise ToolkitError(
                f"{source} is an adapter{_adapted(folder)}, not a decoder: merge it first "
                "(peft: AutoPeftModel.from_pretrained(...).merge_and_unload().save_pretrained(...))"
            )
        raise SurroundingsError(f"decoder folder {source} has no config.json; is it a saved model?")
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # each architecture checks its configuration its own way
        kind = SurroundingsError if isinstance(error, OSError) else ToolkitError
        raise kind(f"cannot read the configuration of decoder {source!r}: {error}") from error


def _adapted(folder: Path) -> str:
    """Of which model the adapter is, where its file says so."""
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return f" of {base['base_model_name_or_path']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


# Shapes seen by this process, by configuration: a plan asks for the same one for each of its runs.
_SEEN: dict[tuple[type, str], Shape] = {}
# Of the same, the parameters used after the last block.
_AFTER: dict[tuple[type, str], frozenset[str]] = {}


def config_shape(config: Any, name: str) -> Shape:
    """The shape of any causal decoder that transformers knows, from its configuration alone.

    The model is built and run without memory (meta device), and what it does is counted.

    Raises:
        ToolkitError: It is no causal decoder, or one that cannot be counted exactly; says why.
    """
    key = architecture_key(config)
    if key not in _SEEN:
        _SEEN[key] = _see(config, name)
    return _SEEN[key]


def architecture_key(config: Any) -> tuple[type, str]:
    """What a configuration says of the architecture, wherever it was read from."""
    values = json.loads(config.to_json_string(use_diff=False))
    values.pop("_name_or_path", None)
    return type(config), json.dumps(values)


def _see(config: Any, name: str) -> Shape:
    model = _outline(config, name)
    blocks = find_blocks(model, name)
    linears, others = _split_parameters(blocks[0])
    outside = _outside(model, blocks)
    _check_parts(name, blocks, others, outside)
    seen = _trace(model, blocks, name)
    _check_trace(name, seen, linears)
    embedding = model.get_input_embeddings()
    first, final = (
        {key: outside[key] for key in keys & set(outside)} for keys in (seen.before, seen.after)
    )
    return Shape(
        vocabulary=embedding.weight.shape[0],
        hidden=embedding.weight.shape[1],
        layers=len(blocks),
        heads=config.num_attention_heads,
        block=tuple(linears),
        products=seen.blocks[0],
        norm_weights=_count(others, bias=False),
        norm_biases=_count(others, bias=True),
        final_norm_weights=_count(final, bias=False),
        final_norm_biases=_count(final, bias=True),
        first_norm_weights=_count(first, bias=False),
        first_norm_biases=_count(first, bias=True),
        embedding=next(
            key.rsplit(".", 1)[-1] for key, module in model.named_modules() if module is embedding
        ),
        keeps_last=seen.keeps_last,
    )


def final_parameters(model: Any) -> frozenset[str]:
    """Names of a decoder's parameters that are used after its last block: the final norm's.

    Raises:
        ToolkitError: See `config_shape`.
    """
    name = model.config.model_type
    config = copy.deepcopy(model.config)
    config.is_causal = True  # what is used where is the same; `_outline` takes decoders only
    key = architecture_key(config)
    if key not in _AFTER:
        outline = _outline(config, name)
        _AFTER[key] = _trace(outline, find_blocks(outline, name), name).after
    return _AFTER[key]


def check_bidirectional(config: Any, name: str, max_tokens: int = 0) -> None:
    """Make sure that a decoder's tokens can be made to see later ones, exactly.

    transformers drops the causal mask where a configuration says `is_causal: false`; texts within
    a sliding window then attend as a whole.

    Args:
        config: Of the decoder. name: For the error. max_tokens: The longest text.

    Raises:
        ToolkitError: Its code has a mask of its own, its positions are made for looking back
            only (ALiBi), or texts may be longer than its sliding window.
    """
    reason = _only_causal(config, name, max_tokens)
    if reason:
        raise ToolkitError(
            f"attention: bidirectional is not exact for decoder {name!r} "
            f"({config.model_type}): {reason}"
        )


def _only_causal(config: Any, name: str, max_tokens: int) -> str:
    """Why it is not to be had; empty where it is."""
    outline = _outline(config, name)
    if getattr(config, "alibi", any("alibi" in part for part in dir(outline))):
        return "its distance biases (ALiBi) are made for looking back only; use causal"
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    slides = kinds is None or any("sliding" in kind for kind in kinds)
    if window is not None and slides and max_tokens > window:
        return (
            f"texts of {max_tokens} tokens are longer than its attention window of {window}; "
            "set max_tokens to at most that, or use causal"
        )
    both_ways = copy.deepcopy(config)
    both_ways.is_causal = False
    if _masks_anyway(_build(both_ways, implementation(config)), name):
        return "its code in transformers masks later tokens whatever it is told; use causal"
    return ""


def _masks_anyway(outline: Any, name: str) -> bool:
    """Whether a model that is told to be bidirectional keeps a causal mask of its own."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from torch.overrides import TorchFunctionMode

    causal = []

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
        ) -> Any:
            if func is scaled_dot_product_attention:
                causal.append((kwargs or {}).get("is_causal", False))
            return func(*args, **(kwargs or {}))

    width = outline.get_input_embeddings().weight.shape[1]
    with suppress(Exception), torch.no_grad(), torch.device("meta"), Watch():
        outline(inputs_embeds=torch.empty(1, 8, width), use_cache=False)
    buffers = (b for block in find_blocks(outline, name) for b in block.buffers())
    return any(causal) or any(b.dtype == torch.bool and b.dim() > 2 for b in buffers)


def _outline(config: Any, name: str) -> Any:
    """The decoder on the meta device, with attention as plain products.

    Raises:
        ToolkitError: It is no causal decoder of text.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config.model_type
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or config.is_encoder_decoder:
        raise ToolkitError(f"{name!r} ({kind}) is not a causal decoder; give one")
    if config.get_text_config() is not config:
        raise ToolkitError(
            f"{name!r} ({kind}) has more than a text decoder in it; save that part on its own"
        )
    try:
        model = _build(config, "eager")
    except Exception as error:  # each architecture fails in its own way
        raise ToolkitError(f"cannot build decoder {name!r} ({kind}): {_line(error)}") from error
    if any(getattr(module, "is_causal", True) is False for module in model.modules()):
        raise ToolkitError(f"{name!r} ({kind}) is not a causal decoder: its tokens see later ones")
    return model


def _build(config: Any, attention: str) -> Any:
    """A model of this configuration on the meta device."""
    import torch
    from transformers import AutoModel

    with torch.device("meta"):
        return AutoModel.from_config(
            copy.deepcopy(config),  # building a model writes into its configuration
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation=attention,
        ).eval()


def implementation(config: Any) -> str:
    """The attention of transformers that a decoder is loaded with: sdpa where there is one."""
    from transformers import MODEL_MAPPING

    fuses = getattr(MODEL_MAPPING[type(config)], "_supports_sdpa", True)
    return "sdpa" if fuses else "eager"  # which every architecture has


def _trace(model: Any, blocks: Any, name: str) -> Trace:
    from toolkit.decoders.tracing import trace

    try:
        return trace(model, blocks)
    except Exception as error:  # each architecture fails in its own way
        raise ToolkitError(
            f"the FLOPs of decoder {name!r} ({model.config.model_type}) cannot be counted: "
            f"{_line(error)}"
        ) from error


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _outside(model: Any, blocks: Any) -> dict[str, Any]:
    """Parameters outside the blocks that are no embedding's, by name."""
    from torch.nn import Embedding

    left_out = {id(p) for p in blocks.parameters()}
    for module in model.modules():
        if isinstance(module, Embedding):
            left_out |= {id(p) for p in module.parameters()}
    return {key: p for key, p in model.named_parameters() if id(p) not in left_out}


def _check_parts(name: str, blocks: Any, others: dict[str, Any], outside: dict[str, Any]) -> None:
    """Make sure that a decoder is embeddings, blocks that are alike, and norms.

    Raises:
        ToolkitError: It is not: a mixture of experts, blocks of several kinds, a projection.
    """
    first, *rest = ({key: p.shape for key, p in b.named_parameters()} for b in blocks)
    number = next((n for n, shapes in enumerate(rest, 1) if shapes != first), None)
    if number is not None:
        raise ToolkitError(
            f"the blocks of decoder {name!r} are not alike (block {number} is not as block 0); "
            "only decoders of one kind of block are counted right, so others are refused"
        )
    for part, found in (("in its blocks", others), ("outside its blocks", outside)):
        wide = [key for key, p in found.items() if p.dim() > 1]
        if wide:
            raise ToolkitError(
                f"decoder {name!r} has weights {part} that are no linear layer's nor a norm's "
                f"({', '.join(wide[:3])}); mixtures of experts, recurrent blocks and projected "
                "embeddings are not counted right yet, so they are refused"
            )


def _check_trace(name: str, seen: Trace, linears: list[Linear]) -> None:
    """Make sure that every block does the same, and each linear layer runs once a token.

    Raises:
        ToolkitError: Not so.
    """
    if len(set(seen.blocks)) > 1:
        raise ToolkitError(f"the blocks of decoder {name!r} do not all do the same; refused")
    runs = [product.weight for product in seen.blocks[0]]
    sizes = {product.weight: product.token for product in seen.blocks[0]}
    for linear in linears:
        weight = f"{linear.name}.weight"
        expected = 2 * linear.inputs * linear.outputs
        if runs.count(weight) != 1 or sizes[weight] != expected:
            raise ToolkitError(
                f"layer {linear.name} of decoder {name!r} does not run once for each token; refused"
            )


def _count(parameters: dict[str, Any], *, bias: bool) -> int:
    return sum(p.numel() for key, p in parameters.items() if key.endswith(".bias") == bias)


def find_blocks(model: Any, name: str) -> Any:
    """The `ModuleList` of transformer blocks of a loaded decoder.

    Raises:
        ToolkitError: There is none whose length is the number of layers.
    """
    from torch.nn import ModuleList

    layers = getattr(model.config, "num_hidden_layers", None)
    for _, module in model.named_modules():
        if isinstance(module, ModuleList) and len(module) == layers:
            return module
    raise ToolkitError(f"decoder {name!r} has no list of transformer blocks; give a causal decoder")


def _split_parameters(block: Any) -> tuple[list[Linear], dict[str, Any]]:
    """The linears of a block, and its remaining (norm) parameters by name."""
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
    return linears, {key: p for key, p in block.named_parameters() if key not in covered}

"""Fine-tuning methods: full, freeze, lora and bias, described by a shape, applied to a model.

What a method trains is decided here once; FLOP accounting reads it from the description, and
`apply` makes a loaded decoder agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.decoders import Shape, final_parameters, find_blocks
from toolkit.errors import ToolkitError, nearest
from toolkit.runs import RunConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DEFAULT_RANK = 32


@dataclass(frozen=True)
class Method:
    """A fine-tuning method with nothing left to default.

    Attributes:
        name: full, freeze, lora or bias.
        trained_blocks: freeze only: so many of the last blocks are trained.
        lora_rank, lora_alpha: lora only; updates are scaled by alpha / rank.
        lora_targets: lora only: names of the modules that get an adapter.
    """

    name: str
    trained_blocks: int | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    lora_targets: tuple[str, ...] | None = None


def resolve(config: RunConfig, shape: Shape) -> Method:
    """The configuration's method with its defaults filled in for a decoder of this shape.

    Defaults: half of the blocks (a fraction is rounded down, to at least one); for LoRA
    `default_rank`, alpha equal to the rank, on every linear of a block and on the input embedding,
    as in the study.

    Raises:
        ToolkitError: More blocks than the decoder has, a rank over a layer's width, a target
            that the decoder does not have, or bias tuning of a decoder without biases.
    """
    if config.method == "freeze":
        return Method("freeze", trained_blocks=_trained_blocks(config.trained_blocks, shape))
    if config.method == "lora":
        rank = config.lora_rank or default_rank(shape)
        targets = config.lora_targets or (*map(_leaf, (x.name for x in shape.block)),)
        if config.lora_targets is None:
            targets = (*targets, shape.embedding)
        _check_lora(rank, targets, shape)
        return Method("lora", None, rank, config.lora_alpha or float(rank), targets)
    if config.method == "bias" and not shape.biases:
        raise ToolkitError("this decoder has no biases to tune; use full, freeze or lora")
    return Method(config.method)


def _trained_blocks(wanted: int | float | None, shape: Shape) -> int:
    wanted = 0.5 if wanted is None else wanted
    blocks = max(1, int(wanted * shape.layers)) if isinstance(wanted, float) else wanted
    if blocks > shape.layers:
        raise ToolkitError(
            f"trained_blocks is {blocks}, but the decoder has only {shape.layers} blocks"
        )
    return blocks


def default_rank(shape: Shape) -> int:
    """LoRA's default rank: a quarter of the width, from 16 to 32, or the narrowest layer's width.

    At Pythia's widths that is 32, one of the study's two best. Of narrow decoders rank 16 is best
    in runs/reference: with small-200k (width 64), of 1 to 64 at three budgets, within 0.02 nats of
    the best, and 0.12 to 0.22 better than 32; with small-15k (width 24) 0.2 to 0.3 better than 24.
    """
    narrowest = min(min(x.inputs, x.outputs) for x in shape.block)
    return min(narrowest, max(16, min(DEFAULT_RANK, shape.hidden // 4)))


def _check_lora(rank: int, targets: tuple[str, ...], shape: Shape) -> None:
    widths = {x.name: min(x.inputs, x.outputs) for x in shape.block}
    widths[shape.embedding] = min(shape.vocabulary, shape.hidden)
    for target in targets:
        hit = [name for name in widths if names(target, name)]
        if not hit:
            known = [*map(_leaf, widths)]
            raise ToolkitError(f"the decoder has no layer {target!r}{nearest(target, known)}")
        for name in hit:
            if rank > widths[name]:
                raise ToolkitError(
                    f"lora_rank {rank} is over the width {widths[name]} of layer {name}; "
                    f"set lora_rank to at most {widths[name]}"
                )


def _leaf(name: str) -> str:
    """What a module is called by: its own name, or with its parent's where that is a number."""
    parent, _, own = name.rpartition(".")
    return f"{_leaf(parent)}.{own}" if own.isdigit() and parent else own


def names(target: str, module: str) -> bool:
    """Whether a LoRA target means this module: its name, or the end of its dotted path."""
    return module == target or module.endswith("." + target)


def first_trained_block(shape: Shape, method: Method) -> int:
    """The lowest block that is trained; those below it need no gradients at all."""
    return shape.layers - method.trained_blocks if method.trained_blocks is not None else 0


def adapted(shape: Shape, method: Method) -> tuple[bool, ...]:
    """For each linear of a block, in order, whether it has a LoRA adapter."""
    targets = method.lora_targets or ()
    return tuple(any(names(target, x.name) for target in targets) for x in shape.block)


def adapts_embedding(shape: Shape, method: Method) -> bool:
    """Whether the input embedding has a LoRA adapter."""
    return any(names(target, shape.embedding) for target in method.lora_targets or ())


def trainable_params(shape: Shape, method: Method) -> int:
    """Trainable parameters by the study's rule: none whose name contains "emb" counts.

    So neither the embedding matrix nor an adapter on it is counted.
    """
    if method.name == "full":
        return shape.params
    if method.name == "freeze":
        return (method.trained_blocks or 0) * shape.block_params + shape.final_params
    if method.name == "bias":
        return shape.biases
    adapters = zip(shape.block, adapted(shape, method), strict=True)
    widths = sum(x.inputs + x.outputs for x, has in adapters if has)
    return shape.layers * (method.lora_rank or 0) * widths


def trained_values(shape: Shape, method: Method) -> int:
    """How many numbers are trained, embeddings included: what an encoder is kept as."""
    if method.name == "full":
        return shape.encoder_params
    adapter = (method.lora_rank or 0) * (shape.vocabulary + shape.hidden)
    return trainable_params(shape, method) + adapter * adapts_embedding(shape, method)


def apply(model: PreTrainedModel, method: Method, seed: int) -> PreTrainedModel:
    """Make exactly the method's parameters trainable, in place; add adapters for lora.

    peft injects the adapters without its wrapper, so that nothing else about the model changes:
    no input gradients are turned on for blocks that do not need them.

    Args:
        model: From `toolkit.decoders.load`.
        method: From `resolve`, for this model's shape.
        seed: Of the adapters' initialisation.

    Returns:
        The same model.
    """
    if method.name == "lora":
        _inject_lora(model, method, seed)
        return model
    blocks = find_blocks(model, model.config.model_type)
    last = blocks[len(blocks) - (method.trained_blocks or 0) :]
    trained = {id(p) for p in last.parameters()}
    final = final_parameters(model) if method.name == "freeze" else frozenset()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(
            method.name == "full"
            or (method.name == "bias" and name.endswith(".bias"))
            or (method.name == "freeze" and (id(parameter) in trained or name in final))
        )
    return model


def _inject_lora(model: PreTrainedModel, method: Method, seed: int) -> None:
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(
            r=method.lora_rank or DEFAULT_RANK,
            lora_alpha=method.lora_alpha,  # type: ignore[arg-type]  # peft scales by any number
            target_modules=list(method.lora_targets or ()),
        )
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)

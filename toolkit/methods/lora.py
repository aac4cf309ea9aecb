"""LoRA (Hu et al. 2021, arXiv 2106.09685): products of low rank are trained beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from toolkit.decoders import Linear, Shape, find_blocks
from toolkit.errors import ToolkitError, nearest
from toolkit.methods.base import Added, Method, Setting, anything

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from toolkit.runs import RunConfig

LEAST_RANK, MOST_RANK = 16, 32

LORA_RANK = Setting(
    name="lora_rank",
    title="LoRA rank",
    short="rank",
    meaning=f"a quarter of the width by default, from {LEAST_RANK} to {MOST_RANK}",
    recommended=True,
    octaves=True,
    carry=lambda rank, found, wanted: min(rank, wanted.hidden),
)
LORA_ALPHA = Setting(
    name="lora_alpha",
    title="LoRA alpha",
    short="alpha",
    meaning="updates are scaled by alpha / rank; the rank by default",
    octaves=True,
)
LORA_TARGETS = Setting(
    name="lora_targets",
    title="LoRA targets",
    short="targets",
    meaning="names of modules; every linear layer of a block and the embedding by default",
    check=anything,
)


def default_rank(shape: Shape) -> int:
    """LoRA's default rank: a quarter of the width, from 16 to 32, or the narrowest layer's width.

    At Pythia's widths that is 32, one of the study's two best. Of narrow decoders rank 16 is best
    in runs/reference: with small-200k (width 64), of 1 to 64 at three budgets, within 0.02 nats of
    the best, and 0.12 to 0.22 better than 32; with small-15k (width 24) 0.2 to 0.3 better than 24.
    """
    narrowest = min(min(x.inputs, x.outputs) for x in shape.block)
    return min(narrowest, max(LEAST_RANK, min(MOST_RANK, shape.hidden // 4)))


@dataclass(frozen=True)
class Lora(Method):
    """A weight W becomes W + (alpha / rank) B A, of which A and B are trained.

    As in the study every linear layer of a block and the input embedding get an adapter.

    Attributes:
        lora_rank: Rows of A, columns of B.
        lora_alpha: Of the scale.
        lora_targets: Names of the modules that get an adapter.
    """

    lora_rank: int
    lora_alpha: float
    lora_targets: tuple[str, ...]

    name = "lora"
    title = "LoRA"
    colour, marker = "#D55E00", "D"
    spellings = "lora lowrankadaptation"
    settings: ClassVar[tuple[Setting, ...]] = (LORA_RANK, LORA_ALPHA, LORA_TARGETS)
    studied = True
    small_rate = 1.25
    flags: ClassVar[tuple[str, ...]] = ()  # That peft's configuration is to set.

    @classmethod
    def resolve(cls, config: RunConfig, shape: Shape) -> Self:
        """
        Raises:
            ToolkitError: A rank over a layer's width, or a target that the decoder does not have.
        """
        rank = config.lora_rank or default_rank(shape)
        everything = (*(_leaf(x.name) for x in shape.block), shape.embedding)
        targets = config.lora_targets or everything
        _check_targets(targets, rank, shape)
        return cls(rank, config.lora_alpha or float(rank), targets)

    def trains(self, parameter: str, above: int) -> bool:
        return False

    def adapter(self, linear: Linear, above: int) -> tuple[Added, ...]:
        if not self.adapts(linear.name, above):
            return ()
        down = Added(2 * linear.inputs * self.lora_rank, trained=1, reads_input=True)
        return down, Added(2 * self.lora_rank * linear.outputs, trained=2)

    def adapter_params(self, linear: Linear, above: int) -> int:
        widths = linear.inputs + linear.outputs
        return self.lora_rank * widths * self.adapts(linear.name, above)

    def embedding_adapter(self, shape: Shape) -> tuple[Added, ...]:
        if not self.adapts(shape.embedding, shape.layers):
            return ()
        return (Added(2 * self.lora_rank * shape.hidden, trained=2),)

    def embedding_adapter_params(self, shape: Shape) -> int:
        widths = shape.vocabulary + shape.hidden
        return self.lora_rank * widths * self.adapts(shape.embedding, shape.layers)

    def adapts(self, module: str, above: int) -> bool:
        """Whether a module, named within its block, has an adapter."""
        return any(names(target, module) for target in self.lora_targets)

    def inject(self, model: PreTrainedModel, seed: int) -> None:
        """Without peft's wrapper, which would change more of the model."""
        import torch
        from peft import LoraConfig, inject_adapter_in_model

        flags: dict[str, Any] = dict.fromkeys(self.flags, True)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            config = LoraConfig(
                r=self.lora_rank,
                lora_alpha=self.lora_alpha,  # type: ignore[arg-type]  # peft scales by any number
                target_modules=self._adapted(model),
                **flags,
            )
            inject_adapter_in_model(config, model)

    def _adapted(self, model: PreTrainedModel) -> list[str]:
        """Paths of the modules that get an adapter."""
        from torch.nn import Linear as TorchLinear
        from transformers.pytorch_utils import Conv1D

        blocks = find_blocks(model, model.config.model_type)
        places = {
            id(module): (name, above)
            for above, block in enumerate(reversed(blocks))
            for name, module in block.named_modules()
            if isinstance(module, (TorchLinear, Conv1D))
        }
        embedding = model.get_input_embeddings()
        found = []
        for path, module in model.named_modules():
            place = (path, len(blocks)) if module is embedding else places.get(id(module))
            if place is not None and self.adapts(*place):
                found.append(path)
        return found


def _check_targets(targets: tuple[str, ...], rank: int, shape: Shape) -> None:
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
    """Whether a target means this module: its name, or the end of its dotted path."""
    return module == target or module.endswith("." + target)

"""What a fine-tuning method answers about itself; each has a module in this package.

A place in a decoder is given by the blocks `above` it: 0 in the last block, one less than there are
in the first, -1 behind the last (the final norm), and as many as there are before the first (the
embedding and a norm on it).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from toolkit.decoders import Decoder, Linear, Shape, final_parameters, find_blocks
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from toolkit.runs import RunConfig

AFTER = -1  # The place behind the last block.
# The small decoders: peak rate × hidden width of full fine-tuning. From small grids at 1e11 FLOP
# on small-7k, small-15k and small-38k, 16 and 32 pairs a step.
_SMALL_LR_TIMES_WIDTH = 0.26
# The study (docs/the-study.md); its four example configurations are on pythia-70m, of this width.
_STUDY_LR = 1e-3
_STUDY_WIDTH = 512


def positive(name: str, value: Any) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ToolkitError(f"{name} must be a positive finite number, not {value}")


def anything(name: str, value: Any) -> None:
    """Any value of the right type will do."""


@dataclass(frozen=True)
class Setting:
    """A setting of some methods: a field of RunConfig, None for the method's default.

    Attributes:
        name: Of the field.
        title, short: What it is called on an axis, and in a list of several.
        meaning: What its values are, and which is the default.
        recommended: Whether a recipe names it: the best value tried, or the default.
        octaves: Whether it is tried, and drawn, in powers of two; else in whole steps.
        carry: (value, shape that it was found with if known, shape that it is for): the value for
            the other decoder.
        check: (name, value): raises ToolkitError for a value that no decoder could take.
    """

    name: str
    title: str
    short: str
    meaning: str
    recommended: bool = False
    octaves: bool = False
    carry: Callable[[float, Shape | None, Shape], float] = lambda value, found, wanted: value
    check: Callable[[str, Any], None] = positive


@dataclass(frozen=True)
class Added:
    """A matrix product that a method adds behind a layer's own.

    Attributes:
        token, call: Forward FLOPs for each token, and each time that the layer runs.
        trained: How many of its two operands are trained, or depend on what is.
        reads_input: Whether the other operand is the layer's input.
        kept: Whether the backward pass needs its result, so that a checkpoint runs it again.
    """

    token: int = 0
    call: int = 0
    trained: int = 0
    reads_input: bool = False
    kept: bool = False


@dataclass(frozen=True)
class Method(ABC):
    """A fine-tuning method with nothing left to default; its fields are its settings' values.

    Attributes:
        name: What configurations and tables call it.
        title: What people call it.
        colour, marker: In figures, as matplotlib names them; tell methods apart for people who see
            no red or no green.
        spellings: What others call it, without blanks and hyphens, in small letters.
        settings: Those that belong to it.
        studied: Whether the study had it.
        small_rate: Default learning rate with the small decoders, relative to full fine-tuning's.
        pretraining_share: Default rate with Pythia, relative to the peak of its pre-training; None
            for the study's one rate for what is trained beside the weights.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    colour: ClassVar[str]
    marker: ClassVar[str]
    spellings: ClassVar[str]
    settings: ClassVar[tuple[Setting, ...]] = ()
    studied: ClassVar[bool] = False
    small_rate: ClassVar[float] = 1.0
    pretraining_share: ClassVar[float | None] = None

    @classmethod
    def resolve(cls, config: RunConfig, shape: Shape) -> Self:
        """The method as a configuration asks for it, defaults filled in for this shape.

        Raises:
            ToolkitError: The decoder does not have what the method trains.
        """
        return cls()

    @abstractmethod
    def trains(self, parameter: str, above: int) -> bool:
        """Whether it trains this parameter of the decoder, named within its block."""

    def adapter(self, linear: Linear, above: int) -> tuple[Added, ...]:
        """The products that it adds to a linear layer, in the order in which they run."""
        return ()

    def adapter_params(self, linear: Linear, above: int) -> int:
        """How many parameters it adds to a linear layer."""
        return 0

    def embedding_adapter(self, shape: Shape) -> tuple[Added, ...]:
        """The products that it adds to the input embedding, which is looked up once a step."""
        return ()

    def embedding_adapter_params(self, shape: Shape) -> int:
        """How many parameters it adds to the input embedding."""
        return 0

    def inject(self, model: PreTrainedModel, seed: int) -> None:  # noqa: B027
        """Add its adapters, if it has any, to a model, in place."""

    @classmethod
    def learning_rate(cls, decoder: Decoder) -> float:
        """The default peak learning rate.

        For Pythia it is the study's: methods that train pre-trained weights take a tenth of the
        pre-training peak (1e-4 up to 70M, 6e-5 at 160M, 3e-5 at 410M and 1B, 2e-5 at 1.4B, 1.6e-5
        at 2.8B), those that train something small beside them 1e-3. For the small decoders it falls
        as one over the width: so grids at 1e11 FLOP found. For other decoders, whose pre-training
        is not known here, it is 1e-3 at width 512 for every method, falling as the square root of
        the width: a starting point, to be tuned.
        """
        if decoder.family == "small":
            return _SMALL_LR_TIMES_WIDTH * cls.small_rate / decoder.shape.hidden
        if decoder.family == "pythia" and decoder.pretraining_lr is not None:
            share = cls.pretraining_share
            return _STUDY_LR if share is None else share * decoder.pretraining_lr
        return _STUDY_LR * (_STUDY_WIDTH / decoder.shape.hidden) ** 0.5

    def trains_before(self, shape: Shape) -> bool:
        """Whether it trains something before the first block."""
        norm = {"weight": shape.first_norm_weights, "bias": shape.first_norm_biases}
        parts = [f"norm.{part}" for part, size in norm.items() if size]
        trained = any(self.trains(x, shape.layers) for x in (f"{shape.embedding}.weight", *parts))
        return trained or bool(self.embedding_adapter(shape))

    def trained_own(self, shape: Shape) -> int:
        """The decoder's own parameters that it trains, embeddings left out."""
        return _own_and_added(self, shape)[0]

    def added_params(self, shape: Shape) -> int:
        """Parameters of its adapters, that of the embedding left out."""
        return _own_and_added(self, shape)[1]

    def trainable_params(self, shape: Shape) -> int:
        """Trainable parameters by the study's rule: none whose name contains "emb" counts.

        So neither the embedding matrix nor an adapter on it is counted.
        """
        return sum(_own_and_added(self, shape))

    def trained_values(self, shape: Shape) -> int:
        """How many numbers are trained, embeddings included: what an encoder is kept as."""
        matrix = shape.vocabulary * shape.hidden
        own = matrix * self.trains(f"{shape.embedding}.weight", shape.layers)
        return self.trainable_params(shape) + own + self.embedding_adapter_params(shape)

    def paper_flops_per_token(self, shape: Shape) -> int:
        """The study's FLOPs a token: 4N + 2n, so 6N where everything is trained.

        N counts all parameters, adapters among them, and n the trainable ones, embeddings left out
        of both.
        """
        everything = shape.params + self.added_params(shape)
        return 4 * everything + 2 * self.trainable_params(shape)

    def apply(self, model: PreTrainedModel, seed: int) -> PreTrainedModel:
        """Make exactly the method's parameters trainable, in place; add its adapters.

        Nothing else about the model changes: no input gradients are turned on for blocks that do
        not need them.

        Args:
            model: From `toolkit.decoders.load`, of the shape that the method was resolved for.
            seed: Of the adapters' initialisation.

        Returns:
            The same model.
        """
        own = self._own_parameters(model)
        self.inject(model, seed)
        for parameter in model.parameters():
            parameter.requires_grad_(own.get(id(parameter), True))
        return model

    def _own_parameters(self, model: PreTrainedModel) -> dict[int, bool]:
        """Of each parameter of the decoder, by its id, whether it is trained."""
        blocks = find_blocks(model, model.config.model_type)
        before, answers = len(blocks), {}
        for above, block in enumerate(reversed(blocks)):
            for name, parameter in block.named_parameters():
                answers[id(parameter)] = self.trains(name, above)
        outside = {k: p for k, p in model.named_parameters() if id(p) not in answers}
        apart = any(self.trains(name, AFTER) != self.trains(name, before) for name in outside)
        final = final_parameters(model) if apart else frozenset()
        for name, parameter in outside.items():
            answers[id(parameter)] = self.trains(name, AFTER if name in final else before)
        return answers


@lru_cache(maxsize=1024)
def _own_and_added(method: Method, shape: Shape) -> tuple[int, int]:
    """Trained parameters: the decoder's own, and those of adapters."""
    own = _trained_norm(method, shape.final_norm_weights, shape.final_norm_biases, AFTER)
    own += _trained_norm(method, shape.first_norm_weights, shape.first_norm_biases, shape.layers)
    added = 0
    for above in range(shape.layers):
        own += _trained_norm(method, shape.norm_weights, shape.norm_biases, above)
        for linear in shape.block:
            weights = linear.inputs * linear.outputs
            own += weights * method.trains(f"{linear.name}.weight", above)
            own += (linear.params - weights) * method.trains(f"{linear.name}.bias", above)
            added += method.adapter_params(linear, above)
    return own, added


def _trained_norm(method: Method, weights: int, biases: int, above: int) -> int:
    trained = weights * method.trains("norm.weight", above)
    return trained + biases * method.trains("norm.bias", above)

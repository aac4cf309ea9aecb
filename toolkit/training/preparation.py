"""A run made ready: its configuration resolved against decoder, data and machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from toolkit import decoders, flops, methods
from toolkit.choices import GROUP, nested_dimensions
from toolkit.contrast import precision
from toolkit.contrast.paths import packs
from toolkit.contrast.step import ContrastiveStep, chunk_size
from toolkit.pairs.store import TokenisedPairs
from toolkit.pairs.tokens import TokenisedData, prefixes_of, tokenise
from toolkit.runs import RunConfig
from toolkit.training import defaults, mining
from toolkit.training.enough import check_batch
from toolkit.training.evaluation import HeldOut, held_out_set
from toolkit.training.guard import try_out
from toolkit.training.schedule import Schedule, first_seen, make_schedule, pool_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@dataclass
class Run:
    """A run made ready: everything is decided before the first step."""

    config: RunConfig
    decoder: decoders.Decoder
    method: methods.Method
    precision: str
    lr: float
    schedule: Schedule
    train: TokenisedPairs
    held_out: HeldOut
    fingerprint: str
    dimensions: tuple[int, ...] = ()
    mining: flops.StepFlops = flops.NOTHING
    masked: int = 0
    masked_by_margin: int = 0
    inherited: int = 0
    curve: list[tuple[int, float, float, float | None]] = field(default_factory=list)


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(config: RunConfig) -> Run:
    """Resolve a configuration against its decoder and data, and plan its steps.

    Raises:
        ToolkitError: Decoder, data, method or budget do not go together; says which and why.
    """
    decoder = decoders.find(config.decoder)
    decoders.check_attention(config.decoder, config.attention, config.max_tokens)
    dimensions = nested_dimensions(config, decoder.shape.hidden)
    method = methods.resolve(config, decoder.shape)
    batch_pairs = config.batch_pairs or defaults.batch_pairs(decoder, config.budget_flop)
    data = tokenise(
        config.source,
        decoders.load_tokenizer(decoder),
        max_tokens=config.max_tokens,
        special_tokens=config.special_tokens,
        prefixes=prefixes_of(config),
        negatives=config.negatives == "given",
    )
    products = precision.resolve(config.precision, decoder.shape.hidden, device())
    cost = partial(step_cost, config, decoder, method)
    train, mined = _with_negatives(config, decoder, data, cost, batch_pairs, products)
    return Run(
        config=config,
        decoder=decoder,
        method=method,
        precision=products,
        lr=config.lr or method.learning_rate(decoder),
        schedule=make_schedule(
            train,
            cost,
            budget_flop=config.budget_flop,
            convention=config.flop_convention,
            batch_pairs=batch_pairs,
            max_pairs=config.max_pairs,
            seed=config.seed,
            spent_before=mined,
        ),
        train=train,
        held_out=held_out_set(data.held_out, config.candidates, data.facts),
        fingerprint=data.facts.fingerprint,
        dimensions=dimensions,
        mining=mined,
    )


def _with_negatives(
    config: RunConfig,
    decoder: decoders.Decoder,
    data: TokenisedData,
    cost: Callable[..., flops.StepFlops],
    batch_pairs: int,
    products: str,
) -> tuple[TokenisedPairs, flops.StepFlops]:
    """The training side with the hard negatives that are asked for, and what mining them costs."""
    if config.negatives == "none":
        return data.train, flops.NOTHING
    per_query = config.negatives_per_query or 1
    if data.train.negatives is not None:
        given = replace(data.train.negatives, per_query=per_query)
        return replace(data.train, negatives=given), flops.NOTHING
    pool = pool_of(data.train, config.max_pairs)
    check_batch(len(pool), batch_pairs)
    like = torch.empty(0, device=device())
    order = first_seen(pool, config.seed)
    some = order[:batch_pairs]
    lengths = data.train.queries.lengths(some), data.train.positives.lengths(some)
    column = config.flop_convention
    step = cost(*lengths, np.tile(lengths[1], per_query))
    group = order[:GROUP]
    packed = packs(decoder, config.attention)
    searching = mining.mining_flops(decoder.shape, data.train, group, like, packed=packed)
    order = mining.reached(
        order,
        config.budget_flop,
        getattr(step, column) / len(some),
        getattr(searching, column) / len(group),
    )
    model = decoders.load(decoder, bidirectional=config.attention == "bidirectional")
    found = mining.mined(model.to(device()), data, order, config, products)  # type: ignore[arg-type]
    return (
        replace(data.train, negatives=found),
        mining.mining_flops(decoder.shape, data.train, order, like, packed=packed),
    )


def step_cost(
    config: RunConfig,
    decoder: decoders.Decoder,
    method: methods.Method,
    queries: np.ndarray,
    positives: np.ndarray,
    negatives: np.ndarray | None = None,
) -> flops.StepFlops:
    """FLOPs of one step of a run on texts of these token lengths."""
    found, _ = flops.planned_flops(
        decoder.shape,
        method,
        queries,
        positives,
        negatives,
        packed=packs(decoder, config.attention),
        dimensions=nested_dimensions(config, decoder.shape.hidden),
        chunk_tokens=config.chunk_tokens,
        checkpointing=config.checkpointing,
        usual=chunk_size(torch.empty(0, device=device())),
    )
    return found


def load_encoder(run: Run) -> PreTrainedModel:
    """The decoder's weights with the method applied: ready to be trained, on the run's device.

    Raises:
        ToolkitError: The weights cannot be loaded, or the decoder is not counted or run exactly
            (see `toolkit.training.guard`).
    """
    torch.manual_seed(run.config.seed)
    model = decoders.load(run.decoder, bidirectional=run.config.attention == "bidirectional")
    run.method.apply(model, run.config.seed)
    try_out(model, run.decoder, run.method)
    return model.to(device())  # type: ignore[arg-type]  # transformers mistypes it


def make_step(
    model: PreTrainedModel,
    config: RunConfig,
    *,
    dimensions: tuple[int, ...],
    precision: str,
    kind: type[ContrastiveStep] = ContrastiveStep,
) -> ContrastiveStep:
    """The contrastive step as the configuration has it.

    Args:
        model: With the method applied.
        dimensions: Nested ones, resolved. precision: auto, or resolved.
        kind: On one device, or shared by several.
    """
    return kind(
        model,
        temperature=config.temperature,
        dimensions=dimensions,
        false_negative_margin=config.false_negative_margin,
        pooling=config.pooling,
        chunk_tokens=config.chunk_tokens,
        checkpointing=config.checkpointing,
        precision=precision,
    )


def make_optimizer(model: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW over the trained parameters; biases and norms (one dimension) do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)

"""One run, from its configuration to its record."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from toolkit import __version__, decoders, flops, machine, methods, provenance
from toolkit.choices import GROUP, nested_dimensions
from toolkit.contrast import distributed, memory, precision
from toolkit.contrast.paths import packs
from toolkit.contrast.step import ContrastiveStep, StepResult, chunk_size
from toolkit.pairs.tokens import TokenisedData, TokenisedPairs, prefixes_of, tokenise
from toolkit.runs import RunConfig, RunRecord, as_made, write_atomically
from toolkit.training import checkpoints, defaults, kept, mining, trunk
from toolkit.training.enough import check_batch
from toolkit.training.evaluation import Evaluation, HeldOut, evaluate, halvings, held_out_set
from toolkit.training.folder import check_own
from toolkit.training.guard import try_out
from toolkit.training.schedule import (
    Schedule,
    affordable,
    cooldown_start,
    first_seen,
    make_schedule,
    pool_of,
    trunk_rate,
    warmup_cosine,
)
from toolkit.training.tracking import tracked

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# Evaluations on the way may cost so much of the budget; they are not part of it.
_EVALUATION_SHARE = 0.05
_MOST_EVALUATIONS = 10
_CHECKPOINT_SECONDS = 60.0
_CURVE_POINTS = 200


@dataclass(frozen=True)
class Progress:
    """One step of a run: what the progress bar and the curve show.

    Attributes:
        step, steps: Steps done, and of the whole run.
        flop: Spent so far, in the run's convention.
        loss: Training loss of the step. held_out: Held-out loss, where it was just measured.
    """

    step: int
    steps: int
    flop: float
    loss: float
    held_out: float | None


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


def make_optimizer(model: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW over the trained parameters; biases and norms (one dimension) do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)


def train(
    config: RunConfig,
    folder: Path | None = None,
    *,
    progress: Callable[[Progress], None] = lambda point: None,
    keep: bool = False,
    checkpoint_seconds: float = _CHECKPOINT_SECONDS,
) -> RunRecord:
    """Fine-tune a decoder into an encoder on the budget and report what came of it.

    Where `folder` is given, the run checkpoints there, goes on from its newest checkpoint, and
    leaves its record in `record.json`, written last and atomically. If it is to `keep` its encoder,
    that lies there as well (`toolkit.training.kept`), but for a run that diverged.

    Example:
        >>> config = d2e.RunConfig(
        ...     decoder="small-3k", budget_flop=2e8,
        ...     data="my_pairs.jsonl", batch_pairs=16, candidates=16,
        ... )
        >>> record = d2e.train(config)
        >>> record.status, record.steps > 5
        ('finished', True)

    Raises:
        ToolkitError: The configuration cannot be run, or the folder holds another run.
    """
    record, _ = train_encoder(
        config, folder, progress=progress, keep=keep, checkpoint_seconds=checkpoint_seconds
    )
    return record


def train_encoder(
    config: RunConfig,
    folder: Path | None = None,
    *,
    progress: Callable[[Progress], None] = lambda point: None,
    keep: bool = False,
    checkpoint_seconds: float = _CHECKPOINT_SECONDS,
) -> tuple[RunRecord, PreTrainedModel]:
    """`train`, with the trained encoder beside the record."""
    if folder is not None:
        check_own(folder, config)
        folder.mkdir(parents=True, exist_ok=True)
    run = prepare(config)
    model = load_encoder(run)
    optimizer = make_optimizer(model, lr=run.lr, weight_decay=config.weight_decay)
    with tracked(config, folder, _resolved(run)) as track:

        def shown(point: Progress) -> None:
            track.step(point)
            progress(point)

        steps_done, seconds, last = _train_steps(
            run, model, optimizer, folder, shown, checkpoint_seconds
        )
        diverged = not math.isfinite(last)
        final = _measure(run, model) if not diverged else None
        if final is not None and not math.isfinite(final.loss):
            final, diverged = None, True
        record = _record(run, steps_done, seconds, final)
        track.end(record)
    if folder is not None and distributed.rank() == 0:
        if keep and final is not None:
            kept.keep(folder, config, model)
        write_atomically(folder / "record.json", record.to_json())
        checkpoints.remove(folder)
    return record, model


def _train_steps(
    run: Run,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    folder: Path | None,
    progress: Callable[[Progress], None],
    checkpoint_seconds: float,
) -> tuple[int, float, float]:
    """All steps that are left, up to the end or to a loss that is no number.

    Returns:
        Steps done, seconds trained (evaluation and checkpoints left out), last training loss.
    """
    config, schedule = run.config, run.schedule
    spent = schedule.spent[:, flops.CONVENTIONS.index(config.flop_convention)]
    shared = trunk.Trunk.of(folder, config, schedule.batch_pairs, spent)
    state = folder and _restore(run, folder, shared, model, optimizer)
    first, seconds = (state.step, state.seconds) if state else (0, 0.0)
    run.curve[:] = [tuple(point) for point in state.curve] if state else []
    run.precision = state.precision if state else run.precision
    run.masked = state.masked if state else 0
    run.masked_by_margin = state.masked_by_margin if state else 0
    run.inherited = state.inherited if state else 0
    kind = distributed.SharedStep if distributed.size() > 1 else ContrastiveStep
    contrastive_step = kind(
        model,
        temperature=config.temperature,
        dimensions=run.dimensions,
        false_negative_margin=config.false_negative_margin,
        pooling=config.pooling,
        chunk_tokens=config.chunk_tokens,
        checkpointing=config.checkpointing,
        precision=run.precision,
    )
    evaluated = _evaluation_steps(run)
    drawn = max(1, schedule.steps // _CURVE_POINTS)
    # A GPU works on while the losses of steps before come in; a processor has them at once.
    on_gpu = contrastive_step.body.like.is_cuda
    running: deque[tuple[int, StepResult]] = deque()
    rate = _rate(run, spent)
    loss, saved = 0.0, time.monotonic()
    for step in range(first, schedule.steps):
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = run.lr * rate(step)
        order = distributed.share(schedule.batch(step))
        sides = [run.train.queries.take(order), run.train.positives.take(order)]
        if run.train.negatives is not None:
            sides.append(run.train.negatives.take(order, schedule.epoch(step)))
        running.append((step, contrastive_step(*sides)))
        done = step + 1
        due = folder is not None and time.monotonic() - saved > checkpoint_seconds
        branching = shared is not None and shared.missing(done) and distributed.rank() == 0
        pause = due or branching or done in evaluated or done == schedule.steps
        ahead = 1 if on_gpu and not pause else 0
        come = [running.popleft() for _ in range(len(running) - ahead)]
        for past, one in come:
            loss, run.masked = one.loss, run.masked + one.masked
            run.masked_by_margin += one.masked_by_margin
            if not math.isfinite(loss):
                return past + 1, seconds + time.perf_counter() - started, loss
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_gpu and pause:
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
        held_out = _measure(run, model).loss if done in evaluated else None
        for past, one in come:
            point = Progress(
                past + 1,
                schedule.steps,
                float(spent[past]),
                one.loss,
                held_out if past == step else None,
            )
            if point.step % drawn == 0 or point.held_out is not None or point.step == point.steps:
                run.curve.append((point.step, point.flop, point.loss, point.held_out))
            progress(point)
        if (due or branching) and distributed.rank() == 0:
            state = checkpoints.State(
                config.to_dict(),
                done,
                seconds,
                run.curve,
                run.precision,
                run.masked,
                run.masked_by_margin,
                run.inherited,
            )
            if shared is not None and branching:
                checkpoints.save(shared.folder, state, model, optimizer, alone=False)
            if folder is not None and due:
                checkpoints.save(folder, state, model, optimizer)
                saved = time.monotonic()
    return schedule.steps, seconds, loss


def _restore(
    run: Run,
    folder: Path,
    shared: trunk.Trunk | None,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
) -> checkpoints.State | None:
    """Bring back the latest state that there is: the run's own, or of a trunk that it shares."""
    own = checkpoints.newest(folder, lambda held: held == run.config)
    found = shared.newest(own[1].step if own else 0) if shared else None
    for path, state in (x for x in (found, own) if x is not None):
        if checkpoints.restore(path, model, optimizer):
            if as_made(state.config) == run.config:
                return state
            return replace(state, inherited=int(run.schedule.spent[state.step - 1, 1]))
    return None


def _rate(run: Run, spent: np.ndarray) -> Callable[[int], float]:
    """The learning rate's share of its peak at each step."""
    config, steps = run.config, run.schedule.steps
    if config.schedule == "cosine":
        return partial(warmup_cosine, steps=steps, warmup=config.warmup)
    warming = round(config.warmup * steps)
    if config.warmup_flop is not None:
        warming = affordable(spent, config.warmup_flop)
    return partial(
        trunk_rate, steps=steps, warming=warming, start=cooldown_start(steps, config.cooldown)
    )


def _measure(run: Run, model: PreTrainedModel) -> Evaluation:
    config = run.config
    return evaluate(
        model,
        run.held_out,
        temperature=config.temperature,
        pooling=config.pooling,
        precision=run.precision,
        dimensions=run.dimensions or halvings(run.decoder.shape.hidden),
    )


def _evaluation_steps(run: Run) -> frozenset[int]:
    """Steps after which the held-out loss is measured on the way: as many as stay cheap."""
    texts = (run.held_out.queries, run.held_out.positives)
    forward = 2 * run.decoder.params * sum(int(text.lengths.sum()) for text in texts)
    count = min(_MOST_EVALUATIONS, int(_EVALUATION_SHARE * run.config.budget_flop / forward))
    return frozenset(round(run.schedule.steps * i / (count + 1)) for i in range(1, count + 1))


def _record(run: Run, steps: int, seconds: float, final: Evaluation | None) -> RunRecord:
    config, schedule = run.config, run.schedule
    paper, model, hardware = (int(flop) for flop in schedule.spent[steps - 1])
    nan = float("nan")
    return RunRecord(
        config=config,
        status="diverged" if final is None else "finished",
        reason=f"the loss was no number at step {steps}" if final is None else "",
        params=run.decoder.params,
        trainable=run.method.trainable_params(run.decoder.shape),
        flop_paper=paper,
        flop_model=model,
        flop_hardware=hardware,
        tokens=int(schedule.tokens[steps - 1]),
        pairs=steps * schedule.batch_pairs,
        unique_pairs=len(schedule.pool),
        steps=steps,
        loss=final.loss if final else nan,
        recall_at_1=final.recall_at_1 if final else nan,
        recall_at_10=final.recall_at_10 if final else nan,
        mrr=final.mrr if final else nan,
        **_resolved(run),
        seconds=seconds,
        hardware=hardware_name() + (f", {distributed.size()} processes" * (distributed.size() > 1)),
        code_version=__version__,
        fingerprint=run.fingerprint,
        masked=run.masked,
        masked_by_margin=run.masked_by_margin,
        negatives_seen=int(schedule.negatives[steps - 1]),
        mining_flop=run.mining.model,
        loss_by_dimension=final.loss_by_dimension if final else {},
        loss_by_origin=final.loss_by_origin if final else {},
        revision=provenance.revision(),
        libraries=provenance.libraries(),
        curve=tuple(run.curve),
        precision=run.precision,
        flop_inherited=run.inherited,
        peak_bytes=memory.peak_bytes(device()),
    )


def _resolved(run: Run) -> dict[str, Any]:
    """What became of fields of a configuration that may be left to their defaults."""
    return {
        "lr": run.lr,
        "batch_pairs": run.schedule.batch_pairs,
        "trained_blocks": getattr(run.method, "trained_blocks", None),
        "lora_rank": getattr(run.method, "lora_rank", None),
    }


@cache
def hardware_name() -> str:
    """The GPU's name, or the processor's with the threads used and torch's version."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{machine.processor()}, {threads} of {os.cpu_count()} cores, torch {torch.__version__}"

"""One run, from its configuration to its record."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from toolkit import __version__, machine, provenance
from toolkit.contrast import distributed, memory
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.training import checkpoints, kept
from toolkit.training.evaluation import Evaluation
from toolkit.training.folder import check_own
from toolkit.training.loop import Loop, Progress, measure
from toolkit.training.preparation import Run, device, load_encoder, make_optimizer, prepare
from toolkit.training.tracking import tracked
from toolkit.writing import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHECKPOINT_SECONDS = 60.0


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

        outcome = Loop(run, model, optimizer, folder, shown, checkpoint_seconds).go()
        final = measure(run, model) if math.isfinite(outcome.loss) else None
        if final is not None and not math.isfinite(final.loss):
            final = None
        record = _record(run, outcome.steps, outcome.seconds, final)
        track.end(record)
    if folder is not None and distributed.rank() == 0:
        if keep and final is not None:
            kept.keep(folder, config, model)
        write_atomically(folder / "record.json", record.to_json())
        checkpoints.remove(folder)
    return record, model


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

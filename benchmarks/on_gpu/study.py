"""The study's own range: the runs of a sweep, the cheapest first, each without its notebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

from on_gpu.keeping import Figure
from on_gpu.place import Place, easy_pairs
from toolkit.runs import RunConfig
from toolkit.sweep import throughput
from toolkit.sweep.folders import RunFolder
from toolkit.sweep.plan import Plan, cost, read_plan

# A run that is cut short loses no more than this.
CHECKPOINT_SECONDS = 20.0


def figures(place: Place) -> Iterator[Figure]:
    """One a run; its record and its checkpoints lie in the sweep's folder."""
    if place.small:
        for name in ("full", "freeze"):
            config = RunConfig("small-3k", 1e9, name, batch_pairs=16, candidates=64)
            folder = RunFolder(place.folder / "study" / config.run_id, config)
            yield Figure(config.run_id, small_run, (folder,))
        return
    plan = read_plan(place.sweep)
    for config in sorted(plan.configs, key=lambda config: cost(config).flop):
        yield Figure(config.run_id, one_run, (plan, config))


def one_run(plan: Plan, config: RunConfig) -> dict[str, Any]:
    """A run to its end, and the sweep's table with it."""
    from toolkit.sweep.execution import write_table

    folder = plan.run_folder(config)
    known = folder.state().ended
    found = finish(folder)
    record = folder.state().record
    if record is not None and not known:
        device = throughput.device_of(record.hardware)
        throughput.keep({device: throughput.of_records([record])})
    write_table(plan, plan.states())
    return found


def small_run(folder: RunFolder) -> dict[str, Any]:
    """The same on pairs that nothing has to be read for."""
    from toolkit.training import preparation

    with mock.patch.object(preparation, "tokenise", lambda *_, **__: easy_pairs()):
        return finish(folder)


def finish(folder: RunFolder) -> dict[str, Any]:
    """Train from where the folder stands."""
    from toolkit.training.run import train

    state = folder.state()
    record = state.record
    if record is None:
        folder.check()
        folder.prepare()
        record = train(folder.config, folder.path, checkpoint_seconds=CHECKPOINT_SECONDS)
    return {
        "status": record.status,
        "loss": record.loss,
        "steps": record.steps,
        "model flop": record.flop_model,
        "trained seconds": record.seconds,
        "model flop a second": record.flop_model / max(record.seconds, 1e-9),
    }

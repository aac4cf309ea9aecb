"""A run's losses on the way, sent to TensorBoard, MLflow or Weights & Biases by accelerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.runs import RunConfig, RunRecord
    from toolkit.training.run import Progress

PROJECT = "decoders-to-encoders"
_MEASURES = ("loss", "recall_at_1", "recall_at_10", "mrr", "flop_model", "seconds")


def check(tracking: str) -> None:
    """Make sure that a tracker can be had.

    Raises:
        ToolkitError: Its package is not installed.
    """
    if tracking == "none":
        return
    for package in ("accelerate", tracking):
        if find_spec(package) is None:
            raise ToolkitError(f"tracking: {tracking} needs `pip install {package}`")


class Track:
    """What one run tells its tracker; without one, nothing."""

    def __init__(self, tracker: Any = None) -> None:
        self._tracker = tracker

    def step(self, point: Progress) -> None:
        """A step's training loss, and the held-out one where it was measured."""
        if self._tracker is None:
            return
        values = {"train/loss": point.loss, "flop": point.flop}
        if point.held_out is not None:
            values["held_out/loss"] = point.held_out
        self._tracker.log(values, step=point.step)

    def end(self, record: RunRecord) -> None:
        """What came of the run."""
        if self._tracker is not None:
            values = {f"final/{name}": getattr(record, name) for name in _MEASURES}
            self._tracker.log(values, step=record.steps)


@contextmanager
def tracked(
    config: RunConfig, folder: Path | None, start: Callable | None = None
) -> Iterator[Track]:
    """Within it a run is tracked as its configuration asks.

    TensorBoard's files go to `tracking/` of the run's folder (of this one where it has none). Where
    the others send theirs is their own matter: `MLFLOW_TRACKING_URI`, `WANDB_MODE` and the like.

    Args:
        config: Of the run. folder: Of the run, if it has one. start: Makes the tracker; None for
            accelerate's.

    Raises:
        ToolkitError: Its package is not installed.
    """
    from toolkit.contrast import distributed

    if config.tracking == "none" or distributed.rank() > 0:
        yield Track()
        return
    check(config.tracking)
    tracker = (start or _start)(config, folder or Path())
    try:
        yield Track(tracker)
    finally:
        tracker.finish()


def _start(config: RunConfig, folder: Path) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind: Any = LOGGER_TYPE_TO_CLASS[config.tracking]
    settings: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": "tracking", "logging_dir": folder},
        "mlflow": {"experiment_name": PROJECT, "run_name": config.run_id},
        "wandb": {"run_name": PROJECT, "name": config.run_id, "dir": str(folder)},
    }
    tracker = kind(**settings[config.tracking])
    tracker.start()
    values = {key: value for key, value in config.to_dict().items() if value is not None}
    plain = {k: v if isinstance(v, (bool, str, float, int)) else str(v) for k, v in values.items()}
    tracker.store_init_configuration(plain)
    return tracker

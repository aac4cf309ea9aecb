"""A run's losses on the way, sent to TensorBoard, MLflow or Weights & Biases by accelerate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from toolkit.cache import cache_folder
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.records import RunRecord
    from toolkit.runs import RunConfig
    from toolkit.training.loop import Progress

PROJECT = "decoders-to-encoders"
_PATIENCE = 300  # Seconds that a run waits for others to begin with their tracker.
RESULT = "result"  # Before the names of what came of a run, so that they are no other's.
_MEASURES = (
    "loss", "recall_at_1", "recall_at_10", "mrr", "params", "trainable", "tokens", "pairs",
    "unique_pairs", "steps", "flop_paper", "flop_model", "flop_hardware", "seconds",
)  # fmt: skip


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
    """What one run tells its tracker; without one, nothing.

    A tracker that fails (no network, no login, a full disk) is warned of once and left: the run
    that it watches is worth more than what it was told.
    """

    def __init__(self, name: str = "none", start: Callable[[], Any] | None = None) -> None:
        self._name = name
        self._tracker: Any = None
        if start is not None:
            self._tracker = self._tried(start)

    def step(self, point: Progress) -> None:
        """A step's training loss, and the held-out one where it was measured."""
        values = {"train/loss": point.loss, "flop": point.flop}
        if point.held_out is not None:
            values["held_out/loss"] = point.held_out
        self._log(values, point.step)

    def end(self, record: RunRecord) -> None:
        """What came of the run, under the names of the run table."""
        values = {f"{RESULT}/{name}": getattr(record, name) for name in _MEASURES}
        self._log(values, record.steps)

    def finish(self) -> None:
        """Have the tracker keep what it was told."""
        if self._tracker is not None:
            self._tried(self._tracker.finish)

    def _log(self, values: dict[str, float], step: int) -> None:
        if self._tracker is not None:
            self._tried(lambda: self._tracker.log(values, step=step))

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # trackers fail in many ways, none of which is the run's
            if self._tracker is not None:
                _closed(self._tracker)
            self._tracker = None
            said = ToolkitError(f"{type(error).__name__}: {error}")
            warnings.warn(
                f"tracking: {self._name} failed, and this run goes on without it: {said}",
                stacklevel=2,
            )
            return None


def _closed(tracker: Any) -> None:
    """Leave a tracker that failed, so that the next run of this process has one of its own."""
    with suppress(Exception):
        tracker.finish()


@contextmanager
def tracked(
    config: RunConfig,
    folder: Path | None,
    resolved: Mapping[str, Any],
    start: Callable | None = None,
) -> Iterator[Track]:
    """Within it a run is tracked as its configuration asks.

    TensorBoard's files go to `tracking/` of the run's folder (of this one where it has none). Where
    the others send theirs is their own matter: `MLFLOW_TRACKING_URI`, `WANDB_MODE` and the like.

    Args:
        config: Of the run. folder: Of the run, if it has one. resolved: What became of
            fields that were left to their defaults. start: Makes the tracker; None: accelerate.

    Raises:
        ToolkitError: Its package is not installed.
    """
    from toolkit.contrast import distributed

    if config.tracking == "none" or distributed.rank() > 0:
        yield Track()
        return
    check(config.tracking)
    track = Track(config.tracking, lambda: (start or _start)(config, folder or Path(), resolved))
    try:
        yield track
    finally:
        track.finish()


def _start(config: RunConfig, folder: Path, resolved: Mapping[str, Any]) -> Any:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState()  # Its trackers write to a log of accelerate's, which asks for this first.
    kind: Any = LOGGER_TYPE_TO_CLASS[config.tracking]
    settings: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": "tracking", "logging_dir": folder},
        "mlflow": {"experiment_name": PROJECT, "run_name": config.run_id},
        "wandb": {"run_name": PROJECT, "name": config.run_id, "dir": str(folder)},
    }
    tracker = kind(**settings[config.tracking])
    values = {k: v for k, v in {**config.to_dict(), **resolved}.items() if v is not None}
    plain = {k: v if isinstance(v, (bool, str, float, int)) else str(v) for k, v in values.items()}
    try:
        # Several workers at a fresh store of MLflow's would all make its tables: one at a time.
        with FileLock(cache_folder() / "tracking.lock", timeout=_PATIENCE):
            tracker.start()
        tracker.store_init_configuration(plain)
    except Exception:
        _closed(tracker)
        raise
    return tracker

"""A run's folder: the evidence of what became of the run, and the lock of whoever works on it.

The state of a run is read from its folder and from nowhere else:

| state | evidence |
|---|---|
| finished, diverged | `record.json`, whole and of this very configuration |
| running | the lock is held by a living process (the system frees it when that process dies) |
| failed | `failure.json` says so, with the reason: it is not tried again unless asked for |
| interrupted | `config.json`, and none of the above; `failure.json` may add why |
| planned | nothing |

A notebook's own opinion of itself is never evidence.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.records import ENDED, RunRecord, read_record
from toolkit.runs import RunConfig
from toolkit.sweep import locks
from toolkit.writing import write_atomically

STATES = ("planned", "running", "interrupted", "failed", "diverged", "finished")


@dataclass(frozen=True)
class RunState:
    """What became of a run.

    Attributes:
        config: As planned.
        name: One of `STATES`.
        reason: Why it failed, diverged or was interrupted, or what is wrong with its record.
        record: Where it finished or diverged.
        seconds: Spent on it in vain, where it failed or was interrupted and that is known.
        wall: Seconds of the attempt that it ended in, where this process made it.
    """

    config: RunConfig
    name: str
    reason: str = ""
    record: RunRecord | None = None
    seconds: float = 0.0
    wall: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether there is a result: finished or diverged."""
        return self.name in ENDED

    def due(self, retry_failed: bool) -> bool:
        """Whether a sweep runs it: one that failed for its own reasons only where asked to."""
        return not self.ended and (retry_failed or self.name != "failed")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, `<sweep>/runs/<run id>`.

    Attributes:
        path: Its place. config: The run that belongs there.
        keep: Whether its encoder is to stay there (`toolkit.training.kept`).
    """

    path: Path
    config: RunConfig
    keep: bool = False

    @property
    def record(self) -> Path:
        return self.path / "record.json"

    @property
    def failure(self) -> Path:
        return self.path / "failure.json"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def notebook(self) -> Path:
        """The executed notebook; until the run has ended it is `running_notebook`."""
        return self.path / "train.ipynb"

    @property
    def running_notebook(self) -> Path:
        return self.path / "running.ipynb"

    def state(self) -> RunState:
        """The run's state: running if the lock is held and there is no result yet."""
        held = locks.is_held(self.lock)  # Asked first: a run that ends meanwhile has its record.
        state = self.evidence()
        return RunState(self.config, "running") if held and not state.ended else state

    def evidence(self) -> RunState:
        """The run's state by what is in its folder, whoever may be at work there."""
        if not self.path.exists():
            return RunState(self.config, "planned")
        damage = ""
        try:
            record = read_record(self.record, self.config)
            return RunState(self.config, record.status, record.reason, record)
        except ToolkitError as error:
            if self.record.exists():
                damage = str(error)
        failed, reason, seconds = self._read_failure()
        if failed and not damage:
            return RunState(self.config, "failed", reason, seconds=seconds)
        if damage or (self.path / "config.json").exists():
            reason = damage or reason or "it was stopped before its end"
            return RunState(self.config, "interrupted", reason, seconds=seconds)
        return RunState(self.config, "planned")

    def check(self) -> None:
        """Make sure that the folder is within the sweep's own.

        Raises:
            ToolkitError: It is a link, which could lead anywhere.
        """
        for path in (self.path, self.path.parent):
            if path.is_symlink():
                raise ToolkitError(f"{path} is a link; a sweep writes into its own folder only")

    def prepare(self) -> None:
        """Make the folder ready for a new attempt: what is damaged or another's is moved aside."""
        self.path.mkdir(parents=True, exist_ok=True)
        for litter in self.path.glob(".*.tmp"):  # Of a write that never came to its end.
            if litter.is_dir() and not litter.is_symlink():
                shutil.rmtree(litter)
            else:
                litter.unlink(missing_ok=True)
        if self.record.exists():
            with contextlib.suppress(ToolkitError):
                read_record(self.record, self.config)
                return
            self.set_aside()
        self.failure.unlink(missing_ok=True)
        config = json.dumps(self.config.to_dict(), indent=1, ensure_ascii=False) + "\n"
        write_atomically(self.path / "config.json", config)

    def set_aside(self) -> None:
        """Move a record that is damaged or another run's out of the way, and keep it."""
        os.replace(self.record, _unused(self.path, "record.damaged"))

    def fail(self, reason: str, seconds: float, *, interrupted: bool = False) -> None:
        """Note why there is no record. Without a note the run counts as interrupted."""
        note = {"interrupted": interrupted, "reason": reason, "seconds": round(seconds, 3)}
        write_atomically(self.failure, json.dumps(note, indent=1) + "\n")

    @property
    def lock(self) -> Path:
        """Held by whoever works on the run, and by the run's kernel as long as it lives."""
        return self.path / "lock"

    def _read_failure(self) -> tuple[bool, str, float]:
        """Whether a failure is noted, its reason and seconds; a damaged note is none."""
        try:
            note = json.loads(self.failure.read_text(encoding="utf-8"))
            return not note["interrupted"], str(note["reason"]), float(note["seconds"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False, "", 0.0


def _unused(folder: Path, stem: str) -> Path:
    number = 1
    while (folder / f"{stem}-{number}.json").exists():
        number += 1
    return folder / f"{stem}-{number}.json"

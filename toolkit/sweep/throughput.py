"""How fast this machine trains: seen in finished runs, kept in the cache, used for what comes.

A run's seconds are predicted from the rate of the runs most like it: of the same method and
precision, of the nearest size and batch, on the same device with as many threads. Where nothing has
been seen yet a probe does (`toolkit.sweep.probe`), or a rough guess.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from toolkit import hardware, machine
from toolkit.cache import cache_folder
from toolkit.decoders import catalogued
from toolkit.errors import ToolkitError
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.text import duration
from toolkit.writing import write_atomically

FILE = "throughput.json"
# The newest so many are kept, of each device.
_MOST = 400
# Of those that are equally like a run the newest so many tell its rate.
_NEWEST = 5
# What a run takes besides training, where none has been seen: kernel, pairs, evaluation.
_GUESSED_OVERHEAD = 3.0
# How unlike two runs are: a factor of e in size counts 1, and these beside it.
_OTHER_METHOD, _OTHER_PRECISION, _BATCH, _OTHER_PATH = 0.5, 1.0, 0.2, 1.0


@dataclass(frozen=True)
class Seen:
    """A finished run, or a probe of one: its size, method, precision and batch, its model FLOP a
    second, and whether its texts were padded."""

    params: int
    method: str
    precision: str
    batch_pairs: int
    rate: float
    padded: bool = False

    @classmethod
    def of(cls, record: RunRecord) -> Seen | None:
        """What a record tells; None where it has no time in it."""
        if record.seconds <= 0 or record.flop_model <= 0:
            return None
        return cls(
            record.params,
            record.config.method,
            record.precision,
            record.batch_pairs,
            record.flop_model / record.seconds,
            _padded(record.config),
        )

    def distance(
        self, params: int, method: str, precision: str, batch_pairs: int, padded: bool = False
    ) -> float:
        """How unlike a run of these it is; `auto` is any precision, since size decides that."""
        return (
            abs(math.log(self.params / params))
            + _OTHER_METHOD * (self.method != method)
            + _OTHER_PRECISION * (precision not in ("auto", self.precision))
            + _BATCH * abs(math.log(self.batch_pairs / batch_pairs))
            + _OTHER_PATH * (self.padded != padded)
        )


def _padded(config: RunConfig) -> bool:
    """Whether a run's texts were padded; not, where its decoder is no longer there to be asked."""
    if catalogued(config.decoder) is not None:
        return False
    from toolkit.contrast.paths import packs
    from toolkit.decoders import find

    try:
        return not packs(find(config.decoder), config.attention)
    except ToolkitError:
        return False


@dataclass(frozen=True)
class Throughput:
    """What is known of a device.

    Attributes:
        seen: Finished runs, or steps that a probe timed (`toolkit.sweep.probe`).
        overheads: Seconds that runs took besides training.
        probe_seconds: That the probe took; 0 for none.
    """

    seen: tuple[Seen, ...] = ()
    overheads: tuple[float, ...] = ()
    probe_seconds: float = 0.0

    @property
    def source(self) -> str:
        if self.probe_seconds:
            return f"a probe of {duration(self.probe_seconds)}"
        return f"{len(self.seen)} finished runs" if self.seen else "a guess"

    def rate(
        self, params: int, method: str, precision: str, batch_pairs: int, *, padding: float = 1.0
    ) -> float:
        """Model FLOP a second of such a run.

        The median of the newest runs most like it, carried over to its size along the guess's
        slope: what else a machine does changes from day to day.

        Args:
            padding: FLOP that it executes over those without padding; above 1, what is known of
                runs that were not padded is taken to be so many times slower.
        """
        if not self.seen:
            return hardware.guess_cpu_rate(params) / padding
        padded = padding > 1
        distances = [x.distance(params, method, precision, batch_pairs, padded) for x in self.seen]
        near = min(distances) + 1e-9
        rates = [
            (x.rate if x.padded else x.rate / padding)
            * hardware.guess_cpu_rate(params)
            / hardware.guess_cpu_rate(x.params)
            for x, distance in zip(self.seen, distances, strict=True)
            if distance <= near
        ]
        return median(rates[-_NEWEST:])

    @property
    def overhead(self) -> float:
        """Seconds that a run takes besides training."""
        return median(self.overheads) if self.overheads else _GUESSED_OVERHEAD

    def __add__(self, other: Throughput) -> Throughput:
        return Throughput(
            self.seen + other.seen,
            self.overheads + other.overheads,
            self.probe_seconds + other.probe_seconds,
        )


def of_records(records: Iterable[RunRecord]) -> Throughput:
    """What finished runs tell."""
    return Throughput(tuple(seen for record in records if (seen := Seen.of(record)) is not None))


def device_of(hardware_text: str) -> str:
    """A record's device, without the version of torch."""
    return re.sub(r", torch .*?(?=$|, \d+ processes)", "", hardware_text)


def expected_device(workers: int) -> str:
    """What a record of a run here will name, told without torch: a GPU, or the cores."""
    names = machine.gpu_names()
    if names and hardware.visible_gpus():
        return names[0]
    threads = max(1, hardware.cpu_cores() // workers)
    return f"{machine.processor()}, {threads} of {os.cpu_count()} cores"


def known(device: str) -> Throughput:
    """What the cache holds of a device; nothing where there is no file or it is damaged."""
    return _parsed(_read(_path()).get(device, {}))


def keep(found: Mapping[str, Throughput]) -> None:
    """Add what was seen, by device, to the cache; where it cannot be written it is lost."""
    with contextlib.suppress(OSError, ToolkitError):
        path = _path()
        everything = _read(path)
        for device, new in found.items():
            both = _parsed(everything.get(device, {})) + new
            everything[device] = {
                "runs": [asdict(seen) for seen in both.seen[-_MOST:]],
                "overheads": list(both.overheads[-_MOST:]),
            }
        write_atomically(path, json.dumps(everything, indent=1) + "\n")


def _path() -> Path:
    return cache_folder() / FILE


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    except (OSError, ValueError):
        return {}


def _parsed(values: Any) -> Throughput:
    try:
        seen = tuple(Seen(**each) for each in values.get("runs", ()))
        overheads = tuple(float(x) for x in values.get("overheads", ()))
        if any(not (x.rate > 0 and x.params > 0 and x.batch_pairs > 0) for x in seen):
            return Throughput()
        return Throughput(seen, overheads)
    except (AttributeError, TypeError, ValueError):
        return Throughput()

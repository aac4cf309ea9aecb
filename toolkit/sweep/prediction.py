"""What a sweep was predicted to take, beside what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from toolkit.runs import RunConfig
from toolkit.sweep import throughput
from toolkit.sweep.folders import RunState
from toolkit.sweep.plan import RunCost, makespan
from toolkit.sweep.throughput import Seen, Throughput


@dataclass
class Prediction:
    """Kept while a sweep runs, and read at its end.

    Attributes:
        seen: What it was predicted from. prices: Of each run.
        seconds: Of the whole call, predicted, with the probe that it began with.
        ratios: Of each run that began anew, its seconds of training over those predicted.
        by_device: What the runs tell of the machine.
    """

    seen: Throughput
    prices: Mapping[RunConfig, RunCost]
    seconds: float
    ratios: list[float] = field(default_factory=list)
    by_device: dict[str, Throughput] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        seen: Throughput,
        prices: Mapping[RunConfig, RunCost],
        turns: Iterable[Sequence[RunConfig]],
        workers: int,
    ) -> Prediction:
        """For runs made in these turns, one turn after the other, so many at a time."""
        turned = (makespan([prices[x].seconds(seen) for x in turn], workers) for turn in turns)
        return cls(seen, prices, seen.probe_seconds + sum(turned))

    def note(self, state: RunState) -> None:
        """Take in a run that has ended, and have the machine remember it."""
        record = state.record
        tells = Seen.of(record) if record is not None else None
        if record is None or tells is None:
            return
        self.ratios.append(record.seconds / self.prices[state.config].training_seconds(self.seen))
        besides = state.wall - record.seconds
        overheads = (besides,) if besides > 0 and not record.flop_inherited else ()
        device = throughput.device_of(record.hardware)
        known = self.by_device.get(device, Throughput())
        self.by_device[device] = known + Throughput((tells,), overheads)

    def keep(self) -> None:
        """Add it to what the machine is known for."""
        throughput.keep(self.by_device)

    def told(self, seconds: float) -> str:
        """Predicted and true, in a sentence's numbers; empty where nothing was made."""
        from toolkit.text import duration

        if not self.ratios:
            return ""
        off = seconds / self.seconds - 1
        runs = sorted(ratio - 1 for ratio in self.ratios)
        return (
            f"predicted {duration(self.seconds)} (from {self.seen.source}), took "
            f"{duration(seconds)}: {off:+.0%}; a run's training {median(runs):+.0%} at the median "
            f"({runs[0]:+.0%} to {runs[-1]:+.0%})"
        )

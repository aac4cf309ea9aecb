"""The rate and the batch of a calibration's runs: what they tell, and which come next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.calibrate.candidates import Candidates, power_of_two
from toolkit.calibrate.pool import Pool, Runs
from toolkit.calibrate.tuning import BATCH, RATE, Tuned, Tuning
from toolkit.sweep.folders import RunState

AT_CHANCE = 0.999


@dataclass(frozen=True, eq=False)
class Settings:
    """What runs tell of the settings: the rates of each method, the batch of all."""

    candidates: Candidates
    pool: Pool
    rates: Mapping[str, Tuning]
    batch: Tuning

    @classmethod
    def of(cls, candidates: Candidates, states: Sequence[RunState], pool: Pool) -> Settings:
        tried = candidates.tried(states, pool)
        rates = {m: Tuning.of(RATE, tried[m], pool.target) for m in candidates.asked.methods}
        return cls(candidates, pool, rates, Tuning.of(BATCH, tried["batch"], pool.target))

    def fields(self, choice: int, flop: float) -> dict[str, object]:
        """A run of a choice with the best settings so far."""
        return self.candidates.fields(choice, flop, *self._factors(choice, flop))

    def steps(self, choice: int, flop: float) -> int:
        """Of such a run."""
        return self.candidates.steps(choice, flop, self._factors(choice, flop)[1])

    def _factors(self, choice: int, flop: float) -> tuple[float, float]:
        rate = self.rates[self.candidates.methods[choice]].at(flop).factor
        if not self.candidates.tunes_batch:
            return rate, 1.0
        pairs = self._pairs(choice, flop, self.batch.at(flop).factor)
        return rate, pairs / self.candidates.default_batch(choice, flop)

    def _pairs(self, choice: int, flop: float, factor: float) -> int:
        """A batch of so many times the default, no larger than there are distinct pairs."""
        pairs = power_of_two(self.candidates.default_batch(choice, flop) * factor)
        while pairs > self.pool.unique:
            pairs //= 2
        return pairs

    def runs(self, states: Sequence[RunState]) -> Runs:
        """Finished runs, of several settings of one choice and budget the best, each as it is
        expected to be with the settings that would be taken now.

        Else a law would take for size or budget what is due to a rate or batch since mended.
        """
        chance = AT_CHANCE * self.pool.chance
        best: dict[tuple[int, float], tuple[float, float]] = {}
        for choice, state in self.candidates.finished(states):
            assert state.record is not None
            loss, key = state.record.loss, (choice, state.config.budget_flop)
            mended = min(chance, loss * math.exp(-self._excess(choice, state)))
            best[key] = min((loss, mended), best.get(key, (math.inf, math.inf)))
        if not best:
            return Runs.none()
        return Runs(
            np.array([choice for choice, _ in best]),
            np.array([flop for _, flop in best]),
            np.array([mended for _, mended in best.values()]),
        )

    def _excess(self, choice: int, state: RunState) -> float:
        """By how much a run's settings raise ln L above what the best ones so far would give."""
        assert state.record is not None
        flop, (rate, batch) = state.config.budget_flop, self.candidates.factors(choice, state)
        raised = self.rates[state.config.method].excess(flop, rate)
        if self.candidates.tunes_batch:
            raised += self.batch.excess(flop, batch)
        return self.candidates.felt(min(state.record.loss, self.pool.chance), self.pool) * raised

    def target_rate(self, choice: int) -> tuple[Tuned, tuple[float, float, float]]:
        """The factor for the target, and the rate with its interval."""
        tuned = self.rates[self.candidates.methods[choice]].at(self.pool.target)
        default = self.candidates.default_rate(choice)
        return tuned, (default * tuned.factor, default * tuned.low, default * tuned.high)

    def target_batch(self, choice: int) -> tuple[Tuned | None, tuple[int, int, int]]:
        """The factor for the target, None where the batch was asked for, and pairs a step."""
        target = self.pool.target
        if not self.candidates.tunes_batch:
            default = self.candidates.default_batch(choice, target)
            return None, (default, default, default)
        tuned = self.batch.at(target)
        middle, low, high = (
            self._pairs(choice, target, factor) for factor in (tuned.factor, tuned.low, tuned.high)
        )
        return tuned, (middle, low, high)

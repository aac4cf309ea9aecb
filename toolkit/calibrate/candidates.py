"""From names to a pool: what each decoder and method costs, and what their records came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit import decoders
from toolkit.calibrate.book import Asked
from toolkit.calibrate.design import OPENING, opening
from toolkit.calibrate.pool import Pool, Runs
from toolkit.calibrate.rates import Tried
from toolkit.errors import ToolkitError, refuse
from toolkit.laws.optimiser import Mask
from toolkit.methods import METHODS
from toolkit.pairs.lengths import mean_tokens
from toolkit.recipe.costs import flop_per_pair
from toolkit.runs import RunConfig
from toolkit.sweep.folders import RunState
from toolkit.sweep.plan import cost
from toolkit.sweep.preflight import problems
from toolkit.text import scientific

MIN_STEPS = 50  # Fewer say nothing.
AT_CHANCE = 0.999


@dataclass(frozen=True, eq=False)
class Candidates:
    """Names behind a pool. `names` (q,) decoders, `config` makes a run of one."""

    asked: Asked
    names: tuple[str, ...]
    methods: tuple[str, ...]

    @classmethod
    def of(cls, asked: Asked) -> Candidates:
        """Every decoder with every method, the likely method first.

        Raises:
            ToolkitError: One decoder alone, or two of one size; or one is unknown.
        """
        found: dict[int, str] = {}
        for name in asked.decoders:
            params = decoders.find(name).params
            if found.setdefault(params, name) != name:
                raise ToolkitError(f"{found[params]} and {name} have the same size: name one")
        if len(found) < 2:
            raise ToolkitError(
                "a calibration chooses among decoders: name two or more, --decoders a,b,c"
            )
        order = [found[p] for p in sorted(found)]
        pairs = [(m, d) for m in asked.methods for d in order]
        return cls(asked, tuple(d for _, d in pairs), tuple(m for m, _ in pairs))

    def config(self, choice: int, flop: float, factor: float | None = None) -> RunConfig:
        """A run of a choice, at a multiple of the decoder's default rate."""
        values = {**self.asked.base, **self.fields(choice, flop, factor)}
        return RunConfig.from_dict(values)

    def fields(self, choice: int, flop: float, factor: float | None = None) -> dict[str, object]:
        """What sets a run apart from the others of the sweep."""
        values: dict[str, object] = {
            "decoder": self.names[choice],
            "method": self.methods[choice],
            "budget_flop": float(f"{flop:.4g}"),
        }
        if factor is not None and abs(math.log(factor)) > 0.02:
            rate = METHODS[self.methods[choice]].learning_rate(decoders.find(self.names[choice]))
            values["lr"] = float(f"{rate * factor:.3g}")
        return values

    def steps(self, choice: int, flop: float) -> int:
        """Steps that so much buys; 0 where it buys none, or the method does not fit."""
        try:
            return cost(self.config(choice, flop)).steps
        except ToolkitError:
            return 0

    def least(self, choice: int) -> float:
        """FLOP of the shortest run worth making of a choice; infinite where it cannot be made."""
        flop = OPENING * self.asked.target
        while self.steps(choice, flop) < MIN_STEPS:
            flop *= 2
            if flop > 1e30:
                cost(self.config(choice, flop))  # Says why, where the method does not fit.
                return math.inf
        low = flop / 2
        if self.steps(choice, low) >= MIN_STEPS:
            return low
        for _ in range(12):
            middle = math.sqrt(low * flop)
            low, flop = (low, middle) if self.steps(choice, middle) >= MIN_STEPS else (middle, flop)
        return flop

    def check(self) -> None:
        """Make sure that the money is enough for a first round, and not more than the target.

        Raises:
            ToolkitError: It is not; says what the least is. Or the pairs cannot be read.
        """
        asked = self.asked
        if asked.spend >= asked.target:
            raise ToolkitError(
                f"--spend is {scientific(asked.spend)} FLOP, as much as the target of "
                f"{scientific(asked.target)} itself: a tenth of it is usual"
            )
        count = len(asked.decoders)
        if max(self.steps(c, asked.target) for c in range(count)) < MIN_STEPS:
            least = min(self.least(c) for c in range(count))
            raise ToolkitError(
                f"a target of {scientific(asked.target)} FLOP does not buy {MIN_STEPS} steps of "
                f"any decoder; the cheapest run worth making takes {scientific(least)}"
            )
        refuse(problems(self.config(0, asked.target)), f"{self.names[0]}: ")
        for choice in range(len(self.names)):  # Of which nothing can be bought at all.
            self.least(choice)
        least = 2 * sum(flop for _, flop in self.opening())
        if asked.spend < least * (1 - 1e-6):
            raise ToolkitError(
                f"--spend is {scientific(asked.spend, 3)} FLOP; one round, two rates at each of "
                f"two sizes, takes {scientific(least, 3)} at the least, "
                f"{100 * least / asked.target:.2g} % of the target"
            )

    def opening(self) -> list[tuple[int, float]]:
        """Choice and FLOP of the two places of the first round."""
        pool, likely = self.pool(), np.array([m == self.asked.methods[0] for m in self.methods])
        possible = self.possible(OPENING * pool.target)
        steps = opening(pool, possible if (possible & likely).sum() > 1 else None)
        return [(s.choice, max(s.flop, self.least(s.choice))) for s in steps]

    def possible(self, flop: float) -> Mask:
        """(q,) choices of which so much is a run worth making."""
        return np.array([self.steps(c, flop) >= MIN_STEPS for c in range(len(self.names))])

    def pool(self, states: Sequence[RunState] = ()) -> Pool:
        """The pool, its prices, pairs and candidates as the runs so far had them."""
        records = [s.record for s in states if s.record is not None]
        likely = self.config(0, self.asked.target)
        paid: dict[tuple[str, str], float] = {}
        for r in records:
            paid[r.config.method, r.config.decoder] = r.config.budget_flop / max(1, r.pairs)
        if records:
            tokens = sum(r.tokens for r in records) / max(1, sum(r.pairs for r in records))
        else:
            vocabulary = decoders.find(self.names[0]).shape.vocabulary
            tokens = sum(mean_tokens(likely.source, vocabulary, likely.max_tokens))
        counted = [
            flop_per_pair(decoders.find(d).shape, d, m, tokens, likely.flop_convention)
            for d, m in zip(self.names, self.methods, strict=True)
        ]
        known = [
            paid[m, d] / c
            for c, d, m in zip(counted, self.names, self.methods, strict=True)
            if (m, d) in paid and c > 0
        ]
        ratio = float(np.median(known)) if known else 1.0
        price = [
            paid.get((m, d), ratio * c)
            for c, d, m in zip(counted, self.names, self.methods, strict=True)
        ]
        sizes = [decoders.find(d).params for d in self.names]
        ladder = np.unique(np.array(sizes, float))
        single = {decoders.find(d).params for d in self.names if decoders.find(d).shape.layers == 1}
        return Pool(
            target=self.asked.target,
            methods=self.asked.methods,
            method=np.array([self.asked.methods.index(m) for m in self.methods]),
            decoders=ladder,
            decoder=np.searchsorted(ladder, sizes),
            single=np.isin(ladder, list(single)),
            flop_per_pair=np.array([p if p > 0 else np.inf for p in price]),
            unique=float(max((r.unique_pairs for r in records), default=math.inf)),
            chance=math.log(likely.candidates),
        )

    def runs(self, states: Sequence[RunState], pool: Pool) -> Runs:
        """Finished runs below chance, of several rates of one choice and budget the best."""
        best: dict[tuple[int, float], float] = {}
        for choice, state in self._finished(states):
            assert state.record is not None
            key = (choice, state.config.budget_flop)
            loss = min(state.record.loss, AT_CHANCE * pool.chance)
            best[key] = min(loss, best.get(key, math.inf))
        if not best:
            return Runs.none()
        made = list(best)
        return Runs(
            np.array([choice for choice, _ in made]),
            np.array([flop for _, flop in made]),
            np.array(list(best.values())),
        )

    def rates(self, states: Sequence[RunState], pool: Pool, method: str) -> list[Tried]:
        """Where rates of a method were compared."""
        cells: dict[tuple[int, float], dict[float, float]] = {}
        for choice, state in self._finished(states):
            if state.config.method != method or state.record is None:
                continue
            rate = METHODS[method].learning_rate(decoders.find(state.config.decoder))
            cell = cells.setdefault((choice, state.config.budget_flop), {})
            cell[state.record.lr / rate] = state.record.loss
        out = []
        for (_, flop), losses in cells.items():
            felt = float(np.clip(2 * (1 - min(losses.values()) / pool.chance), 0.05, 1.5))
            out.append(Tried(flop, tuple(losses), tuple(losses.values()), felt))
        return out

    def _finished(self, states: Sequence[RunState]) -> list[tuple[int, RunState]]:
        place = {pair: c for c, pair in enumerate(zip(self.methods, self.names, strict=True))}
        return [
            (place[s.config.method, s.config.decoder], s) for s in states if s.name == "finished"
        ]

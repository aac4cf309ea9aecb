"""From names to a pool: what each decoder and method costs, and what their records came to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit import decoders
from toolkit.calibrate.book import Asked
from toolkit.calibrate.design import OPENING, opening
from toolkit.calibrate.pool import Pool
from toolkit.calibrate.tuning import Tried
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
from toolkit.training import defaults

MIN_STEPS = 50  # Fewer say nothing.
RATE = 3.0  # Times the default, tried beside it at both sizes of the first round.
BATCH = 4.0  # Times the default at the larger of them, or by so much smaller.


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

    def config(self, choice: int, flop: float, rate: float = 1.0, batch: float = 1.0) -> RunConfig:
        """A run of a choice, its rate and batch as multiples of the decoder's defaults."""
        values = {**self.asked.base, **self.fields(choice, flop, rate, batch)}
        return RunConfig.from_dict(values)

    def fields(
        self, choice: int, flop: float, rate: float = 1.0, batch: float = 1.0
    ) -> dict[str, object]:
        """What sets a run apart from the others of the sweep."""
        values: dict[str, object] = {
            "decoder": self.names[choice],
            "method": self.methods[choice],
            "budget_flop": float(f"{flop:.4g}"),
        }
        if abs(math.log(rate)) > 0.02:
            values["lr"] = float(f"{self.default_rate(choice) * rate:.3g}")
        default = self.default_batch(choice, flop)
        if self.tunes_batch and (pairs := power_of_two(default * batch)) != default:
            values["batch_pairs"] = pairs
        return values

    @property
    def tunes_batch(self) -> bool:
        """Whether the batch is to be found; not, where it was asked for."""
        return self.asked.base.get("batch_pairs") is None

    def default_rate(self, choice: int) -> float:
        return METHODS[self.methods[choice]].learning_rate(decoders.find(self.names[choice]))

    def default_batch(self, choice: int, flop: float) -> int:
        """Pairs a step where nothing is known of the batch."""
        asked = self.asked.base.get("batch_pairs")
        return asked or defaults.batch_pairs(decoders.find(self.names[choice]), flop)

    def steps(self, choice: int, flop: float, batch: float = 1.0) -> int:
        """Steps that so much buys; 0 where it buys none, or the method does not fit."""
        try:
            return cost(self.config(choice, flop, batch=batch)).steps
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
            ToolkitError: It is not; says what the least is. Or runs cannot start.
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
        self.check_runs()
        for choice in range(len(self.names)):  # Of which nothing can be bought at all.
            self.least(choice)
        first = self.opening()
        least = sum(float(str(run["budget_flop"])) for run in first)
        if asked.spend < least * (1 - 1e-3):
            raise ToolkitError(
                f"--spend is {scientific(asked.spend, 3)} FLOP; one round, two rates at each of "
                f"two sizes{' and a second batch' * (len(first) > 4)}, takes "
                f"{scientific(least, 3)} at the least, {100 * least / asked.target:.2g} % of the "
                "target"
            )

    def check_runs(self) -> None:
        """Make sure that runs of every decoder can start: else none would ever be bought of it.

        Raises:
            ToolkitError: They cannot; says why, of the pairs for example.
        """
        for choice, name in enumerate(self.names[: len(self.asked.decoders)]):
            flop = max(self.asked.target, self.least(choice))
            refuse(problems(self.config(choice, flop)), f"{name}: ")

    def opening(self) -> tuple[dict[str, object], ...]:
        """The runs of the first round: two rates at each of two sizes, a second batch at one."""
        pool, likely = self.pool(), np.array([m == self.asked.methods[0] for m in self.methods])
        possible = self.possible(OPENING * pool.target)
        steps = opening(pool, possible if (possible & likely).sum() > 1 else None)
        places = [(s.choice, max(s.flop, self.least(s.choice))) for s in steps]
        runs = [self.fields(*place, rate) for place in places for rate in (1.0, RATE)]
        return (*runs, *self._second_batch(*places[-1]))

    def _second_batch(self, choice: int, flop: float) -> Iterator[dict[str, object]]:
        """A run with a larger batch, or a smaller one where that would leave it few steps."""
        if not self.tunes_batch:
            return
        for factor in (BATCH, 1 / BATCH):
            config = self.config(choice, flop, batch=factor)
            enough = self.steps(choice, flop, factor) >= 2 * MIN_STEPS
            if config != self.config(choice, flop) and enough and not problems(config):
                yield self.fields(choice, flop, batch=factor)
                return

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

    def tried(self, states: Sequence[RunState], pool: Pool) -> dict[str, list[Tried]]:
        """Where runs differ in one setting alone: rates by method, and "batch"."""
        cells: dict[tuple[str, int, float, float], dict[float, float]] = {}
        for choice, state in self.finished(states):
            assert state.record is not None
            rate, batch = self.factors(choice, state)
            place, loss = (choice, state.config.budget_flop), state.record.loss
            cells.setdefault((state.config.method, *place, batch), {})[rate] = loss
            cells.setdefault(("batch", *place, rate), {})[batch] = loss
        found: dict[str, list[Tried]] = {name: [] for name in ("batch", *self.asked.methods)}
        for (name, _, flop, _), losses in cells.items():
            felt = self.felt(min(losses.values()), pool)
            found[name].append(Tried(flop, tuple(losses), tuple(losses.values()), felt))
        return found

    def factors(self, choice: int, state: RunState) -> tuple[float, float]:
        """A finished run's rate and batch over the decoder's defaults."""
        assert state.record is not None
        default = self.default_batch(choice, state.config.budget_flop)
        return (
            float(f"{state.record.lr / self.default_rate(choice):.3g}"),
            state.record.batch_pairs / default,
        )

    def felt(self, loss: float, pool: Pool) -> float:
        """How much a wrong setting shows at a loss: 1 where half is learnt, 0 at chance."""
        return float(np.clip(2 * (1 - loss / pool.chance), 0.05, 1.5))

    def finished(self, states: Sequence[RunState]) -> list[tuple[int, RunState]]:
        place = {pair: c for c, pair in enumerate(zip(self.methods, self.names, strict=True))}
        return [
            (place[s.config.method, s.config.decoder], s) for s in states if s.name == "finished"
        ]


def power_of_two(pairs: float) -> int:
    """The nearest, of two pairs a step or more."""
    return int(2 ** max(1, round(math.log2(pairs))))

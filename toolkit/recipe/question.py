"""A budget and its limits, put to a study: every decoder and method, priced and predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from toolkit.decoders import find
from toolkit.errors import ToolkitError
from toolkit.laws import Estimate
from toolkit.laws.optimiser import Array
from toolkit.recipe.costs import encoding_flop
from toolkit.recipe.limits import UNLIMITED, Limits, Unaffordable
from toolkit.recipe.settings import Setting, own_settings, run_cost
from toolkit.recipe.study import Decoder, Study
from toolkit.recipe.tuning import COMMON

NEAR_OPTIMAL = 0.01
SUPPLIES = (1, 2, 4)  # Times the pairs at hand: would it pay to have more?
SURE = 0.9  # Of the draws, before a size that nobody tried is named at a budget that was.
SPAN = 12.0  # The ideal size is sought so many times beyond the decoders at hand.
GRID = 73


@dataclass(frozen=True)
class Choice:
    """A decoder with a method, at the budget.

    Attributes:
        decoder, params, method: What.
        pairs, tokens: That its run would see with the settings that it would have, repeats counted;
            NaN where the table does not tell.
        loss: Predicted held-out loss, the mean of runs.
        regret: Predicted loss above the recommended choice's, in nats, by the draws as they are, no
            loss cut at chance; they are paired.
        tried: Whether a run of the study has this decoder.
    """

    decoder: str
    params: int
    method: str
    pairs: float
    tokens: float
    loss: Estimate
    regret: Estimate
    tried: bool


@dataclass(frozen=True)
class Ideal:
    """The size that would be best if there were a decoder of every size, for the chosen method.

    An interval end is 0 or infinite where even the ends of what was searched may be best.
    """

    params: Estimate
    pairs: Estimate
    tokens: Estimate
    loss: Estimate


@dataclass(frozen=True)
class FormChoice:
    """Which link the surface has, and what the other would have said.

    Attributes:
        name: bounded or chinchilla. weight: Its share of the draws.
        margin: By how much (ln density) it predicted the largest budget better; NaN where there
            were too few budgets to tell.
        runner_up: The other's name, and its choice for this budget; empty where there is none.
    """

    name: str
    weight: float
    margin: float
    runner_up: str
    runner_up_choice: str


@dataclass(frozen=True)
class Data:
    """How much data: pairs, tokens and steps of the chosen decoder, repeats counted.

    Attributes:
        distinct: Those that there are: `max_pairs`, or the most that the runs had.
        epochs: Pairs over distinct pairs.
        supply: Where `max_pairs` was said: the predicted loss with so many distinct pairs.
    """

    pairs: float
    tokens: float
    steps: float
    tokens_per_pair: float
    distinct: float
    epochs: float
    supply: tuple[tuple[float, Estimate], ...]


class Question:
    """One question to a study: a budget and its limits, and the decoders that they allow."""

    def __init__(self, study: Study, budget_flop: float, limits: Limits = UNLIMITED) -> None:
        if not (budget_flop > 0 and math.isfinite(budget_flop)):
            raise ToolkitError(f"budget_flop must be a positive finite number, not {budget_flop}")
        self.study, self.budget_flop, self.limits = study, budget_flop, limits
        every = {d.params: d for d in self.study.hand}
        for name in limits.decoders:
            params = find(name).params
            every[params] = Decoder(name, params)
        cap = limits.max_params or math.inf
        allowed = [every[p] for p in sorted(every) if p <= cap]
        if not allowed:
            raise ToolkitError(
                f"no decoder at hand has at most {cap:,.0f} parameters; the smallest has "
                f"{min(every):,}"
            )
        hand = [d for d in allowed if self._training(np.array([float(d.params)]))[0] > 0]
        if not hand:
            raise Unaffordable(
                f"embedding {limits.queries:,.0f} texts takes more than the whole budget with "
                "every decoder at hand: raise the budget, or count on fewer texts"
            )
        self._offer(hand)
        self._losses: dict[str, Array] = {}
        trusted = [d.name in limits.decoders or self._within_tried(d.params) for d in hand]
        if any(trusted) and not all(trusted) and not self._sure_beyond():
            self._offer(list(compress(hand, trusted)))
            self._losses = {m: np.compress(trusted, d, axis=1) for m, d in self._losses.items()}

    def _offer(self, hand: Sequence[Decoder]) -> None:
        self.hand = tuple(hand)
        self.params = np.array([float(d.params) for d in hand])

    def _within_tried(self, params: int) -> bool:
        """Whether a size is among those tried, or above them as the budget is above its kind."""
        least, most = self.study.sizes
        above = params > most and self.budget_flop <= self.study.budgets[-1]
        return params >= least and not above

    def _sure_beyond(self) -> bool:
        """Whether a size beyond those tried is better than all of them in nearly every draw.

        Else it is not offered, unless it is a larger one for a larger budget: of runs/reference
        the law promised 3.6 at 10¹¹ FLOP with small-2k, half the smallest of its sizes; it came to
        4.52, and small-3k, the smallest, to 4.28.
        """
        within = np.array([self._within_tried(d.params) for d in self.hand])
        draws = np.stack([self.losses(method) for method in self.study.methods], axis=1)
        best = draws[:, :, within].min(axis=(1, 2))
        return bool((draws[:, :, ~within].min(axis=1) < best[:, None]).mean(axis=0).max() >= SURE)

    def _training(self, params: Array) -> Array:
        """(q,) what the encoder's life leaves of the budget for its training."""
        if self.limits.queries is None:
            return np.full(len(params), self.budget_flop)
        tokens = next(iter(self.study.tokens_per_pair.values()))
        each = encoding_flop(params, tokens if math.isfinite(tokens) else 2.0)
        return self.budget_flop - self.limits.queries * each

    @property
    def unique(self) -> float:
        return float(self.limits.max_pairs) if self.limits.max_pairs else self.study.distinct

    def bought(self, method: str, params: Array) -> Array:
        """(q,) pairs (or tokens) that are left to buy for each size."""
        left = np.maximum(self._training(params), 1e-12 * self.budget_flop)
        return left / self.study.costs.flop(method, params)

    def losses(self, method: str) -> Array:
        """(R, decoders) draws: the law's, or of runs made that this budget pays for if better."""
        if method not in self._losses:
            self._losses[method] = self._draw(method, self.unique)
        return self._losses[method]

    def predicted(self, method: str) -> Array:
        """(decoders,) the losses that these draws come to."""
        return _predicted(self.losses(method))

    def best(self, *methods: str) -> tuple[str, int]:
        """Method and number of the decoder at hand that are predicted best, of some methods or all.

        Of two that are equal the first in the study's order.
        """
        lowest = {m: self.predicted(m) for m in methods or self.study.methods}
        method = min(lowest, key=lambda m: lowest[m].min())
        return method, int(lowest[method].argmin())

    def least(self, *methods: str) -> Array:
        """(R,) draws of that one."""
        method, place = self.best(*methods)
        return self.losses(method)[:, place]

    def _draw(self, method: str, unique: float) -> Array:
        draws = self.study.surface.draws(
            method, self.params, self._asked(method), math.log(self.budget_flop), unique=unique
        )  # fmt: skip
        for place, size in enumerate(self.params):
            left = self._training(self.params[place : place + 1])[0]
            done = self.study.reached(method, int(size), left, unique)
            if done is not None:
                draws[:, place] = np.minimum(draws[:, place], done)
        return draws

    def curve(self, method: str, params: Array) -> Array:
        """(R, q) draws of the smooth law, which knows no single decoder, at sizes (q,)."""
        return self.study.surface.draws(
            method, params, self.bought(method, params), math.log(self.budget_flop),
            unique=self.unique, common=True,
        )  # fmt: skip

    def told(self, losses: Array) -> Array:
        """Losses as they are told: none above chance, where one is that has learnt nothing.

        Choices are made by the draws as they are, beyond chance too: cut there, they would have a
        gain to hope for and no loss to fear, and from a single cheap budget too large a decoder is
        named (of 28 questions to runs/enough-pairs one, for 1,000 times that budget).
        """
        chance = self.study.surface.cells.chance
        return losses if math.isnan(chance) else np.minimum(losses, chance)

    def estimate(self, method: str, draws: Array, extrapolated: bool) -> Estimate:
        """Predicted loss and its interval, whose low end reaches to a frontier below the runs."""
        return self._estimates(method, draws[:, None], [extrapolated])[0]

    def _estimates(self, method: str, draws: Array, extrapolated: Sequence[bool]) -> list[Estimate]:
        """`estimate` of each column of draws (R, q)."""
        low = np.quantile(draws * self.study.surface.excess(method)[:, None], 0.025, axis=0)
        high = np.quantile(draws, 0.975, axis=0)
        told = self.told(np.stack((_predicted(draws), low, high))).T
        return [
            Estimate(float(v), float(a), float(b), beyond)
            for (v, a, b), beyond in zip(told, extrapolated, strict=True)
        ]

    def choices(self, method: str, best: Array) -> list[Choice]:
        """A method with every decoder at hand, beside the draws (R,) of the best."""
        draws = self.losses(method)
        tried = set(self.study.decoders[method].values())
        new = [decoder.params not in tried for decoder in self.hand]
        pairs, tokens = self._amounts(method, self._seen(method))
        losses = self._estimates(method, draws, new)
        low, high = np.quantile(draws - best[:, None], (0.025, 0.975), axis=0)
        regret = _predicted(draws) - _predicted(best[:, None])
        return [
            Choice(
                decoder.name, decoder.params, method, float(pairs[i]), float(tokens[i]), losses[i],
                Estimate(float(regret[i]), float(low[i]), float(high[i]), new[i]), not new[i],
            )
            for i, decoder in enumerate(self.hand)
        ]  # fmt: skip

    def _seen(self, method: str) -> Array:
        """(decoders,) pairs (or tokens) that a run of each sees with the settings it would have."""
        settings = (
            own_settings(self.study, method, self.budget_flop, decoder.params, decoder.name)
            for decoder in self.hand
        )
        return np.array([self._of_run(k, method, own) for k, own in enumerate(settings)])

    def _asked(self, method: str) -> Array:
        """(decoders,) pairs (or tokens) that the law is asked at: at the budgets tried as `_seen`,
        but without a step between them where settings change."""
        costs = [
            run_cost(self.study, method, decoder.params, decoder.name, self.budget_flop)
            for decoder in self.hand
        ]
        known = self._training(self.params) / np.array(costs)
        return np.where(np.isfinite(known), known, self.bought(method, self.params))

    def _of_run(self, place: int, method: str, settings: Mapping[str, float]) -> float:
        """What a decoder's run with such settings sees; as the law has it where none can tell."""
        size = self.params[place : place + 1]
        exact = self.study.costs.of_run(method, self.hand[place].name, settings)
        if math.isnan(exact):
            return float(self.bought(method, size)[0])
        return float(self._training(size)[0]) / exact

    def _amounts(self, method: str, amount: Any) -> tuple[Any, Any]:
        """Pairs and tokens of an amount of data, or of several."""
        per_pair = self.study.tokens_per_pair[method]
        if self.study.data == "pairs":
            return amount, amount * per_pair
        return amount / per_pair, amount

    def data(self, method: str, place: int, settings: tuple[Setting, ...]) -> Data:
        own = {s.name: s.value for s in settings if s.name not in COMMON}
        amount = self._of_run(place, method, own)
        pairs, tokens = self._amounts(method, amount)
        batch = next((s.value for s in settings if s.name == "batch_pairs"), math.nan)
        supply: list[tuple[float, Estimate]] = []
        for times in SUPPLIES if self.limits.max_pairs else ():
            unique = float(times * self.unique)
            supply.append(
                (unique, self.estimate(method, self._draw(method, unique)[:, place], False))
            )
        return Data(
            pairs, tokens, pairs / batch, self.study.tokens_per_pair[method], self.unique,
            amount / self.unique, tuple(supply),
        )  # fmt: skip

    def ideal(self, method: str) -> Ideal:
        """The best size on the smooth law, its interval from the best size of every draw."""
        cap = self.limits.max_params or math.inf
        high = min(self.params[-1] * SPAN, cap)
        sizes = np.geomspace(min(self.params[0] / SPAN, high / 2), high, GRID)
        sizes = sizes[self._training(sizes) > 0]
        bought = self.bought(method, sizes)
        grid, logs = np.log(sizes), np.log(self.curve(method, sizes))
        at, least = _bottom(grid, np.vstack((logs.mean(axis=0)[None], logs)))
        params = np.exp(at)
        pairs, tokens = self._amounts(method, np.exp(np.interp(at, grid, np.log(bought))))
        # A best size at the end of what was searched says that it is not known on that side.
        small = at <= grid[0] + 1e-9
        large = (at >= grid[-1] - 1e-9) & (high < cap)
        ends = [np.where(small, 0.0, np.where(large, np.inf, params))]
        ends += [np.where(small, np.inf, np.where(large, 0.0, v)) for v in (pairs, tokens)]
        size, of_pairs, of_tokens = (
            _spread(float(value[0]), end[1:])
            for value, end in zip((params, pairs, tokens), ends, strict=True)
        )
        loss = self.estimate(method, np.exp(least[1:]), False)
        return Ideal(size, of_pairs, of_tokens, loss)

    def beyond(self, decoder: Decoder, data: Data) -> bool:
        """Whether budget, size or data lie outside those of the runs."""
        cells = self.study.surface.cells
        amount = math.log(data.pairs if self.study.data == "pairs" else data.tokens)
        inside = [
            (math.log(self.budget_flop), cells.log_flop),
            (math.log(decoder.params), cells.log_params),
            (amount, cells.log_pairs),
        ]
        return not all(v.min() - 1e-3 <= at <= v.max() + 1e-3 for at, v in inside)

    def form(self, best: Choice) -> FormChoice:
        """The link, its margin, and what the other link says."""
        surface = self.study.surface
        name, scores = surface.form, surface.scores
        others = [link for link in surface.weights if link != name]
        if not others:
            return FormChoice(name, 1.0, math.nan, "", "")
        other = others[0]
        margin = scores[name] - scores[other]
        return FormChoice(name, surface.weights[name], margin, other, self._other_choice(other))

    def _other_choice(self, link: str) -> str:
        """Decoder and method that the other link alone would name; empty if it has no draws."""
        found: list[tuple[float, str]] = []
        for method in self.study.methods:
            modes = self.study.surface.alone(
                method, link, self.params, self._asked(method), self.unique
            )
            place = int(modes.argmin())
            found.append((float(modes[place]), f"{method} {self.hand[place].name}"))
        return min(found)[1]


def _predicted(draws: Array) -> Array:
    """(q,) of draws (R, q); a column's value does not depend on the columns beside it."""
    return np.asarray(np.exp(np.log(np.ascontiguousarray(draws.T)).mean(axis=1)))


def _bottom(grid: Array, curves: Array) -> tuple[Array, Array]:
    """Where each curve (R, q) on a grid is lowest, between grid points, and how low."""
    rows = np.arange(len(curves))
    place = curves.argmin(axis=1)
    inner = np.clip(place, 1, len(grid) - 2)
    left, middle, right = (curves[rows, inner + k] for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.clip(np.where(bend > 0, (left - right) / (2 * bend), 0.0), -0.5, 0.5)
    at = grid[inner] + shift * (grid[1] - grid[0])
    least = middle - 0.25 * (left - right) * shift
    edge = place != inner
    return np.where(edge, grid[place], at), np.where(edge, curves[rows, place], least)


def _spread(value: float, draws: Array) -> Estimate:
    low, high = np.quantile(draws, (0.025, 0.975), method="inverted_cdf")
    return Estimate(value, float(low), float(high))

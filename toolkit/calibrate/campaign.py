"""Rounds of runs until the money is spent or the answer is settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.calibrate.belief import Belief, believe
from toolkit.calibrate.book import Asked, Book, Round
from toolkit.calibrate.borrowed import borrow
from toolkit.calibrate.candidates import MIN_STEPS, Candidates
from toolkit.calibrate.design import (
    SETTLED,
    SHARES,
    WITHIN,
    may_be_made,
    next_runs,
    outline,
    settled,
)
from toolkit.calibrate.pool import Pool, Runs
from toolkit.calibrate.settings import Settings
from toolkit.calibrate.tuning import Tuned
from toolkit.errors import ToolkitError
from toolkit.laws.gauss_newton import Prior
from toolkit.sweep.execution import Summary, run_sweep
from toolkit.sweep.folders import RunState
from toolkit.text import scientific

PARALLEL = 1  # Runs of a later round.
# What comes of fewer steps depends on how a run begins, which no law tells: from runs of 50 to 200
# steps smollm2-135m with one block was predicted to come to 3.4 where it came to 1.07.
FEW_STEPS = 200


@dataclass(frozen=True)
class Rival:
    """A choice, its loss predicted at the target (low and high of 90 %), and how it may regret."""

    decoder: str
    method: str
    loss: float
    low: float
    high: float
    regret: float
    best: float  # Share of the draws in which it is the best of all.


@dataclass(frozen=True, eq=False)
class Answer:
    """What a calibration has come to.

    Attributes:
        rivals: All choices, the recommended first.
        regret: Expected loss above the best that the target could buy, as a share of it.
        regret_high: 90 % of the draws lie below. within: Share of draws within 1 % of the best.
        status: settled; likely (predicted within 1 %); or not settled.
        rate: Its factor on the default; `lr` of the recommended decoder, low and high of 90 %.
        batch: The same of the batch, None where it was asked for; `batch_pairs` a step.
        pairs: That the target buys.
        spent, left: FLOP. more: Expected regret after one more round of 2 % of the target.
        borrowed: Share of what is known of the exponents that comes from a prior, not these runs.
        short: Runs of few steps, of the `n_runs`. failed: Runs without a result, in words.
    """

    target: float
    rivals: tuple[Rival, ...]
    regret: float
    regret_high: float
    within: float
    status: str
    rate: Tuned
    lr: tuple[float, float, float]
    batch: Tuned | None
    batch_pairs: tuple[int, int, int]
    pairs: float
    distinct: float
    spent: float
    left: float
    more: float
    borrowed: float
    n_runs: int
    short: int
    failed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Standing:
    """A calibration between two rounds: what is known, and what would be done next."""

    book: Book
    candidates: Candidates
    states: tuple[RunState, ...]
    settings: Settings
    runs: Runs
    belief: Belief | None
    following: Round | None
    spent: float

    @property
    def pool(self) -> Pool:
        return self.settings.pool

    @property
    def left(self) -> float:
        return max(0.0, self.book.asked.spend - self.spent)


def stand(book: Book) -> Standing:
    """Where a calibration is, from its book and its records: pure but for reading them."""
    candidates = Candidates.of(book.asked)
    states = tuple(book.plan().states()) if book.rounds else ()
    pool = candidates.pool(states)
    settings = Settings.of(candidates, states, pool)
    runs = settings.runs(states)
    # A round is paid for when it is planned, whatever becomes of it.
    spent = sum(s.config.budget_flop for s in states)
    if not book.rounds:
        return Standing(book, candidates, states, settings, runs, None,
                        _first(candidates), 0.0)  # fmt: skip
    if any(not s.ended and s.name != "failed" for s in states):
        return Standing(book, candidates, states, settings, runs, None, book.rounds[-1], spent)
    if not len(runs):
        first = next((s for s in states if s.reason), states[0])
        raise ToolkitError(
            f"no run of the calibration in {book.folder} came to a result, {first.config.run_id}: "
            f"{first.reason or 'at chance'}; mend that and go on with --retry-failed"
        )
    belief = believe(pool, runs, *_payable(settings, states), lean=_lean(book, pool, runs))
    following = _following(book, settings, belief, book.asked.spend - spent)
    return Standing(book, candidates, states, settings, runs, belief, following, spent)


def _following(book: Book, settings: Settings, belief: Belief, left: float) -> Round | None:
    """The round after those of a book: an outline, then what pays most."""
    if len(book.rounds) == 1 and (steps := outline(belief, left)):
        why = "an outline of the sizes: a law is read between them"
    elif settled(belief) or not (steps := next_runs(belief, left, PARALLEL)):
        return None
    else:
        gain = sum(s.gain for s in steps)
        why = (
            f"lessens the expected regret of {belief.regret:.1%} by {gain:.2%}, "
            "the most for its cost"
        )
    runs = tuple(settings.fields(s.choice, s.flop) for s in steps)
    names = ", ".join(f"{run['decoder']} ({run['method']})" for run in runs)
    return Round(f"{names}: {why}", runs, belief.regret)


def _first(candidates: Candidates) -> Round:
    runs = candidates.opening()
    batch = ", a second batch at one" * any("batch_pairs" in run for run in runs)
    return Round(f"two rates at each of two sizes{batch}, with the likely method", runs)


def _payable(settings: Settings, states: Sequence[RunState]) -> tuple[np.ndarray, np.ndarray]:
    """Runs that might be made: worth making, not of what failed, not made before."""
    candidates = settings.candidates
    choice, flop = may_be_made(settings.pool)
    broken = _broken(states)
    made = {(s.config.method, s.config.decoder, float(f"{s.config.budget_flop:.4g}"))
            for s in states}  # fmt: skip
    good = [
        (candidates.methods[c], candidates.names[c]) not in broken
        and (candidates.methods[c], candidates.names[c], float(f"{f:.4g}")) not in made
        and settings.steps(int(c), float(f)) >= MIN_STEPS
        for c, f in zip(choice, flop, strict=True)
    ]
    return choice[good], flop[good]


def _broken(states: Sequence[RunState]) -> set[tuple[str, str]]:
    """Methods and decoders of which a run failed, though not where another of its budget has a
    result: then its rate or batch is to blame."""
    ended = {(s.config.method, s.config.decoder, s.config.budget_flop) for s in states if s.ended}
    failed = {
        (s.config.method, s.config.decoder, s.config.budget_flop)
        for s in states
        if s.name == "failed"
    }
    return {(method, decoder) for method, decoder, _ in failed - ended}


def _lean(book: Book, pool: Pool, runs: Runs) -> dict[str, Prior] | None:
    return borrow(book.asked.prior, runs.cells(pool)) if book.asked.prior else None


def answer(standing: Standing) -> Answer:
    """What to do with the target, as far as the runs so far tell it."""
    belief, pool, candidates = standing.belief, standing.pool, standing.candidates
    settings = standing.settings
    if belief is None:
        raise ToolkitError("the first round is not made yet: there is nothing to answer from")
    broken = _broken(standing.states)
    usable = [
        c for c in range(len(pool)) if (candidates.methods[c], candidates.names[c]) not in broken
    ]
    regrets = np.expm1(belief.regrets)
    share = np.bincount(belief.target.argmin(axis=1), minlength=len(pool)) / len(belief.target)
    order = sorted(usable, key=lambda c: float(belief.target[:, c].mean()))
    rivals = tuple(
        _rival(candidates, belief, c, float(regrets[:, c].mean()), float(share[c])) for c in order
    )
    best = order[0]
    mine = regrets[:, best]
    regret = float(mine.mean())
    choice, flop = _payable(settings, standing.states)
    enough = flop <= 0.021 * pool.target
    ahead = believe(pool, standing.runs, choice[enough], flop[enough],
                    lean=_lean(standing.book, pool, standing.runs))  # fmt: skip
    step = next_runs(ahead, 0.021 * pool.target)
    rate, lr = settings.target_rate(best)
    batch, batch_pairs = settings.target_batch(best)
    return Answer(
        target=pool.target,
        rivals=rivals,
        regret=regret,
        regret_high=float(np.quantile(mine, 0.9)),
        within=float((mine <= WITHIN).mean()),
        status="settled"
        if regret <= SETTLED
        else "likely"
        if regret <= WITHIN
        else "not settled",
        rate=rate,
        lr=lr,
        batch=batch,
        batch_pairs=batch_pairs,
        pairs=pool.target / float(pool.flop_per_pair[best]),
        distinct=pool.unique,
        spent=standing.spent,
        left=standing.left,
        more=max(0.0, regret - sum(s.gain for s in step)) if step else math.nan,
        borrowed=_borrowed(standing),
        n_runs=sum(s.ended for s in standing.states),
        short=sum(s.record.steps < FEW_STEPS for s in standing.states if s.record is not None),
        failed=tuple(f"{s.config.run_id}: {s.reason or s.name}" for s in standing.states
                     if s.name in ("failed", "diverged")),
    )  # fmt: skip


def _rival(
    candidates: Candidates, belief: Belief, choice: int, regret: float, best: float
) -> Rival:
    logs = belief.target[:, choice]
    low, high = np.exp(np.quantile(logs, (0.05, 0.95)))
    return Rival(
        candidates.names[choice],
        candidates.methods[choice],
        float(np.exp(logs.mean())),
        float(low),
        float(high),
        regret,
        best,
    )


def _borrowed(standing: Standing) -> float:
    from toolkit.calibrate.belief import from_priors

    lean = _lean(standing.book, standing.pool, standing.runs)
    return from_priors(standing.pool, standing.runs, lean)


def begin(folder: Path, asked: Asked | None) -> Book:
    """The book of a folder, checked before anything is paid for.

    Raises:
        ToolkitError: It cannot start; says why.
    """
    book = Book.open(folder, asked)
    candidates = Candidates.of(book.asked)
    if book.rounds:
        candidates.check_runs()
    else:
        candidates.check()
    if book.asked.prior:
        borrow(book.asked.prior, None)
    return book


def calibrate(
    book: Book,
    *,
    run: Callable[..., Summary] = run_sweep,
    told: Callable[[Standing], None] = lambda standing: None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Standing, bool]:
    """Make rounds until the money is spent or the answer is settled.

    Args:
        book: From `begin`. run: Executes a plan. told: Hears of each standing before its round.
        options: Of `run_sweep`.

    Returns:
        The last standing, and whether it was stopped before its end.
    """
    options = dict(options or {})
    if options.get("retry_failed") and book.rounds:
        summary = run(book.plan(), **options)
        if summary.stopped:
            return stand(book), True
    options.pop("retry_failed", None)
    while True:
        standing = stand(book)
        told(standing)
        if standing.following is None:
            return standing, False
        if standing.belief is not None or not book.rounds:
            book = book.with_round(standing.following)
        summary = run(book.plan(), **options)
        if summary.stopped or any(not s.ended and s.name != "failed" for s in summary.states):
            return replace(standing, states=summary.states), True


def cost_in_words(asked: Asked) -> str:
    """What all rounds may cost together."""
    return (
        f"at most {scientific(asked.spend, 3)} FLOP in all, "
        f"{asked.spend / asked.target:.2%} of the target; a run takes "
        f"{min(SHARES):.1%} to {max(SHARES):.0%} of it"
    )

"""A calibration in sentences, for a terminal and a notebook."""

from __future__ import annotations

from toolkit.calibrate.campaign import FEW_STEPS, Answer, Standing, cost_in_words
from toolkit.calibrate.design import settled
from toolkit.calibrate.tuning import Tuned
from toolkit.text import count, scientific, table
from toolkit.words import bullet, loss, method_name, n_runs, setting_value

SHOWN = 6
STATUS = {
    "settled": "settled: more runs would change little",
    "likely": "likely: predicted within 1 % of the best, though not beyond doubt",
    "not settled": "not settled: what was spent does not tell the leading choices apart",
}


def round_in_words(standing: Standing) -> str:
    """The next round: why, and its runs."""
    following = standing.following
    if following is None:
        return "no further round: " + (
            "the answer is settled"
            if standing.belief is not None and settled(standing.belief)
            else "the money that is left buys no run more"
        )
    base = standing.book.asked.base
    rows = [
        [
            str(r["decoder"]),
            str(r["method"]),
            scientific(float(r["budget_flop"]), 3),
            f"{float(r['budget_flop']) / standing.pool.target:.2%}",
            *(_setting({**base, **r}.get(name)) for name in ("lr", "batch_pairs")),
        ]
        for r in following.runs
    ]
    number = len(standing.book.rounds) + (standing.belief is not None or not standing.states)
    return f"round {number}: {following.reason}\n" + table(
        ["decoder", "method", "FLOP", "of the target", "rate", "batch"], rows
    )


def _setting(value: float | None) -> str:
    return "default" if value is None else setting_value(value)


def dry_run(standing: Standing) -> str:
    """The next round, and what all may cost."""
    return f"{round_in_words(standing)}\n{cost_in_words(standing.book.asked)}"


def answer_in_words(answer: Answer, prior: str = "") -> str:
    """The recipe, how sure it is, what else was close, what one more round would buy."""
    best = answer.rivals[0]
    title = f"Calibrated for {scientific(answer.target, 3)} FLOP"
    lines = [
        f"{title}\n{'═' * len(title)}",
        f"from {n_runs(answer.n_runs)} that took {scientific(answer.spent, 3)} FLOP, "
        f"{answer.spent / answer.target:.1%} of the target; intervals are of 90 %",
        "",
        f"Train {best.decoder} with {method_name(best.method)}",
        f"  {count(answer.pairs)} pairs"
        + (
            f", each of the {count(answer.distinct)} distinct ones "
            f"{answer.pairs / answer.distinct:.2g} times"
            if answer.pairs > answer.distinct
            else ""
        ),
        f"  predicted loss {loss(best.loss)} ({loss(best.low)} to {loss(best.high)})",
        f"  learning rate {answer.lr[0]:.3g} ({answer.lr[1]:.3g} to {answer.lr[2]:.3g}), "
        f"{_compared(answer.rate, 'rate')}",
        f"  batch {_batch(answer)}",
        "",
        f"Regret: expected {answer.regret:.1%} of the loss, below {answer.regret_high:.1%} in 90 % "
        f"of the draws, within 1 % of the best in {answer.within:.0%}",
        f"  {STATUS[answer.status]}",
        "",
        "What else was close",
    ]
    rows = [
        [r.decoder, method_name(r.method), loss(r.loss), f"{loss(r.low)} to {loss(r.high)}",
         f"{r.regret:.1%}", f"{r.best:.0%}"]
        for r in answer.rivals[:SHOWN]
    ]  # fmt: skip
    lines += [
        "  " + line
        for line in table(
            ["decoder", "method", "loss", "interval", "regret", "is the best"], rows
        ).splitlines()
    ]
    source = f"exponents of {prior}" if prior else "the stated priors"
    lines += [
        "",
        bullet(
            f"one more round of 2 % of the target would bring the expected regret to "
            f"{answer.more:.1%}"
            if answer.more == answer.more
            else "no further run that would tell more can be made"
        ),
        bullet(
            f"of what is known of the exponents {answer.borrowed:.0%} comes from {source}, the "
            "rest from these runs"
        ),
    ]
    if 2 * answer.short > answer.n_runs:
        lines.append(
            bullet(
                f"{answer.short} of the {n_runs(answer.n_runs)} had fewer than {FEW_STEPS} steps: "
                "from so few a law does not tell how sizes compare at the target; spend more, or "
                "leave out the largest decoders"
            )
        )
    lines += [bullet(f"without a result: {name}") for name in answer.failed]
    return "\n".join(lines)


def _batch(answer: Answer) -> str:
    """The batch with its interval, and where it comes from."""
    pairs, low, high = answer.batch_pairs
    if answer.batch is None:
        return f"{pairs}, as asked"
    return f"{pairs} ({low} to {high}), {_compared(answer.batch, 'batch')}"


def _compared(tuned: Tuned, name: str) -> str:
    places = tuned.cells
    plural = f"{name}{'es' if name.endswith('ch') else 's'}"
    source = (
        f"{plural} were compared in {places} place{'' if places == 1 else 's'}"
        if places
        else "from the default alone"
    )
    return f"{source}; a wrong {name} is expected to cost {tuned.cost:.1%}"

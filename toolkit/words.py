"""The one room that makes sentences: findings, methods, intervals and a whole recipe in words."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from toolkit.methods import METHODS, SETTINGS
from toolkit.text import count, pretty, scientific, table

if TYPE_CHECKING:
    from toolkit.laws import Estimate
    from toolkit.recipe.crossing import Crossing
    from toolkit.recipe.findings import Finding
    from toolkit.recipe.options import Option
    from toolkit.recipe.question import Choice, Data
    from toolkit.recipe.recommendation import Recipe
    from toolkit.recipe.settings import Setting

SETTING_NAMES = {
    "lr": "learning rate",
    "batch_pairs": "batch",
    **{name: setting.title for name, setting in SETTINGS.items()},
}
LINK_NAMES = {
    "bounded": "the bounded law, which ends at chance",
    "chinchilla": "the Chinchilla law, which knows no chance",
}
WIDTH = 96
SHOWN_CHOICES = 8


def method_name(method: str) -> str:
    """What people call the method."""
    return METHODS[method].title if method in METHODS else method


def n_runs(number: int) -> str:
    """A number of runs in words."""
    return f"{number:,} run{'' if number == 1 else 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few of a list of names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def say(finding: Finding) -> str:
    """A finding as a sentence."""
    return _SENTENCES[finding.kind](finding.values)


def _left_out(v: Mapping[str, Any]) -> str:
    names = f" ({some(v['runs'])})" if v["runs"] else ""
    return f"{n_runs(v['count'])} left out: {v['reason']}{names}"


def _repeats(v: Mapping[str, Any]) -> str:
    known = (
        "what that costs is in the answer, as the runs that repeated tell it"
        if v["learnt"]
        else "no run repeated its pairs, so what that costs is the prior's guess"
    )
    times = f"{v['epochs']:.3g} times"
    return f"each of the {count(v['distinct'])} distinct pairs is seen {times}: {known}"


_SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "left-out": _left_out,
    "said": lambda v: str(v["sentence"]),
    "convention-unstated": lambda v: (
        "the table does not say how its budgets are counted (flop_convention)"
    ),
    "few-runs": lambda v: f"only {n_runs(v['count'])} to fit: read every number here as a guess",
    "few-budgets": lambda v: (
        "all runs have one budget: how the loss falls with the budget is the prior's guess"
        if v["count"] == 1
        else "two budgets show a fall but not how it bends: the intervals lean on the priors"
    ),
    "few-sizes": lambda v: (
        "all runs have one decoder: what size does is the prior's guess"
        if v["count"] == 1
        else "two decoders do not show where the best size lies: the intervals lean on the priors"
    ),
    "data-unknown": lambda v: (
        "the table has neither pairs nor tokens: tokens are taken as budget / (6 params)"
    ),
    "candidates-unknown": lambda v: (
        "the table does not tell the candidates of its loss (a column candidates), so chance is "
        "unknown: the Chinchilla law stands in, which overstates what small budgets learn"
    ),
    "above-chance": lambda v: (
        f"{n_runs(v['count'])} at or above chance (ln K = {v['chance']:.2f} nats), memorised or "
        f"diverged, left out of the law: {some(v['runs'])}"
    ),
    "budget-above": lambda v: (
        f"extrapolation: the budget is {v['factor']:.3g} times above the largest one tried "
        f"({scientific(v['budget_flop'])} FLOP)"
    ),
    "budget-below": lambda v: (
        f"extrapolation: the budget is {v['factor']:.3g} times below the least one tried "
        f"({scientific(v['budget_flop'])} FLOP)"
    ),
    "size-beyond": lambda v: (
        f"the decoder lies outside the sizes tried with {method_name(v['method'])} "
        f"({count(v['low'])} to {count(v['high'])})"
    ),
    "size-at-edge": lambda v: (
        f"{v['decoder']} is the {v['side']} decoder tried: one beyond it may be better still"
    ),
    "ideal-open": lambda v: "how large the ideal decoder is cannot be told from these runs",
    "repeats": _repeats,
    "outlying": lambda v: (
        f"{v['count']} {'cell lies' if v['count'] == 1 else 'cells lie'} far off the law, so that "
        f"{'it counts' if v['count'] == 1 else 'they count'} for little in it: {some(v['cells'])}"
    ),
    "spoken-against": lambda v: (
        f"runs at this budget speak against it: {count(v['params'])} ({method_name(v['method'])}) "
        f"came to {v['loss']:.3f}, the choice to {v['chosen_loss']:.3f}"
    ),
    "best-settings": lambda v: (
        "where several settings of a method were tried at one size and budget, the law is of the "
        "best there are, between those tried: a penalty is fitted around them"
    ),
    "varied": lambda v: (
        f"{method_name(v['method'])}: several values of {' and '.join(v['settings'])} were tried"
    ),
    "option": lambda v: (
        f"{method_name(v['method'])}: {setting_name(v['option'])} {option_value(v['value'])} did "
        f"best at {v['wins']} of the {v['places']} sizes and budgets at which it was varied"
    ),
    "truncation": lambda v: (
        f"what truncation costs {v['decoder']} ({method_name(v['method'])}, trained "
        f"{'to be cut' if v['trained_for'] else 'as a whole'}, which has {loss(v['loss'])}): "
        + ", ".join(f"{d} features {loss(x)} ({signed(x - v['loss'])})" for d, x in v["losses"])
    ),
    "apart": lambda v: (
        f"{' and '.join(map(method_name, v['methods']))}: far from the best, with exponents of "
        "their own, so as not to bend the others'"
    ),
}


def spread(estimate: Estimate, show: Callable[[float], str]) -> str:
    """The interval in words: `48k to 90k`, `below 15k`, `no interval`."""
    low, high = estimate.low, estimate.high
    if math.isnan(low) or math.isnan(high):
        return "no interval"
    if low == high:
        return "exactly"
    if low == 0 and math.isinf(high):
        return "anything"
    if low == 0:
        return f"below {show(high)}"
    if math.isinf(high):
        return f"above {show(low)}"
    return f"{show(low)} to {show(high)}"


def said(estimate: Estimate, show: Callable[[float], str]) -> str:
    """A value and its interval: `62k (48k to 90k)`; a dash where there is none."""
    if math.isnan(estimate.value):
        return "–"
    text = show(estimate.value)
    return text if math.isnan(estimate.low) else f"{text} ({spread(estimate, show)})"


def told(estimate: Estimate, show: Callable[[float], str]) -> str:
    """An ideal: its interval alone where it may lie beyond all that was searched."""
    return said(estimate, show) if estimate.is_told else spread(estimate, show)


def loss(value: float) -> str:
    """A loss in nats: two decimals are what a seed leaves of it; three show a small regret."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """A difference of losses with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def crossing_in_words(crossing: Crossing) -> str:
    """Which method overtakes which, and where."""
    lower, upper = method_name(crossing.lower), method_name(crossing.upper)
    if crossing.status == "never":
        return f"{upper} is better than {lower} at every budget searched"
    if math.isnan(crossing.budget_flop.value):
        return (
            f"{upper} is predicted to be better than {lower} throughout, but in "
            f"{crossing.share:.0%} of the draws they cross"
        )
    where = scientific(crossing.budget_flop.value)
    ends = spread(crossing.budget_flop, scientific)
    sure = (
        ""
        if crossing.status == "crosses"
        else f", but the data does not settle it: {crossing.share:.0%} of the draws cross so"
    )
    return f"{upper} overtakes {lower} at {where} FLOP ({ends}){sure}"


def as_text(recipe: Recipe) -> str:
    """The recipe for a terminal: the four questions as headings.

    Example:
        >>> recipe = d2e.recommend(d2e.read_runs("reference"), budget_flop=1e13)
        >>> print(d2e.in_words(recipe).splitlines()[0])
        The compute-optimal recipe for 10¹³ model FLOP
    """
    convention = "" if recipe.convention == "unstated" else f"{recipe.convention} "
    title = f"The compute-optimal recipe for {scientific(recipe.budget_flop, 3)} {convention}FLOP"
    low, high = recipe.budgets
    few = (
        f"{recipe.n_runs}" if recipe.n_runs == recipe.n_tried
        else f"{recipe.n_runs} of {recipe.n_tried}"
    )  # fmt: skip
    about = (
        f"from {few} runs with {len(recipe.methods)} "
        f"method{'' if len(recipe.methods) == 1 else 's'}, budgets {scientific(low)} to "
        f"{scientific(high)}; intervals are of 95 %"
    )
    header, *rows = method_rows(recipe)
    settings = ["{:15} {:<8} {}".format(*parts) for parts in hyperparameter_parts(recipe)]
    parts = [
        f"{title}\n{'═' * len(title)}\n{about}",
        _section("How large a model?", size_lines(recipe)),
        _section("How much data?", data_lines(recipe)),
        _section("Which method?", [table(header, rows), *method_notes(recipe)]),
        _section("Which hyperparameters?", settings),
    ]
    if recipe.warnings:
        parts.append(_section("Before you trust this", [bullet(say(w)) for w in recipe.warnings]))
    notes = [form_in_words(recipe), *map(say, recipe.notes)]
    parts.append(_section("How it was made", [bullet(n) for n in notes]))
    return "\n\n".join(parts)


def size_lines(recipe: Recipe) -> list[str]:
    """The decoder, what is predicted of it, the ideal size, and what is about as good."""
    best = recipe.choices[0]
    size = f"{count(best.params)} non-embedding parameters"
    lines = [
        size if best.decoder == count(best.params) else f"{best.decoder}: {size}",
        f"predicted loss {loss(recipe.loss.value)} ({spread(recipe.loss, loss)}; "
        f"a single run {spread(recipe.run_loss, loss)})",
        f"ideal size: {told(recipe.ideal.params, count)}",
    ]
    others = [d if m == recipe.method else f"{d} ({method_name(m)})" for d, m in recipe.near[1:]]
    lines.append(f"within 1 % of its loss: {some(others, 5) if others else 'nothing else at hand'}")
    return lines


def data_lines(recipe: Recipe) -> list[str]:
    """Pairs, tokens and steps, a line each, and how often each pair is seen."""
    data = recipe.data
    lines = []
    for name, value, ideal in (
        ("pairs", data.pairs, recipe.ideal.pairs),
        ("tokens", data.tokens, recipe.ideal.tokens),
        ("steps", data.steps, None),
    ):
        if not math.isnan(value):
            beside = ""
            if ideal is not None and ideal.is_told:
                beside = f" (of the ideal size {spread(ideal, count)})"
            lines.append(f"{count(value):>6} {name:7}{beside}")
    if not math.isnan(data.tokens_per_pair):
        lines.append(f"at {data.tokens_per_pair:.1f} tokens a pair, as in these runs")
    if math.isfinite(data.distinct):
        often = f"{count(data.epochs)} times" if data.epochs > 1.001 else "at most once"
        lines.append(f"each of the {count(data.distinct)} distinct pairs seen {often}")
    if data.supply:
        each = [f"{count(n)}: {loss(e.value)}" for n, e in data.supply]
        lines.append(f"predicted loss by distinct pairs: {', '.join(each)}")
    return lines


def method_rows(recipe: Recipe) -> list[tuple[str, ...]]:
    """A table, the header first: the best choice of every method, then the best of all."""
    shown = list(recipe.methods)
    shown += [c for c in recipe.choices if c not in shown][: max(0, SHOWN_CHOICES - len(shown))]
    shown.sort(key=lambda c: c.regret.value)
    head = ("", "decoder", "pairs", "loss", "interval", "regret", "interval")
    return [head, *(_choice_row(c, c is recipe.choices[0]) for c in shown)]


def amount(of: Choice | Data) -> tuple[str, str]:
    """How much data, and of what: pairs, or tokens where the table does not tell pairs."""
    return (count(of.tokens), "tokens") if math.isnan(of.pairs) else (count(of.pairs), "pairs")


def _choice_row(choice: Choice, best: bool) -> tuple[str, ...]:
    return (
        method_name(choice.method),
        choice.decoder + ("" if choice.tried else "*"),
        amount(choice)[0],
        loss(choice.loss.value),
        spread(choice.loss, loss),
        "best" if best else signed(choice.regret.value),
        "" if best else spread(choice.regret, signed),
    )


def method_notes(recipe: Recipe) -> list[str]:
    """What the marks in the table mean, and where the recommended method overtakes another."""
    notes = []
    if any(row[1].endswith("*") for row in method_rows(recipe)):
        notes.append("* not among the decoders of these runs")
    relevant = [c for c in recipe.crossings if recipe.method in (c.lower, c.upper)]
    said = [c for c in relevant if c.status != "never"]
    return notes + [bullet(crossing_in_words(crossing)) for crossing in said]


def form_in_words(recipe: Recipe) -> str:
    """Which law was fitted, how sure that is, and what its rival says."""
    form = recipe.form
    said = f"one law of all runs: {LINK_NAMES[form.name]}"
    if not form.runner_up:
        return said
    sure = "too few budgets to tell it from the other by what it predicts"
    if math.isfinite(form.margin):
        sure = f"it predicts the largest budget better by {form.margin:.1f} nats of density"
    method, decoder = form.runner_up_choice.split(" ", 1)
    return f"{said}; {sure}; the other one would say {decoder} ({method_name(method)})"


def cheapest_in_words(wanted: float, budget: Estimate) -> str:
    """The least budget that reaches a loss, as a sentence."""
    ends = spread(budget, scientific)
    return f"a loss of {wanted:g} takes {scientific(budget.value, 3)} FLOP at the least ({ends})"


def hyperparameter_parts(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Name, value and reason of every setting and option."""
    return [*map(setting_parts, recipe.settings), *map(option_parts, recipe.options)]


def setting_name(name: str) -> str:
    """What people call a field of a run's configuration."""
    return SETTING_NAMES.get(name, name.replace("_", " "))


def setting_value(value: float) -> str:
    """A hyperparameter's value: whole numbers in full, others to three digits."""
    return f"{value:.0f}" if value == round(value) else f"{value:.3g}"


def setting_parts(setting: Setting) -> tuple[str, str, str]:
    """A hyperparameter's name, its value, where that comes from and what is about as good."""
    name = setting_name(setting.name)
    if math.isnan(setting.value):
        return name, "unknown", setting.source
    ends = f"{setting_value(setting.low)} to {setting_value(setting.high)}"
    if setting.told:
        rise = setting.off_by_two.value
        about = f"({ends}); half or twice that costs {rise:.1%}; {setting.source}"
        return name, setting_value(setting.value), about
    near = "" if setting.low == setting.high else f"; {ends} are within 1 %"
    return name, setting_value(setting.value), f"{setting.source}{near}"


def option_parts(option: Option) -> tuple[str, str, str]:
    """An option's name, its value, and what that beats by how much."""
    name, value = setting_name(option.name), option_value(option.value)
    if not option.beaten:
        return name, value, "as in these runs"
    rival = option_value(option.beaten[0])
    seeds = "one seed" if option.runs == 1 else f"{option.runs} seeds or more"
    place = f"with {option.decoder}" if option.decoder else "there"
    where = f"{place} at {scientific(option.budget_flop)} FLOP, {seeds} each"
    doubt = "" if option.sure else "; no more than seeds scatter"
    return name, value, f"beats {rival} by {option.gain:.1%} ({where}{doubt})"


def option_value(value: Any) -> str:
    """An option's value: text that may end in a space in quotes, no value as none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value if value.isidentifier() else f"“{value}”"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}"


def bullet(text: str) -> str:
    """A sentence as an item of a list, wrapped for a terminal."""
    return textwrap.fill(pretty(text), WIDTH - 4, initial_indent="• ", subsequent_indent="  ")


def _section(heading: str, lines: list[str]) -> str:
    return heading + "\n" + textwrap.indent("\n".join(lines), "  ")

"""Methods, settings and intervals in words, and a recipe as plain text."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

from toolkit.text import count, pretty, scientific

if TYPE_CHECKING:
    from toolkit.laws import Crossover, Estimate
    from toolkit.recipe.recommendation import MethodChoice, NamedSize, Recipe
    from toolkit.recipe.settings import Setting

METHOD_NAMES = {
    "full": "full fine-tuning",
    "freeze": "block freezing",
    "lora": "LoRA",
    "bias": "bias tuning",
}
SETTING_NAMES = {
    "lr": "learning rate",
    "batch_pairs": "batch",
    "lora_rank": "LoRA rank",
    "trained_blocks": "trained blocks",
}
WIDTH = 96


def method_name(method: str) -> str:
    """What people call the method."""
    return METHOD_NAMES.get(method, method)


def crossing_in_words(crossing: Crossover) -> str:
    """Which method overtakes which, and where, with the names that people use."""
    methods = "|".join(re.escape(method) for method in (crossing.first, crossing.second))
    said = re.sub(rf"\b({methods})\b", lambda m: method_name(m[1]), crossing.statement)
    return pretty(said)


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


def loss(value: float) -> str:
    """A loss in nats: two decimals are what a seed leaves of it; three show a small regret."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """A difference of losses with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def as_text(recipe: Recipe) -> str:
    """The recipe for a terminal: the four questions as headings."""
    convention = "" if recipe.convention == "unstated" else f"{recipe.convention} "
    title = f"The compute-optimal recipe for {scientific(recipe.budget_flop, 3)} {convention}FLOP"
    low, high = recipe.budgets
    few = (
        f"{recipe.n_runs} " if recipe.n_runs == recipe.n_tried else f"the best {recipe.n_runs} of "
    )
    many = "" if recipe.n_runs == recipe.n_tried else f"{recipe.n_tried} "
    about = (
        f"from {few}{many}runs with {len(recipe.methods)} methods, "
        f"budgets {scientific(low)} to {scientific(high)}"
    )
    parts = [
        f"{title}\n{'═' * len(title)}\n{about}; intervals are of 95 %",
        _section("How large a model?", size_lines(recipe)),
        _section("How much data?", data_lines(recipe)),
        _section("Which method?", method_lines(recipe)),
        _section("Which hyperparameters?", [setting_line(s) for s in recipe.settings]),
    ]
    if recipe.warnings:
        parts.append(_section("Before you trust this", [bullet(w) for w in recipe.warnings]))
    if recipe.notes:
        parts.append(_section("How it was made", [bullet(n) for n in recipe.notes]))
    return "\n\n".join(parts)


def size_lines(recipe: Recipe) -> list[str]:
    """Size, nearest decoders and the near-optimal range, a line each."""
    size = recipe.size
    lines = [f"{count(size.params.value)} non-embedding parameters ({_size_source(recipe)})"]
    if size.nearest:
        lines.append(f"nearest decoder: {_named(size.nearest)}")
    if size.nearest is None or size.nearest.name != size.nearest_tried.name:
        lines.append(f"nearest tried:   {_named(size.nearest_tried)}")
    near = [count(end) for end in size.near_optimal]
    within = near[0] if near[0] == near[1] else f"{near[0]} to {near[1]}"
    tried = " (of the sizes tried)" if size.source == "best-tried" else ""
    lines.append(f"within 1 % of the best loss: {within}{tried}")
    return lines


def _size_source(recipe: Recipe) -> str:
    size = recipe.size
    if size.capped:
        return "held to the cap"
    if size.source == "best-tried":
        open_side = spread(size.params, count)
        truth = "" if open_side == "no interval" else f"; the optimum is {open_side}"
        return f"best size tried, not bracketed{truth}"
    return spread(size.params, count)


def _named(decoder: NamedSize) -> str:
    text = f"{decoder.name}, {count(decoder.params)}"
    same = math.isnan(decoder.excess) or abs(decoder.excess) < 5e-4
    return text if same else f"{text}, expected loss {signed(decoder.excess)}"


def data_lines(recipe: Recipe) -> list[str]:
    """Pairs, tokens and steps, a line each, and how often each pair is seen."""
    data = recipe.data
    if math.isnan(data.tokens.value):
        return ["unknown: the table has no tokens"]
    lines = []
    for name, estimate in (("pairs", data.pairs), ("tokens", data.tokens), ("steps", data.steps)):
        if not math.isnan(estimate.value):
            lines.append(f"{count(estimate.value):>6} {name:7} ({spread(estimate, count)})")
    if not math.isnan(data.tokens_per_pair):
        lines.append(f"at {data.tokens_per_pair:.1f} tokens a pair, as in these runs")
    if math.isfinite(data.epochs):
        often = f"{count(data.epochs)} times" if data.epochs > 1.001 else "at most once"
        lines.append(f"each of the {count(data.distinct_pairs)} distinct pairs seen {often}")
    return lines


def method_lines(recipe: Recipe) -> list[str]:
    """The table of methods, best first: loss and regret with intervals."""
    rows = method_rows(recipe)
    width = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        numbers = [c.rjust(w) for c, w in zip(row[1:], width[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(width[0]), *numbers]).rstrip())
    return lines + method_notes(recipe)


def method_rows(recipe: Recipe) -> list[tuple[str, ...]]:
    """The cells of `method_lines`, the header first."""
    head = ("", "loss", "interval", "regret", "interval", "best in", "own size")
    return [head, *(_method_row(choice) for choice in recipe.methods)]


def method_notes(recipe: Recipe) -> list[str]:
    """What the marks in the table of methods mean, and where the recommended one overtakes."""
    notes = []
    if any(choice.source == "best-tried" for choice in recipe.methods):
        notes.append("* best of the sizes tried, which do not bracket its optimum")
    if not all(choice.comparable for choice in recipe.methods):
        notes.append("? the loss at the nearest budget tried: no law")
    return notes + [bullet(crossing_in_words(crossing)) for crossing in _relevant(recipe)]


def _method_row(choice: MethodChoice) -> tuple[str, ...]:
    name = method_name(choice.method)
    if math.isnan(choice.loss.value):
        return (name, "–", choice.reason, "", "", "", "")
    best = choice.regret.value == choice.regret.low == choice.regret.high == 0
    return (
        name,
        loss(choice.loss.value) + ("" if choice.comparable else "?"),
        spread(choice.loss, loss),
        "best" if best else signed(choice.regret.value),
        "" if best else spread(choice.regret, signed),
        "" if math.isnan(choice.best_share) else f"{choice.best_share:.0%}",
        count(choice.params.value) + ("*" if choice.source == "best-tried" else ""),
    )


def _relevant(recipe: Recipe) -> list[Crossover]:
    """The crossovers of the recommended method that the data has something to say about."""
    mine = [c for c in recipe.crossovers if recipe.method in (c.first, c.second)]
    return [c for c in mine if c.status in ("crosses", "undecided")]


def setting_value(value: float) -> str:
    """A hyperparameter's value: whole numbers in full, others to three digits."""
    return f"{value:.0f}" if value == round(value) else f"{value:.3g}"


def setting_parts(setting: Setting) -> tuple[str, str, str]:
    """A hyperparameter's name, its value, where that comes from and what is about as good."""
    name = SETTING_NAMES.get(setting.name, setting.name)
    if math.isnan(setting.value):
        return name, "unknown", setting.source
    near = ""
    if setting.low != setting.high:
        ends = f"{setting_value(setting.low)} to {setting_value(setting.high)}"
        near = f"; {ends} are within 1 %"
    return name, setting_value(setting.value), f"{setting.source}{near}"


def setting_line(setting: Setting) -> str:
    """A hyperparameter as a line for a terminal."""
    name, value, source = setting_parts(setting)
    return f"{name:15} {value:<8} {source}"


def bullet(text: str) -> str:
    """A sentence as an item of a list, wrapped for a terminal."""
    return textwrap.fill(pretty(text), WIDTH - 4, initial_indent="• ", subsequent_indent="  ")


def _section(heading: str, lines: list[str]) -> str:
    return heading + "\n" + textwrap.indent("\n".join(lines), "  ")

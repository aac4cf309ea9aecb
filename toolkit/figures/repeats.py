"""Loss against how often each pair was seen, at equal budgets."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from toolkit.figures.style import (
    LOSS,
    budget_colours,
    gather,
    log_axis,
    note,
    panels,
)
from toolkit.recipe.repeats import Repeats
from toolkit.text import count
from toolkit.words import method_name


def loss_by_repeats_panels(found: Sequence[Repeats]) -> Figure:
    """A panel a method and size, a line a budget; numbers at the points are distinct pairs."""
    groups: dict[tuple[str, str], list[Repeats]] = {}
    for each in found:
        groups.setdefault((each.method, each.decoder or count(each.params)), []).append(each)
    shades = budget_colours({each.budget_flop for each in found})
    figure, axes = panels(len(groups), width=4.2, height=3.2, most=3)
    for ax, ((method, decoder), lines) in zip(axes, groups.items(), strict=True):
        for line in lines:
            ax.plot(line.epochs, line.losses, "o-", color=shades[line.budget_flop], ms=4.5, lw=1.6)
            for epochs, loss, distinct in zip(line.epochs, line.losses, line.distinct, strict=True):
                note(ax, count(distinct), (epochs, loss), (0, 6), ha="center", fontsize="x-small")
        log_axis(ax.xaxis, "{:g}".format)
        ax.margins(y=0.12)
        ax.set(
            xlabel="times each pair was seen",
            ylabel=LOSS,
            title=f"{method_name(method)}, {decoder.rsplit('/', 1)[-1]}",
        )
    return gather(figure, axes, shades)

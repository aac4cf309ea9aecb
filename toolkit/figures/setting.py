"""Loss against one setting of a method, LoRA's rank before all (the poster's Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from toolkit.figures.scene import Answer, Scene, canvas
from toolkit.figures.style import (
    INK,
    LOSS,
    RING,
    budget_colours,
    budget_legend,
    gather,
    panels,
)
from toolkit.methods import SETTINGS
from toolkit.recipe.cell import Cell, nearest
from toolkit.recipe.study import Study
from toolkit.words import setting_name


def loss_by_setting_panels(study: Study, method: str, setting: str) -> Figure:
    """Loss against a setting of a method, a panel a size and a line a budget (poster, Figure 5).

    The best value on each line is ringed. Seeds are averaged; where other settings vary as well,
    the best of them counts.
    """
    by_size = varied_cells(study, method, setting)
    shades = budget_colours({cell.budget_flop for cells in by_size.values() for cell in cells})
    figure, axes = panels(len(by_size), width=2.9, height=2.6, most=4)
    for ax, cells in zip(axes, by_size.values(), strict=True):
        loss_by_setting(cells, setting, ax, colours=shades)
    return gather(figure, axes, shades)


class SettingScene(Scene[Answer]):
    """Loss against a setting at one size: in bold at the budget tried nearest to that asked.

    Args:
        sizes: By size, cells (`varied_cells`); colours are the same at every size.
    """

    def __init__(self, sizes: Mapping[float, Sequence[Cell]], size: float, setting: str) -> None:
        self.cells = sizes[size]
        figure = canvas()
        ax = figure.add_axes((0.075, 0.14, 0.70, 0.77))
        shades = budget_colours({cell.budget_flop for cells in sizes.values() for cell in cells})
        loss_by_setting(self.cells, setting, ax, colours=shades)
        budget_legend(figure, shades, loc="upper left", bbox_to_anchor=(0.79, 0.95))
        (self.bold,) = ax.plot([], [], "-", color=INK, lw=4, alpha=0.35, zorder=2)
        super().__init__(figure, [self.bold])

    def move(self, answer: Answer) -> None:
        near = self.nearest(answer)
        self.bold.set_data(near.values, near.losses)

    def nearest(self, answer: Answer) -> Cell:
        return nearest(self.cells, answer.budget_flop, self.cells[0].params)


def varied_cells(study: Study, method: str, setting: str) -> dict[float, list[Cell]]:
    """By size, the cells in which several values of a setting were tried, by ascending budget."""
    found: dict[float, list[Cell]] = {}
    for cell in study.cells[method][setting]:
        if len(cell.values) > 1:
            found.setdefault(cell.params, []).append(cell)
    return found


def loss_by_setting(
    cells: Sequence[Cell], setting: str, ax: Axes, *, colours: Mapping[float, Any] | None = None
) -> Axes:
    """Loss against a setting at one size: the cells of that size, a line each."""
    shades = colours or budget_colours([cell.budget_flop for cell in cells])
    for cell in cells:
        shade = shades[cell.budget_flop]
        ax.plot(cell.values, cell.losses, "o-", color=shade, ms=4.5, lw=1.6)
        ax.plot(*cell.best, "o", ms=10, **RING)
    own = SETTINGS.get(setting)
    if own and not own.octaves:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        ax.set_xscale("log", base=2 if own else 10)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        if setting == "lr":  # Of any value, and another at each width.
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        else:
            ax.set_xticks(sorted({value for cell in cells for value in cell.values}))
    ax.set(xlabel=setting_name(setting), ylabel=LOSS, title=cells[0].where.rsplit("/", 1)[-1])
    return ax

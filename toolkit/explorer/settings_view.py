"""Loss against LoRA rank (the poster's Figure 5), or against another setting that was swept."""

from __future__ import annotations

import math
from html import escape

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.view import Ask, View, figure, styled
from toolkit.figures import budget_colours, budget_legend, loss_by_setting, varied_cells
from toolkit.figures.style import INK
from toolkit.methods.lora import LORA_RANK
from toolkit.recipe.study import Cell, Study
from toolkit.text import count, scientific
from toolkit.words import method_name, setting_name, setting_value


class SettingsView(View):
    """One size at a time, all budgets; the budget nearest to the slider's is drawn bold."""

    title = LORA_RANK.title

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts)
        wide = widgets.Layout(width="260px")
        self.choice = widgets.Dropdown(description="setting", layout=wide)
        self.slider = widgets.IntSlider(
            0, min=0, max=0, description="size", readout=False, layout=wide
        )
        self.twin = widgets.Dropdown(layout=widgets.Layout(width="150px"), tooltip="size")
        self.controls.children = (self.choice, self.slider, self.twin)
        self._busy = False
        alerts.observe(self.choice, lambda _: self._change())
        alerts.observe(self.slider, self._to)
        alerts.observe(self.twin, self._to)

    def load(self, study: Study) -> None:
        self.study = study
        options = {
            f"{method_name(method)}: {setting_name(name)}": (method, name)
            for method, names in study.varied.items()
            for name in names
        }
        self._busy = True
        ranked = sorted(options, key=lambda label: options[label][1] != LORA_RANK.name)
        self.choice.options = [(label, options[label]) for label in ranked]
        self.choice.value = options[ranked[0]] if ranked else None
        self._busy = False
        for control in (self.choice, self.slider, self.twin):
            control.disabled = not options
        self._choose()

    def show(self, ask: Ask) -> None:
        self.ask = ask
        if not self.sizes:
            said = "No setting was tried at more than one value in these runs."
            self.paint(said, f"<p>{said}</p>")
            return
        cells = self.sizes[self.size]
        near = min(cells, key=lambda c: abs(math.log(c.budget_flop / ask.budget_flop)))
        self.bold.set_data(near.values, near.losses)
        said = self._in_words(near)
        self.paint(said, f"<p>{escape(said)}</p>")

    @property
    def size(self) -> float:
        """The size shown, in parameters."""
        return list(self.sizes)[self.slider.value]

    def _in_words(self, cell: Cell) -> str:
        _, name = self.choice.value
        best = min(cell.losses)
        losses = zip(cell.values, cell.losses, strict=True)
        costs = [
            f"{setting_value(v)} costs {loss - best:+.3f}" for v, loss in losses if loss > best
        ]
        chosen = setting_value(cell.values[cell.losses.index(best)])
        where = cell.decoder or f"{count(cell.params)} parameters"
        return (
            f"With {where} at {scientific(cell.budget_flop)} FLOP, the budget tried nearest to "
            f"yours, {setting_name(name)} {chosen} is best "
            f"(loss {best:.3f}); {', '.join(costs)}."
        )

    def _choose(self) -> None:
        """Another method or setting: its sizes, first one that shows most of its values."""
        self.sizes: dict[float, list[Cell]] = {}
        if self.choice.value:
            self.sizes = varied_cells(self.study, *self.choice.value)
        names = [(cells[0].decoder or count(size)) for size, cells in self.sizes.items()]
        # The middle one of those with the most values tried: a line through two says little.
        most = max((len(_values(cells)) for cells in self.sizes.values()), default=0)
        full = [i for i, cells in enumerate(self.sizes.values()) if len(_values(cells)) == most]
        self._busy = True
        self.twin.options = [(name, place) for place, name in enumerate(names)]
        self.slider.max = max(0, len(names) - 1)
        self.slider.value = full[len(full) // 2] if full else 0
        self.twin.value = self.slider.value if names else None
        self._busy = False
        self._draw()

    @styled
    def _draw(self) -> None:
        drawn = figure()
        ax = drawn.add_axes((0.075, 0.14, 0.70, 0.77))
        if not self.sizes:
            ax.set_axis_off()
            ax.text(0.5, 0.5, "no setting was varied in these runs", ha="center", color="#777777")
            self.drawing = Drawing(drawn)
            return
        cells = [cell for some in self.sizes.values() for cell in some]
        shades = budget_colours({cell.budget_flop for cell in cells})
        loss_by_setting(self.sizes[self.size], self.choice.value[1], ax, colours=shades)
        budget_legend(drawn, shades, loc="upper left", bbox_to_anchor=(0.79, 0.95))
        (self.bold,) = ax.plot([], [], "-", color=INK, lw=4, alpha=0.35, zorder=2)
        self.drawing = Drawing(drawn, [self.bold])

    def _change(self) -> None:
        if not self._busy:
            self._choose()
            self.show(self.ask)

    def _to(self, place: int | None) -> None:
        if self._busy or place is None:
            return
        self._busy = True
        self.slider.value = self.twin.value = place
        self._busy = False
        self._draw()
        self.show(self.ask)


def _values(cells: list[Cell]) -> set[float]:
    """The values of the setting that were tried at a size, at whatever budget."""
    return {value for cell in cells for value in cell.values}

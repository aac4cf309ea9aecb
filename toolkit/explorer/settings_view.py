"""Loss against LoRA rank (the poster's Figure 5), or against another setting that was swept."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.view import Ask, View
from toolkit.figures.scene import Scene, blank
from toolkit.figures.setting import SettingScene, varied_cells
from toolkit.methods.lora import LORA_RANK
from toolkit.recipe.study import Cell, Study
from toolkit.text import count, scientific
from toolkit.words import method_name, setting_name, setting_value

NOTHING = "No setting was tried at more than one value in these runs."


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
        self.twin = widgets.Dropdown(
            options=[("", 0)], layout=widgets.Layout(width="150px"), tooltip="size"
        )
        widgets.link((self.slider, "value"), (self.twin, "value"))
        self.controls.children = (self.choice, self.slider, self.twin)
        self._busy = False
        alerts.observe(self.choice, lambda _: self._change(self._choose))
        alerts.observe(self.slider, lambda _: self._change(self._draw))

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
        if not isinstance(self.scene, SettingScene):
            self.paint(NOTHING)
            return
        self.scene.move(ask.budget_flop)
        self.paint(self._in_words(self.scene.nearest(ask.budget_flop)))

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
        self.sizes = varied_cells(self.study, *self.choice.value) if self.choice.value else {}
        names = [cells[0].decoder or count(size) for size, cells in self.sizes.items()]
        # The middle one of those with the most values tried: a line through two says little.
        tried = [len({v for cell in cells for v in cell.values}) for cells in self.sizes.values()]
        full = [place for place, number in enumerate(tried) if number == max(tried)]
        self._busy = True
        self.slider.value, self.slider.max = 0, max(0, len(names) - 1)
        self.twin.options = [(name, place) for place, name in enumerate(names or [""])]
        self.slider.value = full[len(full) // 2] if full else 0
        self._busy = False
        self._draw()

    def _draw(self) -> None:
        self.scene: Scene[float] = self.stage(
            lambda: (
                SettingScene(self.sizes, self.size, self.choice.value[1])
                if self.sizes
                else blank("no setting was varied in these runs")
            )
        )

    def _change(self, draw: Callable[[], None]) -> None:
        if not self._busy:
            draw()
            self.show(self.ask)

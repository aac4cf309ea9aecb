"""Loss against LoRA rank (the poster's Figure 5), or against another setting that was swept."""

from __future__ import annotations

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.view import View
from toolkit.figures.scene import Answer, Scene, blank
from toolkit.figures.setting import SettingScene, varied_cells
from toolkit.methods.lora import LORA_RANK
from toolkit.text import scientific
from toolkit.words import loss, method_name, setting_name, setting_value, signed

NOTHING = "No setting was tried at more than one value in these runs."


class SettingsView(View[Scene[Answer]]):
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
        alerts.observe(self.choice, self._choose)
        alerts.observe(self.slider, self.restage)

    def load(self) -> None:
        varied = self.answer.study.varied
        pairs = [(method, name) for method, names in varied.items() for name in names]
        pairs.sort(key=lambda pair: pair[1] != LORA_RANK.name)
        with self.alerts.quiet():
            self.choice.options = [
                (f"{method_name(m)}: {setting_name(n)}", (m, n)) for m, n in pairs
            ]
            self.choice.value = pairs[0] if pairs else None
        for control in (self.choice, self.slider, self.twin):
            control.disabled = not pairs
        self._offer()
        self.stage()

    def make(self) -> Scene[Answer]:
        if not self.sizes:
            return blank("no setting was varied in these runs")
        return SettingScene(self.sizes, self.size, self.choice.value[1])

    @property
    def size(self) -> float:
        """The size shown, in parameters."""
        return list(self.sizes)[self.slider.value]

    def words(self) -> tuple[str, ...]:
        if not isinstance(self.scene, SettingScene):
            return (NOTHING,)
        cell, (_, name) = self.scene.nearest(self.answer), self.choice.value
        chosen, best = cell.best
        tried = zip(cell.values, cell.losses, strict=True)
        costs = [f"{setting_value(v)} costs {signed(x - best)}" for v, x in tried if x > best]
        said = (
            f"With {cell.where} at {scientific(cell.budget_flop)} FLOP, the budget tried nearest "
            f"to yours, {setting_name(name)} {setting_value(chosen)} is best "
            f"(loss {loss(best)}); {', '.join(costs)}."
        )
        return (said,)

    def _choose(self) -> None:
        self._offer()
        self.restage()

    def _offer(self) -> None:
        """The sizes of a method's setting, first one that shows most of its values."""
        study, chosen = self.answer.study, self.choice.value
        self.sizes = varied_cells(study, *chosen) if chosen else {}
        names = [cells[0].where for cells in self.sizes.values()]
        # The middle one of those with the most values tried: a line through two says little.
        tried = [len({v for cell in cells for v in cell.values}) for cells in self.sizes.values()]
        full = [place for place, number in enumerate(tried) if number == max(tried)]
        with self.alerts.quiet():
            self.slider.value, self.slider.max = 0, max(0, len(names) - 1)
            self.twin.options = [(name, place) for place, name in enumerate(names or [""])]
            self.slider.value = full[len(full) // 2] if full else 0

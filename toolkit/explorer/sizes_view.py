"""Loss against parameters: the poster's first two panels, with the law at the asked budget."""

from __future__ import annotations

import ipywidgets as widgets

from toolkit.explorer.view import View
from toolkit.figures.isoflop import SizesScene
from toolkit.methods.full import Full
from toolkit.methods.lora import Lora
from toolkit.text import count
from toolkit.words import loss, method_name, said, spread

SHOWN_FIRST = (Full.name, Lora.name)  # As on the poster; the others are one click away.


class SizesView(View[SizesScene]):
    """One panel a method; a curve with its band is the law at the budget of the slider."""

    title = "Loss by size"

    def load(self) -> None:
        methods = self.answer.study.methods
        first = [m for m in methods if m in SHOWN_FIRST or len(methods) <= 2]
        self.buttons = {
            method: widgets.ToggleButton(
                method in (first or methods[:1]),
                description=method_name(method),
                layout=widgets.Layout(width="150px"),
            )
            for method in methods
        }
        for button in self.buttons.values():
            self.alerts.observe(button, self._arrange)
        self.controls.children = tuple(self.buttons.values())
        self.stage()

    def make(self) -> SizesScene:
        scene = SizesScene(self.answer.study)
        scene.arrange(self.chosen)
        return scene

    @property
    def chosen(self) -> list[str]:
        """The methods that are shown."""
        return [method for method, button in self.buttons.items() if button.value]

    def words(self) -> tuple[str, ...]:
        return (f"At {self.answer.said}:", *map(self._method_in_words, self.chosen))

    def _method_in_words(self, method: str) -> str:
        best, ideal = self.answer.best[method], self.answer.ideal(method)
        return (
            f"{method_name(method)}: ★ ideal size {spread(ideal.params, count)}; ◇ {best.decoder}, "
            f"the best decoder at hand, predicted loss {said(best.loss, loss)}."
        )

    def _arrange(self) -> None:
        """Other methods were chosen: only the panels' places change."""
        self.scene.arrange(self.chosen)
        self.is_painted = False
        self.move()

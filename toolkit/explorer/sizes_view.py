"""Loss against parameters: the poster's first two panels, with the law at the asked budget."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from toolkit.explorer.view import Ask, View
from toolkit.figures.isoflop import SizesScene
from toolkit.figures.scene import Answer
from toolkit.methods.full import Full
from toolkit.methods.lora import Lora
from toolkit.recipe.question import Choice
from toolkit.recipe.study import Study
from toolkit.text import count
from toolkit.words import loss, method_name, spread

SHOWN_FIRST = (Full.name, Lora.name)  # As on the poster; the others are one click away.


class SizesView(View):
    """One panel a method; a curve with its band is the law at the budget of the slider."""

    title = "Loss by size"

    def load(self, study: Study) -> None:
        self.study = study
        first = [m for m in study.methods if m in SHOWN_FIRST or len(study.methods) <= 2]
        self.buttons = {
            method: widgets.ToggleButton(
                method in (first or study.methods[:1]),
                description=method_name(method),
                layout=widgets.Layout(width="150px"),
            )
            for method in study.methods
        }
        for button in self.buttons.values():
            self.alerts.observe(button, lambda _: self._arrange())
        self.controls.children = tuple(self.buttons.values())
        self.scene = self.stage(lambda: SizesScene(study))
        self.scene.arrange(self.chosen)

    @property
    def chosen(self) -> list[str]:
        """The methods that are shown."""
        return [method for method, button in self.buttons.items() if button.value]

    def show(self, ask: Ask) -> None:
        self.ask, answer = ask, ask.answer(self.study)
        self.scene.move(answer)
        best = {choice.method: choice for choice in answer.recipe.methods}
        lines = [_in_words(answer, best[method]) for method in self.chosen]
        html = f"<p>At <b>{escape(ask.in_words)}</b>:</p>"
        html += "".join(f"<p>{escape(line)}</p>" for line in lines)
        self.paint(f"At {ask.in_words}: {'; '.join(lines)}.", html)

    def _arrange(self) -> None:
        """Other methods were chosen: only the panels' places change."""
        self.scene.arrange(self.chosen)
        self.is_painted = False
        self.show(self.ask)


def _in_words(answer: Answer, best: Choice) -> str:
    ideal = spread(answer.ideal(best.method).params, count)
    return (
        f"{method_name(best.method)}: ★ ideal size {ideal}; "
        f"◇ {best.decoder}, the best decoder at hand, predicted loss {loss(best.loss.value)} "
        f"({spread(best.loss, loss)})"
    )

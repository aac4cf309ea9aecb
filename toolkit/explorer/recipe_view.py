"""The recipe tab: four answers, the point on the frontier, decoders at hand and regrets."""

from __future__ import annotations

import ipywidgets as widgets

from toolkit.explorer import words
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.view import View
from toolkit.figures.recipe import RecipeScene


class RecipeView(View[RecipeScene]):
    """What to do with the budget, and what anything else would cost."""

    title = "Recipe"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=468)
        self.warnings = widgets.HTML(layout=widgets.Layout(height="150px", overflow="auto"))
        self.copy = widgets.HTML(layout=widgets.Layout(min_height="36px"))
        self.widget.children = (self.picture, self.readout, self.copy, self.warnings)

    def make(self) -> RecipeScene:
        return RecipeScene(self.answer.study)

    def move(self) -> None:
        recipe, runs = self.answer.recipe, self.answer.study.runs
        self.scene.move(self.answer)
        self.paint(words.recipe_in_words(self.answer), html=words.recipe_html(recipe))
        self.warnings.value = words.warnings_html(recipe)
        data = str(runs["data"].iloc[0]) if "data" in runs.columns else "docstrings"
        self.copy.value = words.copy_html(recipe, data)

"""The recipe tab: four answers, the point on the frontier, decoders at hand and regrets."""

from __future__ import annotations

import ipywidgets as widgets

from toolkit.explorer import words
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.view import Ask, View
from toolkit.figures.recipe import RecipeScene
from toolkit.recipe.recommendation import Recipe
from toolkit.recipe.study import Study


class RecipeView(View):
    """What to do with the budget, and what anything else would cost."""

    title = "Recipe"

    def __init__(self, alerts: Alerts) -> None:
        super().__init__(alerts, readout_height=468)
        self.warnings = widgets.HTML(layout=widgets.Layout(height="150px", overflow="auto"))
        self.copy = widgets.HTML(layout=widgets.Layout(min_height="36px"))
        self.widget.children = (self.picture, self.readout, self.copy, self.warnings)
        self.recipe: Recipe | None = None

    def load(self, study: Study) -> None:
        self.study = study
        self.scene = self.stage(lambda: RecipeScene(study))
        data = study.runs["data"] if "data" in study.runs.columns else ["docstrings"]
        self.data = str(next(iter(data)))

    def show(self, ask: Ask) -> None:
        recipe = self.recipe = ask.answer(self.study).recipe
        self.scene.move(recipe)
        self.paint(words.recipe_in_words(recipe, ask.in_words), words.recipe_html(recipe))
        self.warnings.value = words.warnings_html(recipe)
        self.copy.value = words.copy_html(recipe, self.data)

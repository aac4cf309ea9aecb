"""A scene: a figure of which a few artists follow an answer.

A notebook and a report move them once; the explorer's slider, and its page without a kernel, move
them over a picture of everything else (`toolkit.explorer.drawing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from typing import Any, Generic, TypeVar

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from toolkit.figures.style import QUIET
from toolkit.recipe.limits import UNLIMITED, Limits
from toolkit.recipe.question import Choice, Ideal, Question
from toolkit.recipe.recommendation import Recipe, recipe_for
from toolkit.recipe.study import Study
from toolkit.text import scientific

WIDTH, HEIGHT = 9.8, 4.0  # Inches at 100 pixels: fits a laptop's notebook column.
A = TypeVar("A")


class Part(Generic[A]):
    """Artists that follow an answer of type `A`.

    A subclass makes its artists once, in `__init__`, and sets data in `move`.

    Attributes:
        moving: The artists that follow, in the order in which they are drawn.
    """

    moving: Sequence[Artist]

    def move(self, answer: A) -> None:
        """Show an answer; nothing moves where there are no such artists."""


class Scene(Part[A]):
    """A whole figure, and what of it follows an answer."""

    def __init__(self, figure: Figure, moving: Iterable[Artist]) -> None:
        self.figure, self.moving = figure, list(moving)


class Answer:
    """A budget and its limits put to a study, and what that says: each part worked out once.

    Attributes:
        said: Budget and limits in words.
        question, recipe: Raise a ToolkitError where the limits leave nothing.
        best, ideal: The best choice and the ideal size by method, the best method first.
    """

    def __init__(
        self, study: Study, budget_flop: float, limits: Limits = UNLIMITED, said: str = ""
    ) -> None:
        self.study, self.budget_flop, self.limits = study, budget_flop, limits
        self.said = said or f"{scientific(budget_flop, 3)} FLOP"

    @cached_property
    def question(self) -> Question:
        return Question(self.study, self.budget_flop, self.limits)

    @cached_property
    def recipe(self) -> Recipe:
        return recipe_for(self.question)

    @cached_property
    def best(self) -> dict[str, Choice]:
        return {choice.method: choice for choice in self.recipe.methods}

    @cached_property
    def ideal(self) -> Callable[[str], Ideal]:
        return cache(self.question.ideal)


def canvas() -> Figure:
    """A figure of the explorer's size, laid out by hand so that nothing ever shifts."""
    return Figure(figsize=(WIDTH, HEIGHT))


def blank(words: str) -> Scene[Any]:
    """A figure with nothing but words, for what cannot be shown."""
    figure = canvas()
    figure.text(0.45, 0.5, words, ha="center", color=QUIET)
    return Scene(figure, [])

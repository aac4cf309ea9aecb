"""A scene: a picture of which a few artists follow an answer.

A notebook and a report move them once; the explorer's slider, and its page without a kernel, move
them over a picture of everything else (`toolkit.explorer.drawing`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any, Generic, TypeVar

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from toolkit.recipe.question import Question
from toolkit.recipe.recommendation import Recipe, recipe_for

WIDTH, HEIGHT = 9.8, 4.0  # Inches at 100 pixels: fits a laptop's notebook column.
A = TypeVar("A")


class Scene(Generic[A]):
    """What of a figure follows an answer of type `A`.

    A subclass makes every artist once, in `__init__`, and sets data in `move`.

    Attributes:
        figure: The whole.
        moving: The artists that follow, in the order in which they are drawn.
    """

    def __init__(self, figure: Figure, moving: Iterable[Artist]) -> None:
        self.figure = figure
        self.moving = list(moving)

    def move(self, answer: A) -> None:
        """Show an answer."""
        raise NotImplementedError


class Answer:
    """A question to a study, and what scenes show of it: each part worked out once, when asked for.

    Attributes:
        ideal: The ideal size for a method.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.ideal = cache(question.ideal)

    @cached_property
    def recipe(self) -> Recipe:
        return recipe_for(self.question)


def canvas() -> Figure:
    """A figure of the explorer's size, laid out by hand so that nothing ever shifts."""
    return Figure(figsize=(WIDTH, HEIGHT))


def blank(words: str) -> Scene[Any]:
    """A figure with nothing but words, for what cannot be shown."""
    figure = canvas()
    figure.text(0.45, 0.5, words, ha="center", color="#777777")
    return Scene(figure, [])

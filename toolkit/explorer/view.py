"""What the tabs of the explorer have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, TypeVar

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.picture import Picture
from toolkit.explorer.words import LOOK
from toolkit.figures import style
from toolkit.figures.scene import HEIGHT, WIDTH, Answer, Scene
from toolkit.recipe.limits import UNLIMITED, Limits
from toolkit.recipe.question import Question
from toolkit.recipe.study import Study
from toolkit.text import count

S = TypeVar("S", bound=Scene[Any])


@dataclass(frozen=True)
class Ask:
    """What a person asks: a budget in FLOP and in words, and limits."""

    budget_flop: float
    budget: str
    limits: Limits = UNLIMITED

    @property
    def in_words(self) -> str:
        """Budget and limits."""
        limits = [
            ("{} distinct pairs at most", self.limits.max_pairs),
            ("{} parameters at most", self.limits.max_params),
            ("{} texts to embed", self.limits.queries),
        ]
        said = [words.format(count(value)) for words, value in limits if value is not None]
        return ", ".join([self.budget, *said])

    def answer(self, study: Study) -> Answer:
        """What a study says to that.

        Raises:
            ToolkitError: The limits leave nothing.
        """
        return Answer(Question(study, self.budget_flop, self.limits))


class View:
    """A tab: a scene, what it shows in words, and perhaps controls of its own.

    A subclass sets `title`, stages its scene in `load` and moves it in `show`.

    Attributes:
        widget: The tab's content; its height does not depend on what it shows.
        picture, readout: The picture, and the same in words.
        drawing: Of the scene that is staged. is_painted: Whether what does not move has been drawn.
        study, ask: What is shown now.
    """

    title = ""

    def __init__(self, alerts: Alerts, *, readout_height: int = 96) -> None:
        self.alerts = alerts
        self.picture = Picture(width=round(100 * WIDTH), height=round(100 * HEIGHT))
        layout = widgets.Layout(height=f"{readout_height}px", overflow="auto")
        self.readout = widgets.HTML(layout=layout)
        self.controls = widgets.HBox([], layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([self.controls, self.picture, self.readout])
        self.drawing: Drawing | None = None
        self.is_painted = False

    def load(self, study: Study) -> None:
        """Take up another study; `show` follows."""
        raise NotImplementedError

    def show(self, ask: Ask) -> None:
        """Show the answer to what is asked."""
        raise NotImplementedError

    def stage(self, make: Callable[[], S]) -> S:
        """Make a scene, in the figures' style, which is nobody else's; it is the picture now."""
        with style():
            scene = make()
        self.drawing = Drawing(scene)
        self.is_painted = False
        return scene

    def paint(self, words: str, html: str | None = None) -> None:
        """Put the drawing as it is now into the picture, with the words for it."""
        assert self.drawing is not None
        with self.picture.hold_sync():  # Both layers at once.
            if not self.is_painted:
                self.picture.still = self.drawing.still()
                self.is_painted = True
            self.picture.png = self.drawing.moving()
        self.picture.alt = words
        html = f"<p>{escape(words)}</p>" if html is None else html
        self.readout.value = f'{LOOK}<div class="tk-words" aria-live="polite">{html}</div>'

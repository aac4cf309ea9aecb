"""What the tabs of the explorer have in common."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import ipywidgets as widgets

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.picture import Picture
from toolkit.explorer.words import LOOK, paragraphs
from toolkit.figures import style
from toolkit.figures.scene import HEIGHT, WIDTH, Answer, Scene
from toolkit.recipe.study import Study

S = TypeVar("S", bound=Scene[Any])


class View(Generic[S]):
    """A tab: a scene, what it shows in words, and perhaps controls of its own.

    A subclass sets `title`, makes its scene in `make` and says in `words` what it shows.

    Attributes:
        widget: The tab's content; its height does not depend on what it shows.
        picture, readout: The picture, and the same in words.
        answer: What is shown now. study: Whose scene is staged, with its `drawing`.
        is_painted: Whether what does not move has been drawn.
    """

    title = ""
    answer: Answer
    scene: S
    drawing: Drawing

    def __init__(self, alerts: Alerts, *, readout_height: int = 96) -> None:
        self.alerts = alerts
        self.picture = Picture(width=round(100 * WIDTH), height=round(100 * HEIGHT))
        layout = widgets.Layout(height=f"{readout_height}px", overflow="auto")
        self.readout = widgets.HTML(layout=layout)
        self.controls = widgets.HBox([], layout=widgets.Layout(flex_flow="row wrap"))
        self.widget = widgets.VBox([self.controls, self.picture, self.readout])
        self.study: Study | None = None
        self.is_painted = False

    def show(self, answer: Answer) -> None:
        """Show an answer; one of another study is taken up first."""
        self.answer = answer
        if answer.study is not self.study:
            self.load()
        self.move()

    def load(self) -> None:
        """Take up the answer's study: set the tab's own controls, and stage the scene."""
        self.stage()

    def make(self) -> S:
        """The scene of the answer's study."""
        raise NotImplementedError

    def words(self) -> tuple[str, ...]:
        """What the picture shows, in sentences."""
        raise NotImplementedError

    def stage(self) -> None:
        """Make the scene, in the figures' style, which is nobody else's."""
        with style():
            self.scene = self.make()
        self.drawing = Drawing(self.scene)
        self.is_painted, self.study = False, self.answer.study

    def move(self) -> None:
        """Move the scene to the answer, and say so."""
        self.scene.move(self.answer)
        self.paint(*self.words())

    def restage(self) -> None:
        """Another scene, of the same answer."""
        self.stage()
        self.move()

    def paint(self, *sentences: str, html: str = "") -> None:
        """Put the drawing as it is now into the picture, with the words for it."""
        with self.picture.hold_sync():  # Both layers at once.
            if not self.is_painted:
                self.picture.still = self.drawing.still()
                self.is_painted = True
            self.picture.png = self.drawing.moving()
        self.picture.alt = " ".join(sentences)
        html = html or paragraphs(*sentences)
        words = f'<div class="tk-words" aria-live="polite">{html}</div>'
        self.readout.value = f"<style>{LOOK}</style>{words}"

"""What the tabs of the explorer have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import ipywidgets as widgets
from matplotlib.figure import Figure

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.picture import Picture
from toolkit.explorer.words import LOOK
from toolkit.figures import style
from toolkit.recipe.study import Study

P = ParamSpec("P")
R = TypeVar("R")
WIDTH, HEIGHT = 9.8, 4.0  # Inches at 100 pixels: fits a laptop's notebook column.


@dataclass(frozen=True)
class Ask:
    """What a person asks: a budget in FLOP and in words, and limits."""

    budget_flop: float
    in_words: str
    max_pairs: int | None = None
    max_params: float | None = None


class View:
    """A tab: a picture, what it shows in words, and perhaps controls of its own.

    A subclass sets `title`, makes its figure in `load` and moves it in `show`.

    Attributes:
        widget: The tab's content; its height does not depend on what it shows.
        picture, readout: The picture, and the same in words.
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
        self._settled: Drawing | None = None

    def load(self, study: Study) -> None:
        """Take up another study; `show` follows."""
        raise NotImplementedError

    def show(self, ask: Ask) -> None:
        """Show the answer to what is asked."""
        raise NotImplementedError

    def paint(self, words: str, html: str) -> None:
        """Put the drawing as it is now into the picture, with the words for it."""
        assert self.drawing is not None
        if self.drawing is not self._settled:  # Now that everything is in its place.
            self.drawing.settle()
            self._settled = self.drawing
        self.picture.png = self.drawing.png()
        self.picture.alt = words
        self.readout.value = f'{LOOK}<div class="tk-words" aria-live="polite">{html}</div>'


def figure() -> Figure:
    """A figure of the picture's size, laid out by hand so that nothing ever shifts."""
    return Figure(figsize=(WIDTH, HEIGHT))


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """`draw` in the figures' style, which is nobody else's."""

    @functools.wraps(draw)
    def in_style(*arguments: P.args, **options: P.kwargs) -> R:
        with style():
            return draw(*arguments, **options)

    return in_style

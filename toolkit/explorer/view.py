"""What the tabs of the explorer have in common."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ParamSpec, TypeVar

import ipywidgets as widgets
from matplotlib.figure import Figure

from toolkit.explorer.alerts import Alerts
from toolkit.explorer.drawing import Drawing
from toolkit.explorer.picture import Picture
from toolkit.explorer.words import LOOK
from toolkit.figures import style
from toolkit.recipe.limits import Limits
from toolkit.recipe.question import Question
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.study import Study
from toolkit.text import count

P = ParamSpec("P")
R = TypeVar("R")
WIDTH, HEIGHT = 9.8, 4.0  # Inches at 100 pixels: fits a laptop's notebook column.


@dataclass(frozen=True)
class Ask:
    """What a person asks: a budget in FLOP and in words, and limits.

    Attributes:
        budget_flop, budget: The budget, and the same in words.
        max_pairs, max_params, queries: Limits, as of `recommend_from`.
    """

    budget_flop: float
    budget: str
    max_pairs: int | None = None
    max_params: float | None = None
    queries: float | None = None

    @property
    def in_words(self) -> str:
        """Budget and limits."""
        limits = [
            ("{} distinct pairs at most", self.max_pairs),
            ("{} parameters at most", self.max_params),
            ("{} texts to embed", self.queries),
        ]
        said = [words.format(count(value)) for words, value in limits if value is not None]
        return ", ".join([self.budget, *said])

    def recipe(self, study: Study) -> Recipe:
        """The answer.

        Raises:
            ToolkitError: The limits leave nothing.
        """
        return recommend_from(study, budget_flop=self.budget_flop, **asdict(self.limits))

    def question(self, study: Study) -> Question:
        """To ask the law for more than the recipe holds; raises the same."""
        return Question(study, self.budget_flop, self.limits)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_pairs, self.max_params, self.queries)


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

    @property
    def is_painted(self) -> bool:
        """Whether the drawing has been shown since it was made."""
        return self.drawing is not None and self.drawing is self._settled

    def paint(self, words: str, html: str) -> None:
        """Put the drawing as it is now into the picture, with the words for it."""
        assert self.drawing is not None
        if not self.is_painted:  # Now that everything is in its place.
            self.drawing.settle()
            self._settled = self.drawing
        self.picture.png = self.drawing.png()
        self.picture.alt = words
        self.readout.value = f'{LOOK}<div class="tk-words" aria-live="polite">{html}</div>'


def budget_range(study: Study) -> tuple[float, float]:
    """The budgets that the explorer offers: half a decade below those tried to two above."""
    return study.budgets[0] / 10**0.5, study.budgets[-1] * 100


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

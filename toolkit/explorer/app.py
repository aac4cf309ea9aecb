"""The explorer: sweeps to choose from, a budget to move, and tabs that answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from toolkit.decoders import SUITE_FOLDER
from toolkit.errors import ToolkitError
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.controls import BudgetControl, LogControl
from toolkit.explorer.frontier_view import FrontierView
from toolkit.explorer.latest import Latest
from toolkit.explorer.law_view import LawView
from toolkit.explorer.recipe_view import RecipeView
from toolkit.explorer.settings_view import SettingsView
from toolkit.explorer.sizes_view import SizesView
from toolkit.explorer.view import View
from toolkit.explorer.words import asked_in_words
from toolkit.figures.budget import budget_range
from toolkit.figures.scene import Answer
from toolkit.recipe.limits import Limits
from toolkit.recipe.study import EVERY_DRAW, Study
from toolkit.synthetic import run_table
from toolkit.tables import read_table, tidy

RUNS = SUITE_FOLDER.parent
FIRST = "reference"  # The sweep that ships with the project.
EXAMPLE = "an example (synthetic runs, known truth)"
GIVEN = "the table given"

Source = Callable[[], pd.DataFrame]


def find_sweeps(folder: str | Path = RUNS, *, ready: bool = True) -> dict[str, Source]:
    """The sweeps under `folder` by name, the reference first.

    Args:
        folder: Of which each folder with a run table is a sweep.
        ready: Those with runs enough for a law; else the others, which are on their way or damaged.
    """
    found = sorted(
        (path.parent for path in Path(folder).glob("*/runs.csv")),
        key=lambda path: (path.name != FIRST, path.name),
    )
    return {
        path.name: lambda path=path: read_table(path)  # type: ignore[misc]
        for path in found
        if _is_ready(path / "runs.csv") is ready
    }


def offered() -> dict[str, Source]:
    """What there is to show without a wish: sweeps, an example that always works, the rest."""
    example = {EXAMPLE: lambda: run_table(ranks=(8, 32, 64, 128, 512), seeds=(0, 1))}
    return {**find_sweeps(), **example, **find_sweeps(ready=False)}


def _is_ready(runs: Path) -> bool:
    """Whether some method has finished runs of three sizes at each of three budgets."""
    state = runs.stat()
    return _is_wide(runs, (state.st_mtime_ns, state.st_size))


@lru_cache
def _is_wide(runs: Path, state: tuple[int, int]) -> bool:
    """The same of a file as it is in a `state`: read once, however often it is asked about."""
    try:
        table = read_table(runs)
        sizes = table[table["status"] == "finished"].groupby(["method", "budget_flop"])["params"]
        wide = sizes.nunique() >= 3
        return bool((wide.groupby("method").sum() >= 3).any())
    except (ToolkitError, KeyError):
        return False


class Explorer(widgets.VBox):
    """Ask a sweep for the recipe at a budget.

    Attributes:
        sweep, path: Which runs: a sweep by name, or the path of any run table.
        budget, max_pairs, max_params, queries: What is asked.
        tabs, views: The answers; only the visible one is kept up to date.
        alerts: What went wrong (`alerts.check()` raises it).
        study: The runs shown and their laws.
    """

    def __init__(self, sources: dict[str, Source], *, draws: int = EVERY_DRAW) -> None:
        self.alerts = Alerts()
        self.sources = dict(sources)
        self.draws = draws
        self._studies: dict[str, Study] = {}
        self.redraw = Latest(self.alerts.guard(self._answer))
        wide = widgets.Layout(width="420px")
        self.sweep = widgets.Dropdown(options=list(self.sources), description="sweep", layout=wide)
        self.path = widgets.Text(
            placeholder="or the path of a run table or a sweep's folder",
            continuous_update=False,
            layout=widgets.Layout(width="400px"),
        )
        self.budget = BudgetControl(1e11, 1e13, 1e12, self.alerts)
        self.max_pairs = LogControl("pairs at most", 1e3, 1e9, 1e5, self.alerts, optional=True)
        self.max_params = LogControl("size at most", 1e3, 1e11, 1e6, self.alerts, optional=True)
        self.queries = LogControl("queries", 1, 1e13, 1e5, self.alerts, optional=True)
        self.limits = (self.max_pairs, self.max_params, self.queries)
        tabs = (RecipeView, SizesView, FrontierView, SettingsView, LawView)
        self.views: list[View[Any]] = [tab(self.alerts) for tab in tabs]
        self.tabs = widgets.Tab([view.widget for view in self.views])
        self.tabs.titles = tuple(view.title for view in self.views)
        super().__init__(
            [
                widgets.HBox([self.sweep, self.path]),
                self.budget.widget,
                widgets.HBox([self.max_pairs.widget, self.max_params.widget]),
                widgets.HBox([self.queries.widget, self.budget.share]),
                self.alerts.widget,
                self.tabs,
            ],
            layout=widgets.Layout(max_width="1024px"),
        )
        self.alerts.observe(self.sweep, self._choose)
        self.alerts.observe(self.path, self._open)
        self.alerts.observe(self.tabs, self._answer, "selected_index")
        asked = (self.budget.utilisation, self.budget.unit, self.budget.flop, *self.limits)
        for control in asked:
            self.alerts.observe(control, self.redraw.request)
        self.alerts.guard(self._choose)()

    @property
    def view(self) -> View[Any]:
        """The visible tab."""
        return self.views[self.tabs.selected_index or 0]

    def flush(self) -> None:
        """Draw now what a burst of changes has asked for."""
        self.redraw.flush()

    def _open(self) -> None:
        """Show the run table at a path that a person typed."""
        name = self.path.value.strip()
        if not name:
            return
        self._study_of(name, lambda: read_table(name))
        if name not in self.sources:
            self.sources[name] = lambda: read_table(name)
            self.sweep.options = list(self.sources)
        self.sweep.value = name

    def _choose(self) -> None:
        name = self.sweep.value
        if name is None:
            return
        study = self._study_of(name, self.sources[name])
        self.study = study
        low, high = budget_range(study)
        with self.alerts.quiet():  # Three controls move, and one picture is drawn.
            self.max_params.reach(float(study.runs["params"].min()), 1e11)
            self.budget.flop.reach(low, high)
            self.budget.flop.set(study.budgets[-1])
        self.redraw.request()

    def _study_of(self, name: str, source: Source) -> Study:
        if name not in self._studies:
            self._studies[name] = Study.of(source(), draws=self.draws)
        return self._studies[name]

    def _answer(self) -> None:
        pairs = self.max_pairs.value
        distinct = None if pairs is None else max(1, round(pairs))
        limits = Limits(distinct, self.max_params.value, self.queries.value)
        said = asked_in_words(self.budget.in_words, limits)
        self.view.show(Answer(self.study, self.budget.flop.number, limits, said))


def explore(
    source: str | Path | pd.DataFrame | None = None, *, draws: int = EVERY_DRAW
) -> Explorer:
    """The explorer, on the sweeps under `runs/` or on a given one.

    Args:
        source: A run table, the path of one, or a sweep's folder; by default the first sweep
            found under `runs/`, and a synthetic example where there is none. One with columns
            of other names: `explore(read_table("x.csv", columns={"params": "Model Size"}))`.
        draws: Of the law's posterior, behind the intervals.

    Example:
        >>> explorer = d2e.explore("reference")  # the last line of a cell
        >>> explorer.tabs.titles[0]
        'Recipe'

    Raises:
        ToolkitError: The table cannot be read or fitted.
    """
    sources = offered()
    if isinstance(source, pd.DataFrame):
        table = tidy(source)
        sources = {GIVEN: lambda: table, **sources}
    elif source is not None:
        sources = {str(source): lambda: read_table(source), **sources}
    explorer = Explorer(sources, draws=draws)
    if not hasattr(explorer, "study"):
        explorer.alerts.check()
        raise ToolkitError(f"no runs to show: {next(iter(sources))} cannot be used")
    return explorer

"""The explorer's recipe tab against the ordinary way: `ipywidgets.interact` redrawing the figure.

Both answer the same budgets from the same fitted study and draw the same three panels with the
same number of pixels as a PNG. Ours draws the few artists that move, as a layer that the browser
lays over a picture that stays; the ordinary way makes the figure anew with the toolkit's and
seaborn's functions. Neither has a browser: what is timed is the kernel's part, from the slider's
change until the new picture is there.

The drag: forty moves of the slider in 0.4 s, as a kernel's event loop receives them. What counts
is how long after the last move its picture is there, and how many pictures were drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import Callable

import ipywidgets as widgets
import numpy as np
import pandas as pd
import seaborn as sns
from entry import entry, speedups
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from toolkit import figures
from toolkit.explorer import Explorer, explore
from toolkit.explorer.drawing import CSS_DPI, PIXELS
from toolkit.figures.budget import budget_range
from toolkit.figures.scene import HEIGHT, WIDTH
from toolkit.recipe.recommendation import Recipe, recommend_from
from toolkit.recipe.study import Study
from toolkit.synthetic import run_table
from toolkit.text import count
from toolkit.words import method_name

MOVES, FEW_MOVES = 100, 20  # Ours; and the ordinary way, whose every picture takes as long.
DRAG_MOVES, DRAG_PAUSE = 40, 0.01
GOAL = "at least 5"


class Ordinary:
    """A slider and a function that draws everything, tied by `interactive`.

    Attributes:
        slider: Over the logarithm of the budget. png: The latest picture. drawn: How many.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.drawn = 0
        low, high = np.log10(budget_range(study))
        self.slider = widgets.FloatSlider(low, min=low, max=high, step=0.02)
        self.widget = widgets.interactive(self._draw, log_budget=self.slider)
        _set(self.slider, high)

    def _draw(self, log_budget: float) -> None:
        recipe = recommend_from(self.study, budget_flop=10**log_budget)
        out = io.BytesIO()
        FigureCanvasAgg(self._figure(recipe)).print_png(out)
        self.png = out.getvalue()
        self.drawn += 1

    def _figure(self, recipe: Recipe) -> Figure:
        with figures.style():
            figure = Figure(figsize=(WIDTH, HEIGHT), dpi=CSS_DPI * PIXELS)
            panels = figure.subplot_mosaic("AAB;AAC", gridspec_kw={"wspace": 0.6, "hspace": 0.5})
            figures.loss_by_budget(self.study, panels["A"], ends=budget_range(self.study))
            figures.mark_recipe(recipe, panels["A"])
            sizes, ideal = panels["B"], recipe.ideal.params
            sizes.axvspan(ideal.low, ideal.high, color=figures.colour(recipe.method), alpha=0.3)
            sizes.plot(recipe.decoder.params, 0, "*", ms=14)
            figures.log_axis(sizes.xaxis, count)
            regrets = pd.DataFrame(
                {
                    "method": [method_name(choice.method) for choice in recipe.methods],
                    "regret": [choice.regret.value for choice in recipe.methods],
                }
            )
            shades = [figures.colour(choice.method) for choice in recipe.methods]
            sns.barplot(
                regrets, x="regret", y="method", hue="method", palette=shades, ax=panels["C"]
            )
            return figure


def measure(repeats: int = 3) -> list[dict[str, object]]:
    """The entries for `latest.json`: a move of the slider, and a drag."""
    ours = explore(run_table(ranks=(8, 32, 64, 128, 512), seeds=(0, 1)))
    theirs = Ordinary(ours.study)
    low, high = np.log10(budget_range(ours.study))
    slow, fast, late, prompt, pictures = [], [], [], [], []
    for repeat in range(repeats):
        budgets = np.random.default_rng(repeat).permutation(np.linspace(low, high, MOVES))
        fast.append(_percentile(_time(budgets, lambda x: _ask(ours, x), lambda: _png(ours))))
        slow.append(
            _percentile(
                _time(budgets[:FEW_MOVES], lambda x: _set(theirs.slider, x), lambda: theirs.png)
            )
        )
        drag = np.linspace(low, high, DRAG_MOVES)
        before = ours.redraw.answers, theirs.drawn
        prompt.append(asyncio.run(_drag(drag, lambda x: _ask(ours, x), ours.flush)))
        late.append(asyncio.run(_drag(drag, lambda x: _set(theirs.slider, x), lambda: None)))
        pictures.append((ours.redraw.answers - before[0], theirs.drawn - before[1]))
    ours.alerts.check()
    drawn = ", ".join(f"{a} for {b}" for a, b in pictures)
    return [
        entry("explorer: 95th percentile from slider to picture (s), theirs over ours",
              fast, slow, GOAL, speedups(fast, slow)),
        entry(f"explorer: lag of the picture after a drag (s); pictures drawn: {drawn}",
              prompt, late, GOAL, speedups(prompt, late)),
    ]  # fmt: skip


def _ask(explorer: Explorer, log_budget: float) -> None:
    explorer.budget.flop.slider.value = 10**log_budget


def _png(explorer: Explorer) -> bytes:
    picture: bytes = explorer.view.picture.png
    return picture


def _set(slider: widgets.FloatSlider, value: float) -> None:
    void = io.StringIO()  # Without a kernel an Output prints escapes.
    with contextlib.redirect_stdout(void), contextlib.redirect_stderr(void):
        slider.value = value


def _time(
    budgets: np.ndarray, move: Callable[[float], None], png: Callable[[], bytes]
) -> list[float]:
    """Seconds from each move until its picture is there; every picture must be a new one."""
    seconds = []
    for log_budget in budgets:
        before = png()
        begin = time.perf_counter()
        move(float(log_budget))
        seconds.append(time.perf_counter() - begin)
        assert png() != before and png().startswith(b"\x89PNG"), "no new picture"
    return seconds


async def _drag(
    budgets: np.ndarray, move: Callable[[float], None], finish: Callable[[], None]
) -> float:
    """Seconds from the moment of the last move until its picture is there."""
    begin = time.perf_counter()
    for index, log_budget in enumerate(budgets):
        due = begin + index * DRAG_PAUSE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        move(float(log_budget))
    finish()
    return time.perf_counter() - due


def _percentile(seconds: list[float]) -> float:
    return float(np.percentile(seconds, 95))


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))

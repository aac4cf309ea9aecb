import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from toolkit import figures
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.runs import METHODS
from toolkit.synthetic import BUDGETS, DECODERS, TRUTH, run_table


@pytest.fixture(scope="module")
def study() -> Study:
    table = run_table(ranks=(8, 64, 512), shares=(0.5, 1.0), noise=0.003)
    return Study.of(table, resamples=100)


@pytest.fixture(autouse=True)
def styled():
    with figures.style():
        yield


def points(ax, marker):
    """Positions of all lone markers of one kind."""
    lines = [
        line for line in ax.lines if line.get_marker() == marker and len(line.get_xdata()) == 1
    ]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in lines]


# Viénot, Brettel and Mollon 1999: what people see who lack green or red cones, in linear RGB.
DEUTERANOPE = [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]
PROTANOPE = [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]


@pytest.mark.parametrize("eye", [DEUTERANOPE, PROTANOPE, np.eye(3)])
def test_colour_blind_readers_can_tell_the_methods_apart(eye):
    linear = [np.array(to_rgb(figures.colour(method))) ** 2.2 for method in METHODS]
    seen = [(np.array(eye) @ colour).clip(0, 1) ** (1 / 2.2) for colour in linear]
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(one - other) > 0.3


def test_budgets_get_darker_as_they_grow():
    shades = figures.budget_colours([1e13, 1e11, 1e12])
    light = [sum(to_rgb(shades[budget])) for budget in (1e11, 1e12, 1e13)]
    assert light == sorted(light, reverse=True)


def test_loss_by_params_shows_every_run_and_the_minimum_of_every_budget(study):
    ax = Figure().subplots()
    fit = study.fits["full"]
    figures.loss_by_params(fit, ax)
    rows = study.best[study.best["method"] == "full"]
    shown = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "o"])
    assert set(np.round(rows["loss"], 9)) <= set(np.round(shown, 9))
    interior = [m for m in fit.minima if m.status == "interior"]
    assert points(ax, "*") == [(m.params.value, m.loss.value) for m in interior]
    rings = [p for p in points(ax, "o")]
    assert rings == [(m.best_params, m.best_loss) for m in fit.minima if m.status != "interior"]
    assert ax.get_xscale() == "log"


def test_panels_share_one_legend_with_budgets_as_powers_of_ten(study):
    figure = figures.loss_by_params_panels(study)
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "full fine-tuning",
        "block freezing",
        "LoRA",
        "bias tuning",
    ]
    (legend,) = figure.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said[: len(BUDGETS)] == ["10¹¹", "3.2×10¹¹", "10¹²", "3.2×10¹²", "10¹³"]


def test_methods_can_be_chosen_for_the_panels(study):
    figure = figures.loss_by_params_panels(study, ["lora", "full"])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["LoRA", "full fine-tuning"]


def test_the_frontier_is_the_lowest_law_at_every_budget(study):
    ax = figures.loss_by_budget(study, Figure().subplots())
    (frontier,) = [line for line in ax.lines if line.get_linewidth() == 7]
    for budget, loss in zip(*frontier.get_data(), strict=True):
        laws = [fit.loss_law.predict(budget).value for fit in study.fits.values()]
        assert loss == pytest.approx(min(laws))


def test_the_crossover_of_the_frontier_is_drawn_and_named(study):
    (crossing,) = [c for c in figures.frontier_crossovers(study) if c.status == "crosses"]
    assert (crossing.better_below, crossing.better_above) == ("full", "lora")
    ax = figures.loss_by_budget(study, Figure().subplots())
    assert any("LoRA best" in text.get_text() for text in ax.texts)


def test_extrapolation_is_dashed_and_grey(study):
    ax = figures.loss_by_budget(study, Figure().subplots())
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert dashed and all(
        max(x) <= BUDGETS[0] * 1.001 or min(x) >= BUDGETS[-1] * 0.999
        for x in (line.get_xdata() for line in dashed)
    )
    assert "extrapolated" in [text.get_text() for text in ax.texts]


def test_the_recipe_is_marked_at_its_budget_and_loss(study):
    recipe = recommend_from(study, budget_flop=3e12)
    ax = figures.mark_recipe(recipe, Figure().subplots())
    assert points(ax, "*") == [(3e12, recipe.methods[0].loss.value)]


def test_laws_of_size_and_data_are_straight_on_log_axes(study):
    for ax, quantity in zip(figures.laws_panels(study).axes, ("params", "tokens"), strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        law = getattr(study.fits["full"], f"{quantity}_law")
        colour = figures.colour("full")
        (line,) = [x for x in ax.lines if x.get_color() == colour and x.get_linestyle() == "-"
                   and len(x.get_xdata()) > 2]  # fmt: skip
        slopes = np.diff(np.log(line.get_ydata())) / np.diff(np.log(line.get_xdata()))
        assert slopes == pytest.approx(law.exponent.value)


def test_loss_by_rank_has_a_panel_a_size_and_rings_the_best_rank(study):
    figure = figures.loss_by_setting_panels(study, "lora", "lora_rank")
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(DECODERS)
    runs = study.runs[study.runs["method"] == "lora"]
    for ax, (_, rows) in zip(figure.axes, runs.groupby("params"), strict=True):
        assert ax.get_xscale() == "log"
        best = rows.loc[rows.groupby("budget_flop")["loss"].idxmin()]
        assert points(ax, "o") == list(zip(best["lora_rank"], best["loss"], strict=True))


def test_a_setting_takes_the_mean_over_seeds_and_the_best_of_other_settings():
    rows = run_table(truth={"lora": TRUTH["lora"]}, ranks=(8, 64), seeds=(0, 1), noise=0)
    worse = rows.assign(lr=1.0, loss=rows["loss"] + 1)
    rows.loc[rows["seed"] == 1, "loss"] += 0.5
    study = Study.of(pd.concat([rows, worse], ignore_index=True), resamples=0)
    expected = rows.groupby(["params", "budget_flop", "lora_rank"])["loss"].mean()
    losses = [loss for cell in study.cells["lora"]["lora_rank"] for loss in cell.losses]
    assert losses == pytest.approx(list(expected))
    assert study.varied == {"lora": ("lr", "lora_rank")}


@pytest.mark.parametrize("slide", [False, True])
@pytest.mark.parametrize(
    "table",
    [
        run_table(),
        run_table(decoders=DECODERS[2:], budgets=(3e10, 1e11)),  # nothing is bracketed
        run_table(decoders=DECODERS[:1], budgets=(1e12,)),  # one run a method
        run_table()[["method", "params", "budget_flop", "loss"]],  # the least a table may hold
        run_table().assign(method="$\\frac{<b>", decoder="$x$"),  # names are not markup
    ],
)
def test_every_figure_can_be_drawn_from_any_table(table, slide):
    study = Study.of(table, resamples=50)
    with figures.style(slide=slide):
        figure, ax = figures.single()
        figures.mark_recipe(recommend_from(study, budget_flop=2e12), ax)
        figures.loss_by_budget(study, ax)
        for drawn in (figure, figures.loss_by_params_panels(study), figures.laws_panels(study)):
            drawn.canvas.draw()
            assert all(math.isfinite(v) for a in drawn.axes for v in (*a.get_xlim(), *a.get_ylim()))

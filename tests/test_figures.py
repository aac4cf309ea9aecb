import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from toolkit import figures
from toolkit.figures import budget
from toolkit.laws import Estimate
from toolkit.methods import METHODS
from toolkit.recipe import frontier
from toolkit.recipe.crossing import Crossing
from toolkit.recipe.question import Question
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.synthetic import BUDGETS, DECODERS, TRUTH, run_table


@pytest.fixture(scope="module")
def study() -> Study:
    table = run_table(ranks=(8, 64, 512), shares=(0.5, 1.0), noise=0.003)
    return Study.of(table, draws=100)


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


def test_loss_by_params_shows_every_run_and_the_laws_minimum_at_every_budget(study):
    ax = figures.loss_by_params(study, "full", Figure().subplots())
    rows = study.best[study.best["method"] == "full"]
    shown = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "o"])
    assert sorted(shown) == pytest.approx(sorted(rows["loss"]))
    ideals = [Question(study, c).ideal("full") for c in BUDGETS]
    assert points(ax, "*") == [(ideal.params.value, ideal.loss.value) for ideal in ideals]
    assert ax.get_xscale() == "log"


def test_curves_of_loss_by_params_are_the_law_with_its_band(study):
    ax = figures.loss_by_params(study, "full", Figure().subplots())
    solid = [
        line for line in ax.lines if line.get_linestyle() == "-" and line.get_linewidth() > 1.5
    ]
    assert len(solid) == len(ax.collections) == len(BUDGETS)
    for line, c in zip(solid, BUDGETS, strict=True):
        sizes, losses = line.get_data()
        draws = Question(study, c).curve("full", np.asarray(sizes, float))
        assert losses == pytest.approx(np.exp(np.log(draws).mean(axis=0)))


def test_parabolas_have_a_star_where_they_are_bracketed_and_a_ring_elsewhere(study):
    fit = study.fits["full"]
    ax = figures.parabolas(fit, Figure().subplots())
    interior = [m for m in fit.minima if m.status == "interior"]
    assert points(ax, "*") == [(m.params.value, m.loss.value) for m in interior]
    others = [m for m in fit.minima if m.status != "interior"]
    assert points(ax, "o") == [(m.best_params, m.best_loss) for m in others]


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


def test_no_run_lies_outside_where_a_method_was_tried_at_few_sizes():
    table = run_table(noise=0.003)
    middle = np.sort(table["params"].unique())[2:4]
    few = table[(table["method"] == "full") | table["params"].isin(middle)]
    figure = figures.loss_by_params_panels(Study.of(few, draws=50))
    for ax in figure.axes:
        low, high = ax.get_xlim()
        assert low < few["params"].min() and high > few["params"].max()


def test_methods_can_be_chosen_for_the_panels(study):
    figure = figures.loss_by_params_panels(study, ["lora", "full"])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["LoRA", "full fine-tuning"]


def test_the_frontier_is_the_best_choice_at_every_budget(study):
    ax = figures.loss_by_budget(study, Figure().subplots())
    (frontier,) = [line for line in ax.lines if line.get_linewidth() == 7]
    budgets, losses = frontier.get_data()
    for c, loss in list(zip(budgets, losses, strict=True))[::10]:
        assert loss == pytest.approx(recommend_from(study, budget_flop=c).loss.value)


def test_the_points_of_loss_by_budget_are_the_best_runs(study):
    ax = figures.loss_by_budget(study, Figure().subplots())
    means = study.best.groupby(["method", "budget_flop", "params"])["loss"].mean()
    lowest = means.groupby(level=["method", "budget_flop"]).min()
    shown = [p for marker in "oDs^" for p in points(ax, marker)]
    assert sorted(shown) == sorted((b, loss) for (_, b), loss in lowest.items())


def test_the_crossing_of_the_frontier_is_drawn_and_named(study, monkeypatch):
    crossing = Crossing("full", "lora", Estimate(1e12, 5e11, 2e12), 0.97, "crosses")
    monkeypatch.setattr(budget, "frontier_crossings", lambda study: (crossing,))
    ax = figures.loss_by_budget(study, Figure().subplots())
    assert [x for x in ax.lines if x.get_linestyle() == ":" and set(x.get_xdata()) == {1e12}]
    assert any("LoRA best" in text.get_text() for text in ax.texts)


def test_a_crossing_of_two_poor_methods_is_not_on_the_frontier(study, monkeypatch):
    at = Estimate(1e12, 5e11, 2e12)
    poor, good = (Crossing(m, "bias", at, 0.97, "crosses") for m in ("freeze", "full"))
    monkeypatch.setattr(frontier, "crossings", lambda study: (poor, good))
    assert frontier.frontier_crossings(study) == (good,)


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
    assert points(ax, "*") == [(3e12, recipe.loss.value)]


def test_ideal_size_and_data_are_drawn_against_the_budget(study):
    for ax, quantity in zip(figures.laws_panels(study).axes, ("params", "tokens"), strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        colour = figures.colour("full")
        lines = [x for x in ax.lines if x.get_color() == colour and x.get_marker() == "None"]
        budgets, values = np.concatenate([np.array(line.get_data()) for line in lines], axis=1)
        for c in BUDGETS:
            ideal = getattr(Question(study, c).ideal("full"), quantity)
            assert values[list(budgets).index(c)] == pytest.approx(ideal.value)


def test_an_ideal_size_that_is_not_told_has_no_line():
    """Where size does not matter, how small the best decoder is cannot be told."""
    truth = {"full": replace(TRUTH["full"], a=0.01)}
    study = Study.of(run_table(truth=truth), draws=50)
    ax = figures.law_by_budget(study, "params", Figure().subplots())
    lines = [line for line in ax.lines if line.get_marker() == "None" and len(line.get_xdata()) > 2]
    assert lines and np.isnan(np.concatenate([line.get_ydata() for line in lines])).any()


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
    study = Study.of(pd.concat([rows, worse], ignore_index=True), draws=20)
    expected = rows.groupby(["params", "budget_flop", "lora_rank"])["loss"].mean()
    losses = [loss for cell in study.cells["lora"]["lora_rank"] for loss in cell.losses]
    assert losses == pytest.approx(list(expected))
    assert study.varied == {"lora": ("lr", "lora_rank")}


@pytest.mark.slow
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
    study = Study.of(table, draws=50)
    with figures.style(slide=slide):
        figure, ax = figures.single()
        figures.mark_recipe(recommend_from(study, budget_flop=2e12), ax)
        figures.loss_by_budget(study, ax)
        for drawn in (figure, figures.loss_by_params_panels(study), figures.laws_panels(study)):
            drawn.canvas.draw()
            assert all(math.isfinite(v) for a in drawn.axes for v in (*a.get_xlim(), *a.get_ylim()))

import json
import re

import numpy as np
import pytest
import yaml

from toolkit.decoders import KNOWN
from toolkit.errors import ToolkitError
from toolkit.explorer import app, explore, find_sweeps, widget_errors
from toolkit.explorer.alerts import MARK, Alerts
from toolkit.explorer.settings_view import SettingsView
from toolkit.figures.scene import Answer
from toolkit.recipe.limits import Limits
from toolkit.recipe.question import Question
from toolkit.recipe.recommendation import recommend_from
from toolkit.recipe.study import Study
from toolkit.sweep.plan import expand
from toolkit.synthetic import BUDGETS, TRUTH, run_table
from toolkit.text import count
from toolkit.words import LINK_NAMES, crossing_in_words, signed

RECIPE, SIZES, FRONTIER, SETTINGS, LAW = range(5)


def star(view):
    star = view.scene.frontier.star
    return float(star.get_xdata()[0]), float(star.get_ydata()[0])


def test_it_opens_on_the_recipe_of_the_largest_budget(explorer):
    assert explorer.tabs.selected_index == RECIPE
    assert explorer.budget.flop.value == BUDGETS[-1]
    view = explorer.view
    assert star(view) == (BUDGETS[-1], view.answer.recipe.loss.value)
    assert view.picture.png.startswith(b"\x89PNG")
    for question in ("How large", "How much data", "Which method", "Which hyperparameters"):
        assert question in view.readout.value


def test_moving_the_budget_moves_the_point_the_words_and_nothing_else(explorer):
    view = explorer.view
    before = (view.picture.png, view.readout.value, view.picture.alt)
    drawing, height = view.drawing, view.readout.layout.height
    explorer.budget.flop.slider.value = 2e11
    assert star(view) == pytest.approx((2e11, view.answer.recipe.loss.value))
    after = (view.picture.png, view.readout.value, view.picture.alt)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert "2×10¹¹ FLOP" in view.picture.alt
    assert view.drawing is drawing and view.readout.layout.height == height
    explorer.budget.flop.slider.value = BUDGETS[-1]
    assert (view.picture.png, view.readout.value, view.picture.alt) == before


def test_the_recipe_shows_its_decoder_what_is_as_good_and_the_ideal_size(explorer):
    explorer.budget.flop.twin.value = "1e12"
    recipe, sizes = explorer.view.answer.recipe, explorer.view.scene.sizes
    assert tuple(sizes.star.get_xdata()) == (recipe.decoder.params,)
    near = {choice.params for choice in recipe.choices if choice.loss.value <= 1.01 * best(recipe)}
    assert set(sizes.near.get_xdata()) == near and recipe.decoder.params in near
    ideal = recipe.ideal.params
    assert tuple(sizes.ideal.get_xdata()) == pytest.approx((ideal.low, ideal.high))
    for shown in (recipe.decoder.name, count(ideal.low), count(ideal.high)):
        assert shown in explorer.view.readout.value


def best(recipe):
    return min(choice.loss.value for choice in recipe.choices)


def test_a_bar_and_a_whisker_tell_the_regret_of_every_method(explorer):
    explorer.budget.flop.twin.value = "1e12"
    view = explorer.view
    for choice in view.answer.recipe.methods:
        best = choice.method == view.answer.recipe.method
        bar, whisker, text = view.scene.regrets.bars[choice.method]
        assert bar.get_xdata()[1] == pytest.approx(choice.regret.value)
        ends = () if best else (choice.regret.low, choice.regret.high)
        assert tuple(whisker.get_xdata()) == pytest.approx(ends)
        assert text.get_text().strip() == ("best" if best else signed(choice.regret.value))
        assert f"<td>{choice.decoder}" in view.readout.value


def test_the_recipe_says_which_law_it_stands_on_and_what_the_other_would_say(explorer):
    view = explorer.view
    form = view.answer.recipe.form
    assert LINK_NAMES[form.name] in view.warnings.value
    assert form.runner_up_choice.split()[1] in view.warnings.value


def test_limits_on_pairs_size_and_texts_reach_the_recipe(explorer):
    explorer.max_params.switch.value = True
    explorer.max_params.twin.value = "20k"
    assert explorer.view.answer.recipe.decoder.params <= 20_000
    explorer.max_pairs.switch.value = True
    explorer.max_pairs.twin.value = "1k"
    recipe = explorer.view.answer.recipe
    assert recipe.data.distinct == 1000 and "1k distinct pairs" in explorer.view.warnings.value
    assert "1k distinct pairs at most, 20k parameters at most" in explorer.view.picture.alt
    assert all(count(supply) in explorer.view.readout.value for supply, _ in recipe.data.supply)
    explorer.queries.switch.value = True
    explorer.queries.twin.value = "1M"
    assert explorer.view.answer.recipe.queries == 1e6
    assert explorer.view.answer.recipe.data.pairs < recipe.data.pairs
    for limit in explorer.limits:
        limit.switch.value = False
    recipe = explorer.view.answer.recipe
    assert recipe.max_params is None and recipe.max_pairs is None and recipe.queries is None


def test_limits_that_leave_nothing_are_said_and_the_picture_stays(explorer):
    before = explorer.view.picture.png
    explorer.queries.number = 1e12
    explorer.queries.switch.value = True
    assert "more than the whole budget" in explorer.alerts.widget.value
    assert explorer.view.picture.png == before
    explorer.queries.switch.value = False
    assert explorer.alerts.widget.value == "" and explorer.view.picture.png == before


def test_hours_on_a_gpu_are_a_budget_too(explorer):
    explorer.budget.unit.value = "l4"
    explorer.budget.flop.twin.value = "1e-4"
    assert "hours on one l4" in explorer.view.picture.alt
    assert explorer.view.answer.recipe.budget_flop == pytest.approx(121e12 * 0.4 * 0.36)


def test_what_is_copied_runs(explorer):
    explorer.budget.flop.twin.value = "1e12"
    texts = re.findall(r'data-text="([^"]*)"', explorer.view.copy.value)
    from html import unescape

    (config,) = expand(None, yaml.safe_load(unescape(texts[0]))["grid"])
    assert config.method == explorer.view.answer.recipe.method and config.decoder in KNOWN
    assert unescape(texts[1]).startswith("papermill notebooks/train.ipynb")


@pytest.mark.slow
def test_full_and_lora_are_side_by_side_and_the_others_one_click_away(explorer):
    explorer.tabs.selected_index = SIZES
    view = explorer.view

    def shown():
        return {m for m, panel in view.scene.panels.items() if panel.ax.get_visible()}

    assert shown() == {"full", "lora"}
    places = [view.scene.panels[m].ax.get_position().x0 for m in ("full", "lora")]
    assert places == sorted(places)
    before = view.picture.png
    view.buttons["bias"].value = True
    assert shown() == {"full", "lora", "bias"} and view.picture.png != before
    assert "bias tuning" in view.picture.alt
    view.buttons["bias"].value = False
    assert view.picture.png == before


def test_the_law_and_its_band_follow_the_budget(explorer):
    explorer.tabs.selected_index = SIZES
    explorer.budget.flop.twin.value = "1e12"
    panel = explorer.view.scene.panels["full"]
    draws = Question(explorer.study, 1e12).curve("full", panel.grid)
    assert panel.curve.get_ydata() == pytest.approx(np.exp(np.log(draws).mean(axis=0)))
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    heights = panel.band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((low.min(), high.max()))
    explorer.budget.flop.twin.value = "3e11"
    assert min(panel.curve.get_ydata()) > low.min()


def test_a_panel_marks_the_ideal_size_and_the_best_decoder_at_hand(explorer):
    explorer.tabs.selected_index = SIZES
    view = explorer.view
    explorer.budget.flop.twin.value = "1e12"
    for choice in recommend_from(explorer.study, budget_flop=1e12).methods:
        if view.buttons[choice.method].value:
            panel, ideal = view.scene.panels[choice.method], ideal_of(explorer, choice.method)
            assert panel.decoder.get_xydata().tolist() == [[choice.params, choice.loss.value]]
            assert panel.star.get_xydata().tolist() == [[ideal.params.value, ideal.loss.value]]
            assert choice.decoder in view.readout.value
            assert count(ideal.params.low) in view.readout.value


def ideal_of(explorer, method):
    return Question(explorer.study, explorer.budget.flop.value).ideal(method)


@pytest.mark.slow
def test_the_frontier_tab_shows_loss_size_and_data_of_every_method(explorer):
    explorer.tabs.selected_index = FRONTIER
    explorer.budget.flop.twin.value = "1e12"
    view = explorer.view
    recipe = recommend_from(explorer.study, budget_flop=1e12)
    for quantity in ("loss", "params", "tokens"):
        view.quantity.value = quantity
        for choice in recipe.methods:
            told = choice if quantity == "loss" else ideal_of(explorer, choice.method)
            place = [[1e12, getattr(told, quantity).value]]
            assert view.scene.points[choice.method].get_xydata().tolist() == place
    assert "full fine-tuning" in view.picture.alt


def test_the_frontier_tab_names_every_crossing(explorer):
    explorer.tabs.selected_index = FRONTIER
    for crossing in recommend_from(explorer.study, budget_flop=1e12).crossings:
        assert crossing_in_words(crossing) in explorer.view.readout.value


def test_an_ideal_size_that_cannot_be_told_has_no_point(explorer):
    explorer.tabs.selected_index = FRONTIER
    view = explorer.view
    view.quantity.value = "params"
    explorer.max_params.switch.value = True
    explorer.max_params.twin.value = "4k"
    for method, point in view.scene.points.items():
        ideal = Question(explorer.study, BUDGETS[-1], Limits(max_params=4e3)).ideal(method)
        assert len(point.get_xdata()) == (ideal.params.low > 0)


def test_the_rank_tab_shows_one_size_and_names_the_best_rank(explorer):
    explorer.tabs.selected_index = SETTINGS
    view = explorer.view
    assert view.choice.value == ("lora", "lora_rank")
    explorer.budget.flop.twin.value = "1e12"
    cell = next(c for c in view.sizes[view.size] if c.budget_flop == 1e12)
    assert tuple(view.scene.bold.get_xdata()) == cell.values
    assert tuple(view.scene.bold.get_ydata()) == cell.losses
    assert "LoRA rank 64 is best" in view.picture.alt
    before = view.picture.png
    view.slider.value = 0
    assert view.twin.value == 0 and view.size == KNOWN["small-7k"].params
    assert view.picture.png != before
    view.twin.value = 5
    assert view.slider.value == 5 and "small-559k" in view.picture.alt
    view.choice.value = ("freeze", "trained_blocks")
    assert "trained blocks" in view.picture.alt


@pytest.mark.slow
def test_leaving_out_runs_by_click_list_or_rule_moves_the_law(explorer):
    explorer.tabs.selected_index = LAW
    view = explorer.view
    everything = view.result.n_points
    run = view.rows.iloc[3]
    figure, ax = view.drawing.figure, view.scene.runs
    x, y = ax.transData.transform((run["params"], run["loss"])) / figure.bbox.size
    for _ in range(2):
        view.picture._handle_custom_msg({"kind": "click", "x": x, "y": 1 - y}, [])
        explorer.alerts.check()
        dropped = view.dropped.value
        assert view.result.n_points == everything - len(dropped)
    assert dropped == ()
    view.picture._handle_custom_msg({"kind": "click", "x": 0.99, "y": 0.99}, [])
    assert view.dropped.value == ()
    view.dropped.value = (3, 4)
    assert view.result.n_points == everything - 2
    assert len(view.scene.out.get_xdata()) == 2
    view.highest.twin.value = 4
    assert view.highest.slider.value == 4 and view.result.n_points == everything - 6
    view.lowest.slider.value = 1
    assert min(view.result.curves) == BUDGETS[1]
    view.all_back.click()
    assert view.result.n_points == everything


@pytest.mark.slow
def test_form_method_and_held_out_budgets_can_be_chosen(explorer):
    explorer.tabs.selected_index = LAW
    view = explorer.view
    before = view.picture.png
    view.form.value = "power"
    assert view.result.prediction.form == "power" and "power: " in view.picture.alt
    view.held_out.slider.value = 2
    assert len(view.result.prediction.budgets) == 2
    assert len(view.scene.predicted.get_xdata()) == 2
    view.method.value = "lora"
    assert set(view.rows["method"]) == {"lora"}
    assert view.picture.png != before


def test_only_the_visible_tab_is_drawn_and_none_is_stale_when_it_is_opened(explorer):
    hidden = explorer.views[FRONTIER]
    assert hidden.picture.png == b""
    explorer.tabs.selected_index = FRONTIER
    seen = hidden.picture.png
    explorer.tabs.selected_index = RECIPE
    explorer.budget.flop.twin.value = "2e11"
    assert hidden.picture.png == seen
    explorer.tabs.selected_index = FRONTIER
    assert hidden.picture.png != seen and "2×10¹¹" in hidden.picture.alt


@pytest.mark.slow
def test_another_sweep_leaves_nothing_of_the_first(explorer, tmp_path):
    other = tmp_path / "other.csv"
    run_table(truth={"full": TRUTH["full"]}, budgets=(1e9, 1e10)).to_csv(other, index=False)
    for index in range(5):
        explorer.tabs.selected_index = index
    explorer.path.value = str(other)
    assert explorer.sweep.value == str(other)
    assert explorer.budget.flop.value == 1e10
    for index in range(5):
        explorer.tabs.selected_index = index
        assert "LoRA" not in explorer.view.picture.alt
        assert "10¹³" not in explorer.view.picture.alt
    assert explorer.study.methods == ("full",)


def test_a_wrong_path_is_said_and_the_picture_stays(explorer):
    before = explorer.view.picture.png
    explorer.path.value = "/no/such/table.csv"
    assert "no run table at /no/such/table.csv" in explorer.alerts.widget.value
    assert explorer.view.picture.png == before
    explorer.budget.flop.twin.value = "1e12"
    assert explorer.alerts.widget.value == ""


def test_text_from_the_data_is_escaped():
    evil = "<img src=x onerror=alert(1)>"
    table = run_table(truth={evil: TRUTH["full"]}).assign(decoder=evil, data=evil)
    explorer = explore(table, draws=100)
    for index in range(5):
        explorer.tabs.selected_index = index
        view = explorer.view
        assert "<img" not in view.readout.value + explorer.alerts.widget.value
    assert "<img" not in explorer.views[0].copy.value + explorer.views[0].warnings.value
    explorer.alerts.check()


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(
            run_table()[["method", "params", "budget_flop", "loss"]], marks=pytest.mark.slow
        ),
        run_table(decoders=("small-7k",), budgets=(1e12,)),
        run_table(truth={"bias": TRUTH["bias"]}, budgets=(1e12, 2e12)),
    ],
)
def test_every_tab_stands_any_table(table):
    explorer = explore(table, draws=100)
    for index in range(5):
        explorer.tabs.selected_index = index
        explorer.budget.flop.slider.value *= 1.5
        assert explorer.view.picture.alt or explorer.alerts.widget.value
    explorer.alerts.check()


def test_the_reference_sweep_comes_first(tmp_path):
    for name in ("aaa", "reference", "zzz"):
        (tmp_path / name).mkdir()
        run_table().to_csv(tmp_path / name / "runs.csv", index=False)
    (tmp_path / "empty").mkdir()
    assert list(find_sweeps(tmp_path)) == ["reference", "aaa", "zzz"]


def test_a_sweep_on_its_way_or_damaged_is_none_to_open_on(tmp_path):
    whole = run_table()
    tables = {
        "reference": whole[whole["budget_flop"] < 1e12].to_csv(index=False),
        "quick": whole.to_csv(index=False),
        "failed": whole.assign(status="failed").to_csv(index=False),
        "narrow": whole[whole["decoder"].isin(["small-7k", "small-15k"])].to_csv(index=False),
        "damaged": "method,loss\nfull",
        "foreign": "a,b\n1,2\n",
    }
    for name, text in tables.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "runs.csv").write_text(text)
    assert list(find_sweeps(tmp_path)) == ["quick"]
    others = ["reference", "damaged", "failed", "foreign", "narrow"]
    assert list(find_sweeps(tmp_path, ready=False)) == others


@pytest.mark.slow
def test_without_any_sweep_it_opens_on_an_example(fitted_once, monkeypatch):
    monkeypatch.setattr(app, "find_sweeps", lambda **_: {})
    explorer = explore()
    assert explorer.sweep.value == app.EXAMPLE
    explorer.alerts.check()


def test_a_table_that_cannot_be_read_is_refused_at_once():
    with pytest.raises(ToolkitError, match="cannot be used"):
        explore("/no/such/table.csv")


def test_with_nothing_to_judge_by_the_law_tab_shows_the_runs_and_says_so(explorer):
    explorer.tabs.selected_index = LAW
    view = explorer.view
    view.lowest.slider.value = 3
    view.held_out.slider.value = 2
    assert view.result is None and "hold out fewer" in view.picture.alt
    assert not len(view.scene.line.get_xdata()) and "hold out fewer" in view.readout.value
    view.held_out.slider.value = 1
    assert view.result is not None and "held out fewer" not in view.readout.value


def test_a_failing_callback_is_shown_and_fails_the_test(table, fitted_once, monkeypatch):
    explorer = explore(table, draws=100)

    def fail(answer):
        raise RuntimeError("<planted>")

    monkeypatch.setattr(explorer.views[RECIPE], "show", fail)
    explorer.budget.flop.slider.value = 2e11
    assert MARK in explorer.alerts.widget.value
    assert "&lt;planted&gt;" in explorer.alerts.widget.value
    with pytest.raises(RuntimeError, match="planted"):
        explorer.alerts.check()


def test_errors_are_found_in_the_state_of_an_executed_notebook():
    alerts = Alerts()
    alerts.guard(lambda: 1 / 0)()
    state = {
        "a": {"state": {"value": alerts.widget.value}},
        "b": {"state": {"outputs": [{"output_type": "error", "ename": "E", "evalue": "v"}]}},
        "c": {"state": {"value": 3}},
    }
    mime = "application/vnd.jupyter.widget-state+json"
    notebook = {"metadata": {"widgets": {mime: {"state": state}}}}
    found = widget_errors(json.loads(json.dumps(notebook)))
    assert len(found) == 2 and "ZeroDivisionError" in found[0] and found[1] == "E: v"
    assert widget_errors({"metadata": {}}) == []


def test_the_rank_tab_opens_on_a_size_with_the_most_ranks():
    table = run_table(truth={"lora": TRUTH["lora"]}, ranks=(8, 64, 512), noise=0.003)
    sizes = sorted(set(table["params"]))
    few = (table["method"] == "lora") & (table["lora_rank"] == 64)
    view = SettingsView(Alerts())
    study = Study.of(table[~(few & (table["params"] != sizes[-1]))], draws=100)
    view.show(Answer(study, 1e12))
    assert view.choice.value == ("lora", "lora_rank")
    assert len(view.sizes) > 1
    assert view.size == sizes[-1]


def test_no_slider_of_the_recipe_makes_the_hands_on_law_fit_again(explorer):
    explorer.tabs.selected_index = LAW
    result = explorer.view.result
    explorer.budget.flop.slider.value = 2e11
    assert explorer.view.result is result

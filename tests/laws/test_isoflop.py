"""IsoFLOP fits: minima, refusals, laws of the minima, crossovers."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from tests.laws.published import published
from toolkit.errors import ToolkitError
from toolkit.laws import as_json, compare_laws, fit_isoflop, parabola

SIZES = np.geomspace(1e4, 1e6, 7)


def runs(
    budgets,
    *,
    sizes=SIZES,
    best=lambda c: 1e5 * (c / 1e12) ** 0.5,
    loss=lambda c: 2.0 + 40.0 * c**-0.15,
    curvature=0.3,
    noise=0.0,
    seeds=1,
    rng=None,
):
    """A table whose losses are parabolas in log params with known minima."""
    rng = rng or np.random.default_rng(0)
    rows = [
        {
            "budget_flop": c,
            "params": n,
            "tokens": c / (6 * n),
            "seed": s,
            "loss": loss(c) + curvature / 2 * math.log(n / best(c)) ** 2 + noise * rng.normal(),
        }
        for c in budgets
        for n in sizes
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


BUDGETS = np.geomspace(1e11, 1e13, 5)


def test_noise_free_parabolas_give_back_their_laws():
    fit = fit_isoflop(runs(BUDGETS), resamples=20)
    assert [m.status for m in fit.minima] == ["interior"] * 5
    assert fit.laws["params"].exponent.value == pytest.approx(0.5, rel=1e-9)
    assert fit.laws["params"].predict(1e12).value == pytest.approx(1e5, rel=1e-9)
    assert fit.laws["tokens"].predict(1e12).value == pytest.approx(1e12 / 6e5, rel=1e-9)
    assert fit.laws["loss"].form == "saturating"
    assert fit.laws["loss"].asymptote.value == pytest.approx(2.0, rel=1e-6)
    assert fit.laws["loss"].exponent.value == pytest.approx(-0.15, rel=1e-5)
    assert fit.minima[0].curvature == pytest.approx(0.3)


def test_a_minimum_beyond_the_sizes_is_refused_and_the_best_size_tried_stands_in():
    fit = fit_isoflop(runs(BUDGETS, sizes=np.geomspace(2e5, 2e6, 5)), resamples=20)
    low = fit.minima[0]
    assert low.status == "edge-low"
    assert math.isnan(low.params.value)
    assert low.best_params == pytest.approx(2e5)
    assert fit.laws["loss"].sources[0] == "best-tried"
    assert fit.laws["loss"].values[0] == low.best_loss
    assert fit.laws["params"].status == "too-few" or len(fit.laws["params"].budgets) < 5


def test_a_parabola_that_opens_downwards_has_no_minimum():
    fit = fit_isoflop(runs(BUDGETS, curvature=-0.3), resamples=20)
    assert {m.status for m in fit.minima} == {"no-curvature"}
    assert fit.laws["params"].status == "too-few"
    assert "3 lacking" in fit.laws["params"].reason
    with pytest.raises(ToolkitError, match="no law of params"):
        fit.laws["params"].predict(1e12)


def test_two_sizes_are_too_few_for_a_parabola():
    fit = fit_isoflop(runs(BUDGETS, sizes=SIZES[2:4]), resamples=20)
    assert {m.status for m in fit.minima} == {"too-few"}


def test_as_many_runs_as_coefficients_give_no_interval_and_say_so():
    fit = fit_isoflop(runs(BUDGETS[:3], sizes=SIZES[1::2]), resamples=50)
    assert fit.freedom == 0
    assert math.isnan(fit.minima[1].params.low)
    assert any("no intervals" in warning for warning in fit.warnings)


def test_budgets_that_no_two_runs_share_are_refused_with_advice():
    table = runs(BUDGETS)
    table["budget_flop"] *= np.linspace(1, 1.001, len(table))
    with pytest.raises(ToolkitError, match=r"35 different ones in 35 rows.*--budgets"):
        fit_isoflop(table)


def test_the_order_of_rows_does_not_matter():
    table = runs(BUDGETS, noise=0.01)
    shuffled = table.sample(frac=1, random_state=1)
    one, two = fit_isoflop(table, resamples=0), fit_isoflop(shuffled, resamples=0)
    assert one.laws["params"].exponent.value == pytest.approx(two.laws["params"].exponent.value)


def test_predictions_beyond_the_budgets_are_marked():
    law = fit_isoflop(runs(BUDGETS, noise=0.01), resamples=50).laws["loss"]
    assert not law.predict(1e12).extrapolated
    assert law.predict(1e14).extrapolated


def test_the_same_seed_gives_the_same_intervals():
    table = runs(BUDGETS, noise=0.01)
    one, two = (fit_isoflop(table, resamples=50, seed=3) for _ in range(2))
    assert one == two
    assert (
        one.laws["params"].exponent
        != fit_isoflop(table, resamples=50, seed=4).laws["params"].exponent
    )


def test_intervals_hold_the_estimate_and_shrink_with_the_noise():
    widths = []
    for noise in (0.02, 0.002):
        table = runs(BUDGETS, noise=noise, seeds=3)
        exponent = fit_isoflop(table, resamples=200).laws["params"].exponent
        assert exponent.low < exponent.value < exponent.high
        widths.append(exponent.high - exponent.low)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.2)


def test_very_many_runs_get_the_interval_that_resampling_tends_to(monkeypatch):
    table = runs(BUDGETS, noise=0.02, seeds=8)
    drawn = fit_isoflop(table, resamples=800).laws["params"].exponent
    monkeypatch.setattr(parabola, "LARGE", 1)
    limit = fit_isoflop(table, resamples=800).laws["params"].exponent
    assert limit.value == drawn.value
    assert limit.high - limit.low == pytest.approx(drawn.high - drawn.low, rel=0.15)


def test_resamples_come_with_the_fit_for_those_who_need_other_intervals():
    fit = fit_isoflop(runs(BUDGETS, noise=0.01), resamples=64)
    assert fit.draws.coefficients.shape == (64, 5, 3)
    assert fit.draws.loss.shape == (64, 5)
    assert fit.laws["loss"].predict_draws(1e12).shape == (64,)
    assert fit.laws["loss"].predict_draws(np.array([1e12, 1e13])).shape == (64, 2)


def test_a_fit_is_plain_json():
    fit = fit_isoflop(runs(BUDGETS[:2], sizes=SIZES[2:4]), resamples=4)
    text = json.dumps(as_json(fit), allow_nan=False)
    assert json.loads(text)["minima"][0]["status"] == "too-few"


def test_methods_whose_laws_cross_give_the_budget_with_an_interval():
    def method(exponent):
        return runs(
            BUDGETS,
            loss=lambda c: 4.0 * (c / 1e12) ** exponent,
            noise=0.01,
            rng=np.random.default_rng(int(-1000 * exponent)),
        )

    fits = {"full": fit_isoflop(method(-0.05)), "lora": fit_isoflop(method(-0.1))}
    (found,) = compare_laws({name: fit.laws["loss"] for name, fit in fits.items()})
    assert found.status == "crosses"
    assert (found.better_below, found.better_above) == ("full", "lora")
    assert found.budget.low < 1e12 < found.budget.high
    assert "lora goes below full" in found.statement


def test_methods_that_never_meet_are_said_to_show_no_crossover():
    worse = runs(BUDGETS, loss=lambda c: 3.0 + 40.0 * c**-0.15, noise=0.01)
    fits = {"full": fit_isoflop(runs(BUDGETS, noise=0.01)), "bias": fit_isoflop(worse)}
    (found,) = compare_laws({name: fit.laws["loss"] for name, fit in fits.items()})
    assert found.status == "none"
    assert found.better_below == found.better_above == "full"
    assert "no crossover" in found.statement


def test_the_llama_3_optima_are_reproduced():
    table = pd.read_csv(published("llama3"))
    law = fit_isoflop(table, x="tokens", resamples=0).laws["tokens"]
    assert law.exponent.value == pytest.approx(0.537, abs=0.002)
    assert law.coefficient.value == pytest.approx(0.299, rel=0.01)
    assert law.predict(3.8e25).value == pytest.approx(1.6e13, rel=0.02)

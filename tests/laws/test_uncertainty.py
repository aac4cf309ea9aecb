"""Intervals: bootstrap schemes, profiles, and whether they hold the truth as often as they say."""

import math

import numpy as np
import pytest

from tests.laws.simulation import SCENARIOS, simulate
from toolkit.errors import ToolkitError
from toolkit.laws import FORMS, fit, profile
from toolkit.laws import bootstrap as resampling
from toolkit.laws.estimate import interval

X = np.geomspace(1e15, 1e20, 12)
TRUTH = [2.0, 500.0, 0.15]


def noisy(spread=0.005, seed=0, x=X):
    noise = spread * np.random.default_rng(seed).normal(size=len(x))
    return FORMS["saturating"].value(TRUTH, x) * np.exp(noise)


def test_few_runs_are_resampled_by_residuals_and_many_by_runs():
    few = fit("saturating", X, noisy(), resamples=20)
    many_x = np.repeat(X, 4)
    many = fit("saturating", many_x, noisy(x=many_x), resamples=20)
    assert few.resamples is not None and few.resamples.scheme == "residuals"
    assert many.resamples is not None and many.resamples.scheme == "runs"


def test_the_two_schemes_agree_where_there_are_many_runs():
    x = np.repeat(X, 20)
    widths = {}
    for scheme in ("runs", "residuals"):
        found = fit("saturating", x, noisy(x=x), resamples=400, scheme=scheme).params["alpha"]
        widths[scheme] = found.high - found.low
    assert widths["runs"] == pytest.approx(widths["residuals"], rel=0.2)


def test_the_sandwich_agrees_with_resampling_where_both_are_possible(monkeypatch):
    x = np.repeat(X, 40)
    loss = noisy(x=x)
    drawn = fit("saturating", x, loss, resamples=600, scheme="runs").params
    monkeypatch.setattr(resampling, "LARGE", 1000)
    found = fit("saturating", x, loss, resamples=600)
    assert found.resamples is not None and found.resamples.scheme == "sandwich"
    assert any("sandwich" in warning for warning in found.warnings)
    for name, estimate in found.params.items():
        assert estimate.high - estimate.low == pytest.approx(
            drawn[name].high - drawn[name].low, rel=0.2
        )


def test_resamples_of_runs_keep_the_number_at_each_budget():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [3, 5, 4])
    picks = resampling._picks(labels, 50, rng)
    for label in range(3):
        assert (picks[:, labels == label].sum(axis=1) == (labels == label).sum()).all()


def test_resamples_that_fail_are_counted_and_said(monkeypatch):
    solve = resampling._solve

    def lossy(*args):
        drawn = solve(*args)
        drawn[:3] = np.nan
        return drawn

    monkeypatch.setattr(resampling, "_solve", lossy)
    found = fit("saturating", X, noisy(), resamples=20)
    assert found.resamples is not None and found.resamples.failed == 3
    assert "3 of 20 resamples failed and count in no interval" in found.warnings
    assert math.isfinite(found.params["E"].low)


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ToolkitError, match="unknown bootstrap scheme"):
        fit("saturating", X, noisy(), resamples=5, scheme="rnus")


def test_without_resamples_there_is_no_interval():
    estimate = fit("saturating", X, noisy()).params["E"]
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_an_interval_widens_as_degrees_of_freedom_go():
    draws = np.random.default_rng(0).normal(size=20_000)
    ends = [interval(draws, freedom)[1] for freedom in (3, 10, 1000)]
    assert ends == pytest.approx([3.18, 2.23, 1.96], abs=0.12)  # Student's t.


def test_no_degree_of_freedom_is_no_interval():
    assert all(math.isnan(end) for end in interval(np.arange(10.0), 0))


def test_infinite_draws_leave_a_side_open():
    low, high = interval(np.append(np.arange(90.0), np.full(10, np.inf)), 100)
    assert math.isfinite(low) and high == math.inf


@pytest.mark.parametrize("name", ["E", "A", "alpha"])
def test_profile_and_bootstrap_intervals_agree_on_a_well_behaved_law(name):
    found = fit("saturating", X, noisy(), resamples=1000)
    drawn, profiled = found.params[name], profile(found, name).estimate
    assert profiled.value == pytest.approx(drawn.value)
    assert profiled.low < drawn.value < profiled.high
    assert math.log(profiled.high / profiled.low) == pytest.approx(
        math.log(drawn.high / drawn.low), rel=0.4
    )


def test_the_profile_of_a_straight_line_is_students_interval():
    x, y = np.geomspace(1, 1e4, 9), 2 * np.geomspace(1, 1e4, 9) ** 0.5
    y = y * np.exp(0.1 * np.random.default_rng(1).normal(size=9))
    found = profile(fit("power", x, y), "exponent").estimate
    z = np.log(x) - np.log(x).mean()
    slope = (z * np.log(y)).sum() / (z * z).sum()
    rest = np.log(y) - np.log(y).mean() - slope * z
    error = math.sqrt((rest**2).sum() / 7 / (z * z).sum())
    assert found.value == pytest.approx(slope)
    assert (found.low, found.high) == pytest.approx(
        (slope - 2.364624 * error, slope + 2.364624 * error), rel=1e-4
    )


def test_the_profile_bottoms_at_the_fit():
    found = fit("saturating", X, noisy())
    scan = profile(found, "alpha")
    assert scan.objectives.min() == pytest.approx(found.objective)
    assert (np.diff(scan.values) > 0).all()


def test_huber_losses_have_a_profile_but_no_likelihood_interval():
    scan = profile(fit("saturating", X, noisy(), objective="huber-log"), "alpha")
    assert math.isnan(scan.threshold) and math.isnan(scan.estimate.low)


def test_a_pinned_parameter_has_no_profile():
    with pytest.raises(ToolkitError, match="no free parameter 'E'"):
        profile(fit("saturating", X, noisy(), pinned={"E": 2.0}), "E")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["power, 8 points", "saturating, 10 points", "isoflop, 5 budgets x 7 sizes"]
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(name):
    """A quick look with 40 tables; `simulation.py` has the full figures, recorded in the docs."""
    (scenario,) = (s for s in SCENARIOS if s.name == name)
    for quantity, (share, repeats) in simulate(scenario, 40).items():
        # At 95 % coverage fewer than 34 of 40 tables hold the truth once in 300 times.
        assert share >= 34 / 40, f"{quantity}: {share:.0%} of {repeats}"

"""Figures of a fit: each draws into the Axes it is given what it says it draws."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.laws.simulation import isoflop_table
from tests.laws.test_fitting import two_steps
from toolkit.figures import laws as law_figures
from toolkit.laws import FORMS, fit, fit_isoflop, profile, roll


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def law():
    x = np.geomspace(1e15, 1e20, 12)
    noise = 0.005 * np.random.default_rng(0).normal(size=12)
    loss = FORMS["saturating"].value([2.0, 500.0, 0.15], x) * np.exp(noise)
    return fit("saturating", x, loss, resamples=50)


def test_the_law_is_drawn_over_its_runs_with_a_band_and_beyond(law, ax):
    assert law_figures.fit_with_band(law, ax) is ax
    inside, outside, runs = ax.get_lines()
    assert runs.get_xdata() == pytest.approx(law.inputs[0])
    assert inside.get_xdata()[-1] == pytest.approx(1e20)
    assert outside.get_xdata()[-1] == pytest.approx(1e21)
    assert len(ax.collections) == 1
    assert ax.get_xscale() == ax.get_yscale() == "log"


def test_a_budget_law_is_drawn_the_same_way(ax):
    found = fit_isoflop(isoflop_table(np.random.default_rng(0)), resamples=20)
    law_figures.fit_with_band(found.laws["params"], ax)
    assert "FLOP" in ax.get_xlabel()
    assert "parameters" in ax.get_ylabel()


def test_residuals_are_drawn_as_seen_above_predicted(law, ax):
    law_figures.residuals(law, ax)
    (dots,) = (c for c in ax.collections if len(c.get_offsets()) == 12)
    assert np.asarray(dots.get_offsets())[:, 1] == pytest.approx(-100 * law.residual)


def test_a_law_of_two_inputs_is_drawn_as_seen_by_predicted(ax):
    inputs = np.array(
        [[n, d] for n in np.geomspace(1e6, 1e9, 4) for d in np.geomspace(1e9, 1e12, 4)]
    )
    loss = FORMS["parametric"].value([1.8, 400.0, 0.34, 2000.0, 0.37], inputs.T)
    loss *= np.exp(0.01 * np.random.default_rng(0).normal(size=16))
    found = fit("parametric", inputs.T, loss, resamples=20)
    law_figures.seen_by_predicted(found, ax)
    runs = ax.get_lines()[-1]
    assert sorted(runs.get_ydata()) == pytest.approx(sorted(loss))
    assert len(ax.containers) == 1  # The band.


def test_a_profile_shows_the_ends_of_its_interval(law, ax):
    scan = profile(law, "alpha")
    law_figures.objective_profile(scan, ax)
    ends = [line.get_xdata()[0] for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert ends == pytest.approx([scan.estimate.low, scan.estimate.high])


def test_every_rival_optimum_has_a_line(ax):
    data, loss = two_steps()
    found = fit("finetune", data, loss, objective="huber-log")
    law_figures.rival_optima(found, ax)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["best", *(f"rival {i + 1}" for i in range(len(found.rivals)))]


def test_a_rollout_draws_every_prediction(ax):
    rolled = roll(isoflop_table(np.random.default_rng(0), budgets=7), forms=("power", "saturating"))
    law_figures.heldout_rollout(rolled, ax)
    drawn = [line for line in ax.get_lines() if line.get_marker() != "None"]
    assert len(drawn) == sum(not p.reason for p in rolled.predictions)

"""Methods compared: shared parameters, crossovers with intervals, and honest silence."""

import math

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.laws import FORMS, better_at, crossover, fit_joint, fit_power_law
from toolkit.laws.budget_law import loss_law
from toolkit.laws.fitting import fit

BUDGETS = np.geomspace(1e11, 1e14, 9)


def losses(e, a, alpha, seed, spread=0.003):
    noise = spread * np.random.default_rng(seed).normal(size=len(BUDGETS))
    return FORMS["saturating"].value([e, a, alpha], BUDGETS) * np.exp(noise)


def methods(second_e):
    return {
        "full": (BUDGETS, losses(2.0, 40.0, 0.15, 1)),
        "lora": (BUDGETS, losses(second_e, 120.0, 0.19, 2)),
    }


def test_methods_with_one_asymptote_are_found_to_share_it():
    found = fit_joint("saturating", methods(2.0), starts=60)
    assert found.supported
    assert found.fit.params["E"].value == pytest.approx(2.0, abs=0.05)
    assert set(found.fit.params) == {"E", "full.A", "full.alpha", "lora.A", "lora.alpha"}
    assert "support a shared E" in found.statement


def test_methods_with_two_asymptotes_are_found_not_to_share_one():
    found = fit_joint("saturating", methods(2.5), starts=60)
    assert not found.supported
    assert found.p_value < 0.01
    assert "reject" in found.statement


def test_a_joint_law_costs_no_less_than_separate_ones():
    found = fit_joint("saturating", methods(2.0), starts=60)
    alone = sum(f.objective for f in found.separate.values())
    assert found.fit.objective >= alone * (1 - 1e-9)


def test_the_joint_laws_gradient_is_that_of_finite_differences():
    found = fit_joint("saturating", methods(2.0), starts=20).fit
    problem, rows = found.problem, np.zeros(1, np.intp)
    phi = found.phi + 0.01
    gradient = problem(phi[None], rows)[1][0]
    for k in range(len(phi)):
        step = np.zeros(len(phi))
        step[k] = 1e-6
        ahead, behind = (problem((phi + s)[None], rows)[0][0] for s in (step, -step))
        assert gradient[k] == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-9)


@pytest.mark.slow
def test_sharing_is_rejected_about_as_often_as_its_p_value_says():
    rejected = 0
    for seed in range(60):
        pair = {
            "full": (BUDGETS, losses(2.0, 40.0, 0.15, 1000 + seed)),
            "lora": (BUDGETS, losses(2.0, 120.0, 0.19, 2000 + seed)),
        }
        rejected += not fit_joint("saturating", pair, starts=6).supported
    assert rejected <= 9  # Of 60 at 5 %: more would happen once in 2,000 times.


def test_a_joint_law_needs_two_methods_and_squares():
    with pytest.raises(ToolkitError, match="at least two methods"):
        fit_joint("saturating", {"full": methods(2.0)["full"]})
    with pytest.raises(ToolkitError, match="sums of squares"):
        fit_joint("saturating", methods(2.0), objective="huber-log")
    with pytest.raises(ToolkitError, match="no parameter 'e'"):
        fit_joint("saturating", methods(2.0), shared=("e",))


def law(values, draws, budgets=BUDGETS):
    return fit_power_law("loss", budgets, values, draws=draws, freedom=30)


def spread(values, share, seed, count=400):
    noise = share * np.random.default_rng(seed).normal(size=(count, len(values)))
    return values * np.exp(noise)


FLAT, STEEP = 4.0 * (BUDGETS / 1e12) ** -0.05, 4.0 * (BUDGETS / 1e12) ** -0.10


def test_laws_that_clearly_cross_give_the_budget_and_its_interval():
    found = crossover(
        "full", "lora", law(FLAT, spread(FLAT, 0.003, 0)), law(STEEP, spread(STEEP, 0.003, 1))
    )
    assert found.status == "crosses"
    assert (found.better_below, found.better_above) == ("full", "lora")
    assert found.budget.value == pytest.approx(1e12, rel=1e-3)
    assert 5e11 < found.budget.low < 1e12 < found.budget.high < 2e12
    assert found.support > 0.99


def test_the_order_in_which_methods_are_named_does_not_matter():
    one, two = law(FLAT, spread(FLAT, 0.003, 0)), law(STEEP, spread(STEEP, 0.003, 1))
    forth, back = crossover("full", "lora", one, two), crossover("lora", "full", two, one)
    assert forth.budget.value == pytest.approx(back.budget.value)
    assert (forth.better_above, forth.status) == (back.better_above, back.status)


def test_a_crossing_that_noise_could_undo_is_undecided():
    near = 4.0 * (BUDGETS / 1e12) ** -0.052
    found = crossover(
        "full", "lora", law(FLAT, spread(FLAT, 0.05, 0)), law(near, spread(near, 0.05, 1))
    )
    assert found.status == "undecided"
    assert "does not settle it" in found.statement
    assert found.budget.low == 0 or math.isinf(found.budget.high)


def test_laws_that_do_not_cross_are_said_to_show_no_crossover():
    found = crossover(
        "full",
        "bias",
        law(FLAT, spread(FLAT, 0.003, 0)),
        law(1.3 * FLAT, spread(1.3 * FLAT, 0.003, 1)),
    )
    assert found.status == "none"
    assert found.better_below == found.better_above == "full"
    assert found.support == 1
    assert "no crossover" in found.statement


def test_a_crossing_outside_the_budgets_tried_is_marked_as_extrapolated():
    late = 4.0 * (BUDGETS / 4e14) ** -0.10 * (4e14 / 1e12) ** -0.05
    found = crossover(
        "full", "lora", law(FLAT, spread(FLAT, 0.001, 0)), law(late, spread(late, 0.001, 1))
    )
    assert found.budget.value == pytest.approx(4e14, rel=0.01)
    assert found.budget.extrapolated


def test_methods_without_a_common_budget_are_not_compared():
    other = law(FLAT, spread(FLAT, 0.003, 0), budgets=BUDGETS * 1e9)
    found = crossover("full", "lora", law(FLAT, spread(FLAT, 0.003, 1)), other)
    assert found.status == "no-law"
    assert "no common budgets" in found.statement


def test_a_method_without_a_law_is_not_compared():
    empty = fit_power_law("loss", BUDGETS[:1], FLAT[:1], draws=np.empty((0, 1)), freedom=3)
    found = crossover("full", "lora", law(FLAT, spread(FLAT, 0.003, 1)), empty)
    assert found.status == "no-law"
    assert "no loss law for lora" in found.statement


def test_without_resamples_a_crossing_is_of_unknown_certainty():
    none = np.empty((0, len(BUDGETS)))
    found = crossover("full", "lora", law(FLAT, none), law(STEEP, none))
    assert found.status == "undecided"
    assert "unknown certainty" in found.statement


def test_a_fitted_saturating_law_predicts_as_the_fit_does():
    found = fit("saturating", BUDGETS, losses(2.0, 40.0, 0.15, 1), resamples=100)
    (direct,), other = found.predict([1e13]), loss_law(found).predict(1e13)
    assert (other.value, other.low, other.high) == pytest.approx(
        (direct.value, direct.low, direct.high)
    )


def test_a_method_that_is_clearly_better_at_a_budget_is_called_so():
    one, two = law(FLAT, spread(FLAT, 0.003, 0)), law(STEEP, spread(STEEP, 0.003, 1))
    above, below = (better_at("full", "lora", one, two, budget) for budget in (5e13, 2e11))
    assert (above.better, below.better) == ("lora", "full")
    assert above.settled and below.settled
    truth = 4.0 * (50**-0.05 - 50**-0.10)
    assert above.gap.low < truth < above.gap.high
    assert above.support > 0.99


def test_a_difference_within_the_noise_is_not_settled():
    one, two = law(FLAT, spread(FLAT, 0.01, 0)), law(1.001 * FLAT, spread(1.001 * FLAT, 0.01, 1))
    found = better_at("full", "bias", one, two, 1e12)
    assert not found.settled
    assert found.gap.low < 0 < found.gap.high
    assert "does not settle" in found.statement

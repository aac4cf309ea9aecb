"""The joint law finds a known truth, chooses the right link, and knows what it does not know."""

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from toolkit.laws.cells import Cells
from toolkit.laws.gauss_newton import Prior, fit_modes
from toolkit.laws.joint import JointLaw
from toolkit.laws.links import LINKS, effective_data
from toolkit.laws.posterior import fit_posterior
from toolkit.laws.surface import contenders, fit_surface

CHANCE = math.log(512)
SIZES = np.array([5e3, 1.2e4, 3e4, 7e4, 1.6e5])
BUDGETS = np.geomspace(2e10, 2e12, 5)
# Constants of the tests' own: no study has them.
TRUTH = {"E": 0.9, "alpha": 0.33, "beta": 0.7, "A": {"full": -0.9, "lora": -1.0},
         "B": {"full": 0.1, "lora": 0.5}}  # fmt: skip


def true_loss(link, method, params, pairs, unique=np.inf, decay=2.0):
    data = np.exp(effective_data(np.log(pairs), np.log(unique), np.log(decay))[0])
    x = np.exp(TRUTH["A"][method]) * (params / 3e4) ** -TRUTH["alpha"]
    x = x + np.exp(TRUTH["B"][method]) * (data / 5e4) ** -TRUTH["beta"]
    return TRUTH["E"] + (CHANCE - TRUTH["E"]) * LINKS[link].value(x)


def cells(link="bounded", *, noise=0.006, unique=np.inf, methods=("full", "lora"), seed=0):
    rng = np.random.default_rng(seed)
    place = [(m, j, c) for m in range(len(methods)) for j in range(len(SIZES)) for c in BUDGETS]
    method, decoder, budget = (np.array(column) for column in zip(*place, strict=True))
    pairs = budget / (600 * SIZES[decoder])
    loss = np.array(
        [
            true_loss(link, methods[m], SIZES[j], d, unique)
            for m, j, d in zip(method, decoder, pairs, strict=True)
        ]
    )
    return Cells(
        methods=tuple(methods), method=method.astype(int), decoders=SIZES,
        decoder=decoder.astype(int), single=np.zeros(len(SIZES), bool), log_pairs=np.log(pairs),
        log_unique=np.full(len(pairs), np.log(unique)), log_flop=np.log(budget),
        log_loss=np.log(loss) + noise * rng.standard_normal(len(pairs)),
        runs=np.ones(len(pairs)), chance=CHANCE, noise=noise,
    )  # fmt: skip


@lru_cache
def surface_of(link="bounded"):
    """The law of `cells(link)`, for all who ask about it."""
    return fit_surface(cells(link), draws=400)


@pytest.mark.parametrize("link", list(LINKS))
@pytest.mark.parametrize("unique", [np.inf, 3e4])
def test_slopes_are_those_of_finite_differences(link, unique):
    law = JointLaw(cells(unique=unique), LINKS[link])
    rng = np.random.default_rng(3)
    phi = law.starts()[:2] + 0.2 * rng.standard_normal((2, law.size))
    _, slopes = law(phi)
    for k in range(law.size):
        step = np.zeros(law.size)
        step[k] = 1e-6
        numeric = (law(phi + step)[0] - law(phi - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[:, :, k], numeric, atol=2e-7, rtol=2e-5)


def test_repeats_are_worth_less_and_less():
    seen = np.log([1e4, 3e4, 6e4, 3e5, 1e9])
    data, _ = effective_data(seen, np.full(5, np.log(3e4)), np.log(2.0))
    assert np.exp(data[:2]) == pytest.approx([1e4, 3e4])
    assert np.exp(data[2]) == pytest.approx(3e4 * (1 + 2 * (1 - math.exp(-0.5))))
    assert np.exp(data[-1]) == pytest.approx(3e4 * 3)


def test_a_linear_problem_ends_where_algebra_says():
    rng = np.random.default_rng(0)
    design, y = rng.standard_normal((12, 3)), rng.standard_normal(12)
    prior = Prior(np.ones((1, 3)), 0.5 * np.eye(3)[None])
    found = fit_modes(
        lambda phi: (phi @ design.T, np.broadcast_to(design, (len(phi), 12, 3))),
        np.zeros((1, 3)), y[None], np.full((1, 12), 0.1), prior,
    )  # fmt: skip
    expected = np.linalg.solve(design.T @ design / 0.1 + 2 * np.eye(3), design.T @ y / 0.1 + 2)
    np.testing.assert_allclose(found.phi[0], expected, rtol=1e-6)


@pytest.mark.parametrize("link", list(LINKS))
def test_the_form_that_made_the_runs_predicts_the_largest_budget_better(link):
    surface = surface_of(link)
    assert surface.form == link
    assert surface.weights[link] > 0.9


@pytest.mark.parametrize("link", list(LINKS))
def test_ten_times_above_its_budgets_the_surface_holds_the_truth(link):
    surface = surface_of(link)
    budget = 10 * BUDGETS[-1]
    for method in ("full", "lora"):
        pairs = budget / (600 * SIZES)
        draws = surface.draws(method, SIZES, pairs, math.log(budget))
        truth = np.array([true_loss(link, method, n, d) for n, d in zip(SIZES, pairs, strict=True)])
        low, high = np.quantile(draws, (0.005, 0.995), axis=0)
        assert ((low <= truth) & (truth <= high)).all()
        assert np.exp(np.log(draws).mean(axis=0)) == pytest.approx(truth, rel=0.04)


def test_runs_that_repeat_tell_what_repeating_costs():
    surface = fit_surface(cells(unique=3e4), draws=300)
    budget = np.array([5e12])
    pairs = budget / (600 * 7e4)
    for unique in (3e4, 1e7):
        draws = surface.draws("full", np.array([7e4]), pairs, math.log(5e12), unique=unique)
        truth = true_loss("bounded", "full", 7e4, pairs[0], unique)
        assert np.exp(np.log(draws).mean()) == pytest.approx(truth, rel=0.05)


def test_beyond_the_budgets_the_interval_grows_with_the_distance():
    surface = surface_of()
    widths = []
    for budget in (BUDGETS[-1], 10 * BUDGETS[-1], 1000 * BUDGETS[-1]):
        draws = surface.draws("full", SIZES[2:3], budget / (600 * SIZES[2:3]), math.log(budget))
        widths.append(float(np.ptp(np.quantile(np.log(draws), (0.025, 0.975)))))
    assert widths == sorted(widths)


def test_a_single_budget_gives_a_wide_answer_and_not_an_error():
    every = cells()
    one = every.only(every.log_flop < np.log(3e10))
    surface = fit_surface(one, draws=300)
    draws = surface.draws("full", SIZES[:1], np.array([3e6]), math.log(2e13))
    low, high = np.quantile(draws, (0.025, 0.975))
    assert high / low > 1.5
    assert all(math.isnan(score) for score in surface.scores.values())


def test_one_cell_far_off_hardly_moves_the_law():
    losses = cells().log_loss
    losses[7] += math.log(1.6)
    spoilt = fit_surface(replace(cells(), log_loss=losses), draws=400)
    budget, size = 2e13, SIZES[2:3]
    answers = [
        np.log(surface.draws("full", size, budget / (600 * size), math.log(budget)))
        for surface in (surface_of(), spoilt)
    ]
    assert answers[1].mean() == pytest.approx(answers[0].mean(), abs=0.06)
    assert abs(spoilt.outlying).argmax() == 7


def test_a_hopeless_method_does_not_bend_the_exponents_of_the_others():
    three = cells(methods=("full", "lora"))
    poor = replace(
        cells(methods=("full",)), methods=("bias",),
        log_loss=np.log(CHANCE * (0.97 - 0.02 * np.linspace(0, 1, 25))),
    )  # fmt: skip
    both = Cells(
        methods=("full", "lora", "bias"),
        **{
            name: np.concatenate((getattr(three, name), getattr(poor, name) + shift))
            for name, shift in (
                ("method", 2), ("decoder", 0), ("log_pairs", 0), ("log_unique", 0),
                ("log_flop", 0), ("log_loss", 0), ("runs", 0),
            )
        },
        decoders=SIZES, single=three.single, chance=CHANCE, noise=0.006,
    )  # fmt: skip
    both = replace(both, method=np.concatenate((three.method, np.full(25, 2))))
    assert contenders(both) == ("full", "lora")
    surface, asked = fit_surface(both, draws=400), (SIZES[2:3], np.array([1e6]), math.log(2e13))
    with_it, without = (law.draws("full", *asked) for law in (surface, surface_of()))
    assert with_it.mean() == pytest.approx(without.mean(), rel=0.01)
    bias = surface.draws("bias", *asked)
    assert bias.mean() > 1.5 * with_it.mean()


def test_without_known_chance_only_the_chinchilla_link_is_left():
    surface = fit_surface(replace(cells("chinchilla"), chance=math.nan), draws=50)
    assert list(surface.weights) == ["chinchilla"]


def test_the_misfit_of_uneven_tuning_is_found():
    rng = np.random.default_rng(1)
    clean = cells(noise=0.002)
    uneven = replace(clean, log_loss=clean.log_loss + rng.uniform(0.03, 0.10, len(clean.runs)))
    misfit = [
        float(f.weights @ f.errors[:, 0])
        for f in (fit_posterior(c, LINKS["bounded"]) for c in (clean, uneven))
    ]
    assert misfit[0] < 0.005 < 0.01 < misfit[1]

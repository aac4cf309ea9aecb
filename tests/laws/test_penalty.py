"""Settings off their best: the penalty finds a known optimum that drifts; intervals hold it."""

import math

import numpy as np
import pytest

from toolkit.laws.penalty import PenaltyLaw, Tries, fit_penalty

CHANCE = math.log(512)
SIZES = np.log([1.2e4, 5e4, 2e5])
BUDGETS = np.log([2e11, 8e11, 3.2e12])
# Constants of the tests' own: ln of a best batch that grows with the budget and falls with size,
# and a best rate that grows with the batch.
BATCH, DRIFT, WIDTH = math.log(40), 0.35, -0.15
SHARP = np.array([[0.35, -0.12], [0.0, 0.4]])


def best(log_flop, log_params):
    batch = BATCH + DRIFT * (log_flop - BUDGETS[1]) + WIDTH * (log_params - SIZES[1])
    return np.array([0.2, batch])


def tries(*, methods=1, noise=0.01, own=0.0, seed=0):
    """A grid of rates and batches at every size and budget, with one in the corner missing."""
    rng = np.random.default_rng(seed)
    rates, batches = np.log([0.5, 1, 2]), np.log([16, 32, 64])
    rows = []
    for method in range(methods):
        for n in SIZES:
            for c in BUDGETS:
                level = -1 - 0.15 * (c - BUDGETS[0]) + 0.05 * method
                here = best(c, n) + own * rng.standard_normal(2)
                grid = [(r, b) for r in rates for b in batches][:8]
                for settings in grid:
                    y = level + ((SHARP @ (np.array(settings) - here)) ** 2).sum()
                    loss = -math.log1p(math.exp(-y)) + math.log(CHANCE)
                    rows.append((method, c, n, *settings, loss + noise * rng.standard_normal()))
    method, c, n, rate, batch, loss = np.array(rows).T
    cell = np.unique(np.stack([method, c, n], 1), axis=0, return_inverse=True)[1].ravel()
    return Tries(
        cell, method.astype(int), c, n, np.stack([rate, batch], 1), loss, np.ones(len(loss)),
        CHANCE, noise,
    )  # fmt: skip


def test_slopes_are_those_of_finite_differences():
    some = tries(methods=2)
    law = PenaltyLaw(some, np.ones(len(some.cell), bool))
    phi = 0.3 * np.random.default_rng(3).standard_normal((2, law.size))
    _, slopes = law(phi)
    for k in range(law.size):
        step = np.zeros(law.size)
        step[k] = 1e-6
        numeric = (law(phi + step)[0] - law(phi - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[:, :, k], numeric, atol=2e-7, rtol=2e-5)


def test_a_drifting_optimum_is_found_between_the_values_tried_and_beyond_the_budgets():
    penalty = fit_penalty(tries(), draws=150)
    for budget in (BUDGETS[1], BUDGETS[-1] + math.log(4)):
        found = penalty.optimum(0, budget, SIZES[1])
        assert np.median(found, axis=0) == pytest.approx(best(budget, SIZES[1]), abs=0.25)


def test_intervals_of_the_optimum_hold_the_truth_about_as_often_as_they_say():
    """Four times above the budgets, each cell's best off the line by a fifth of an e-fold."""
    held, widths = [], []
    beyond = BUDGETS[-1] + math.log(4)
    for seed in range(16):
        found = fit_penalty(tries(own=0.2, seed=seed), draws=100).optimum(0, beyond, SIZES[2])
        low, high = np.quantile(found, (0.025, 0.975), axis=0)
        truth = best(beyond, SIZES[2])
        held += list((low <= truth) & (truth <= high))
        widths += list(high - low)
    assert np.mean(held) >= 0.85
    assert np.median(widths) < math.log(30)


def test_levels_are_the_losses_at_the_best_settings_and_not_at_the_best_tried():
    some = tries(noise=0.004)
    mean, spread = (level[0] for level in fit_penalty(some, draws=100).levels())
    first = np.unique(some.cell, return_index=True)[1]
    truth = -1 - 0.15 * (some.log_flop[first] - BUDGETS[0])
    truth = some.log_losses(truth)
    tried = np.array([some.log_loss[some.cell == k].min() for k in range(len(mean))])
    assert np.abs(mean - truth).mean() < 0.6 * np.abs(tried - truth).mean()
    assert (np.abs(mean - truth) < 4 * spread + 0.01).all()


def test_a_cell_of_one_setting_is_brought_to_its_best():
    some = tries(noise=0.004)
    rows = (some.cell > 0) | (np.arange(len(some.cell)) == 0)  # One corner of the grid is left.
    columns = ("cell", "method", "log_flop", "log_params", "settings", "log_loss", "runs")
    fewer = Tries(**{n: getattr(some, n)[rows] for n in columns}, chance=CHANCE, noise=0.004)
    mean, spread = (level[0] for level in fit_penalty(fewer, draws=100).levels())
    truth = float(fewer.log_losses(np.array(-1.0)))
    assert abs(mean[0] - truth) < 3 * spread[0]
    assert abs(mean[0] - truth) < 0.5 * abs(fewer.log_loss[0] - truth)
    assert spread[0] > np.median(spread)


def test_a_cell_of_the_named_setting_is_promised_what_it_came_to_however_little_else_is_known():
    """Its best setting may lie elsewhere, and its loss there be lower: nobody can name it."""
    some = tries(noise=0.004)
    penalty = fit_penalty(some, draws=100)
    named = np.median(penalty.optimum(0, some.log_flop[0], some.log_params[0]), axis=0)
    rows = (some.cell > 0) | (np.arange(len(some.cell)) == 0)
    columns = ("cell", "method", "log_flop", "log_params", "settings", "log_loss", "runs")
    fewer = {n: getattr(some, n)[rows] for n in columns}
    fewer["settings"] = fewer["settings"].copy()
    fewer["settings"][0] = named
    alone = Tries(**fewer, chance=CHANCE, noise=0.004)
    (best, promised), (unsure, sure) = fit_penalty(alone, draws=100).levels()
    assert best[0] < promised[0]
    assert promised[0] == pytest.approx(alone.log_loss[0], abs=0.02)
    assert sure[0] < unsure[0]


def test_without_known_chance_the_penalty_is_of_ln_loss():
    some = tries()
    unknown = Tries(**{**vars(some), "chance": math.nan})
    found = fit_penalty(unknown, draws=60).optimum(0, BUDGETS[1], SIZES[1])
    assert np.median(found, axis=0) == pytest.approx(best(BUDGETS[1], SIZES[1]), abs=0.4)


def test_a_wrong_setting_costs_more_the_farther_it_is_off():
    penalty = fit_penalty(tries(), draws=60)
    at = np.median(penalty.optimum(0, BUDGETS[1], SIZES[1]), axis=0)
    costs = penalty.cost(0, BUDGETS[1], SIZES[1], at + np.array([[0, 0], [0, 0.7], [0, 1.4]]))
    assert (np.diff(costs.mean(axis=0)) > 0).all()
    rises = [np.median(penalty.rise(1, math.log(times), 2.0)) for times in (2, 4)]
    assert 0 < rises[0] < rises[1]

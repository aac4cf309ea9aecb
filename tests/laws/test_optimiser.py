"""Batched minimisation: right ends, walls, kinks, and no dependence on scale."""

import numpy as np
import pytest

from toolkit.laws.optimiser import minimise


def rosenbrock(x, rows):
    a, b = x[:, 0], x[:, 1]
    value = (1 - a) ** 2 + 100 * (b - a**2) ** 2
    return value, np.stack([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)], axis=1)


def test_many_starts_of_a_curved_valley_all_reach_its_floor():
    start = np.random.default_rng(0).uniform(-3, 3, (100, 2))
    found = minimise(rosenbrock, start, np.full(2, -10.0), np.full(2, 10.0))
    assert found.x == pytest.approx(np.ones((100, 2)), abs=1e-5)


def test_every_problem_of_a_batch_gets_its_own_answer():
    targets = np.random.default_rng(1).normal(size=(50, 3))

    def bowl(x, rows):
        gap = x - targets[rows]
        return (gap**2 * [1, 10, 100]).sum(axis=1), 2 * gap * [1, 10, 100]

    found = minimise(bowl, np.zeros((50, 3)), np.full(3, -9.0), np.full(3, 9.0))
    assert found.x == pytest.approx(targets, abs=1e-7)
    assert found.converged.all()


def test_a_minimum_beyond_the_wall_ends_exactly_on_it():
    def bowl(x, rows):
        gap = x - [2.0, -1.0]
        mixed = gap @ np.array([[2.0, 0.8], [0.8, 1.0]])
        return (gap * mixed).sum(axis=1), 2 * mixed

    found = minimise(bowl, np.array([[0.5, 0.5]]), np.array([0.0, 0.0]), np.array([9.0, 9.0]))
    assert found.x[0, 1] == 0.0
    assert found.x[0, 0] == pytest.approx(1.6)  # Least along the wall.


def test_a_pinned_variable_stays():
    low, high = np.array([-10.0, 0.5]), np.array([10.0, 0.5])
    found = minimise(rosenbrock, np.array([[3.0, 3.0]]), low, high)
    assert found.x[0, 1] == 0.5


def test_a_sum_of_absolute_values_ends_at_its_kink():
    points = np.array([-1.0, 0.0, 0.25, 2.0, 7.0])

    def spread(x, rows):
        gap = x - points
        return np.abs(gap).sum(axis=1), np.sign(gap).sum(axis=1, keepdims=True)

    found = minimise(spread, np.array([[5.0], [-3.0]]), np.full(1, -9.0), np.full(1, 9.0))
    assert found.x[:, 0] == pytest.approx([0.25, 0.25], abs=1e-6)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
def test_the_path_does_not_depend_on_the_scale_of_the_objective(scale):
    def scaled(x, rows):
        value, gradient = rosenbrock(x, rows)
        return scale * value, scale * gradient

    start = np.array([[-1.2, 1.0]])
    box = np.full(2, -10.0), np.full(2, 10.0)
    assert minimise(scaled, start, *box).x == pytest.approx(minimise(rosenbrock, start, *box).x)


def test_a_start_without_a_finite_value_is_left_where_it_is_and_not_called_converged():
    def broken(x, rows):
        value = np.where(x[:, 0] > 0, x[:, 0] ** 2, np.nan)
        return value, 2 * x

    found = minimise(broken, np.array([[-1.0], [1.0]]), np.full(1, -9.0), np.full(1, 9.0))
    assert np.isinf(found.value[0])
    assert not found.converged[0]

"""What a decoder's cells say of it beyond the law, the more the less of it is seeds' scatter."""

import numpy as np
import pytest

from toolkit.laws.misfit import Misfit, place

PAIRS = np.log(np.array([1e4, 3e4, 1e5]))
SIZE = 0.03


def misfit(residuals, noise, *, unsettled=0.0, outlying=1.0, rows=slice(None)):
    """Cells of one decoder and method, whose epochs are one; a draw of the law."""
    count = len(residuals)
    scatter = np.full(count, noise**2)
    at = place(PAIRS[rows], np.full(count, np.inf))
    return Misfit(
        at, np.zeros(count), scatter, scatter + unsettled**2,
        np.full(count, outlying), np.array([residuals]), np.array([[SIZE, 0.0]]), np.zeros(1, int),
    )  # fmt: skip


def given(some, pairs, unique=np.inf):
    mean, spread = some.given(place(np.array([pairs]), np.array([unique]))[0], 0.0)
    return mean[0], spread[0]


def test_where_seeds_hardly_scatter_a_cell_is_what_it_came_to_for_better_or_worse():
    for residual in (-0.04, 0.04):
        mean, spread = given(misfit([residual], 1e-4, rows=slice(1)), PAIRS[0])
        assert mean == pytest.approx(residual, rel=1e-3)
        assert spread < 0.1 * SIZE


def test_half_of_a_residual_is_believed_where_seeds_scatter_as_much_as_cells():
    mean, spread = given(misfit([0.04], SIZE, rows=slice(1)), PAIRS[0])
    assert mean == pytest.approx(0.02)
    assert spread == pytest.approx(SIZE / np.sqrt(2))


def test_it_fades_with_the_distance_and_is_the_law_s_alone_far_off():
    some = misfit([0.04], 1e-4, rows=slice(1))
    means, spreads = zip(*(given(some, PAIRS[0] + off) for off in (0, 0.5, 1, 2, 9)), strict=True)
    assert list(means) == sorted(means, reverse=True) and list(spreads) == sorted(spreads)
    assert means[2] == pytest.approx(0.04 / np.e, rel=1e-3)
    assert (means[-1], spreads[-1]) == pytest.approx((0, SIZE), abs=1e-4)


def test_between_two_cells_it_lies_between_what_they_say():
    some = misfit([0.04, -0.02, 0.0], 1e-4)
    between = [given(some, at)[0] for at in np.linspace(PAIRS[0], PAIRS[1], 9)]
    assert between == sorted(between, reverse=True)
    assert (between[0], between[-1]) == pytest.approx((0.04, -0.02), rel=0.02)


def test_an_outlier_is_believed_more_and_pulls_its_neighbours_no_wider_than_it_reaches():
    usual, outlying = (misfit([0.3], SIZE, outlying=w, rows=slice(1)) for w in (1.0, 20.0))
    assert given(usual, PAIRS[0])[0] == pytest.approx(0.15)
    assert given(outlying, PAIRS[0])[0] > 0.9 * 0.3
    assert given(outlying, PAIRS[0] + 9)[0] == pytest.approx(0, abs=1e-3)


def test_a_cell_whose_best_settings_are_unsettled_is_what_it_came_to_with_those_it_had():
    """The law may pass far below it: the rise of settings off the best was taken off too much."""
    settled, unsettled = (misfit([0.1], 0.03, unsettled=u, rows=slice(1)) for u in (0, 0.3))
    assert given(settled, PAIRS[0])[0] == pytest.approx(0.05)
    assert given(unsettled, PAIRS[0])[0] == pytest.approx(0.1, rel=0.02)


def test_runs_on_fewer_distinct_pairs_say_less_of_others_than_of_their_like():
    limited = Misfit(
        place(PAIRS[2:], PAIRS[:1]), np.zeros(1), np.array([1e-8]), np.array([1e-8]), np.ones(1),
        np.array([[0.04]]), np.array([[SIZE, 0.0]]), np.zeros(1, int),
    )  # fmt: skip
    assert given(limited, PAIRS[2], PAIRS[0])[0] == pytest.approx(0.04, rel=1e-3)
    assert given(limited, PAIRS[2])[0] < 0.001


def test_where_nothing_was_run_it_is_drawn_anew():
    none = misfit([], SIZE, rows=slice(0))
    assert given(none, PAIRS[0]) == (0, SIZE)

"""Bad tables: each a clear sentence, or rows left out and listed."""

import numpy as np
import pandas as pd
import pytest

from toolkit.errors import ToolkitError
from toolkit.laws.table import check

ROLES = {"budget": "budget_flop", "size": "params", "loss": "loss"}


def table(**changes):
    rows = pd.DataFrame(
        {"budget_flop": [1e12, 1e12, 1e13], "params": [1e4, 1e5, 1e6], "loss": [4.0, 3.5, 3.0]}
    )
    return rows.assign(**changes)


def test_a_good_table_comes_back_whole():
    checked = check(table(), ROLES)
    assert checked.columns["loss"].tolist() == [4.0, 3.5, 3.0]
    assert checked.rows.tolist() == [0, 1, 2]
    assert not checked.dropped


def test_a_missing_column_is_named_with_the_nearest_one():
    with pytest.raises(ToolkitError, match=r"no column 'budget_flop'; did you mean budget_flops"):
        check(table().rename(columns={"budget_flop": "budget_flops"}), ROLES)


def test_text_in_a_number_column_is_quoted_with_its_row():
    with pytest.raises(ToolkitError, match=r"column 'params' must hold numbers; row 2 holds '14m'"):
        check(table(params=["1e4", "14m", "1e6"]), ROLES)


def test_numbers_written_as_text_are_numbers():
    assert check(table(params=["1e4", "1e5", "1e6"]), ROLES).columns["size"][1] == 1e5


@pytest.mark.parametrize("bad", [0.0, -1e12, np.inf])
def test_budgets_that_are_not_positive_finite_numbers_are_refused_with_their_row(bad):
    with pytest.raises(ToolkitError, match=r"'budget_flop' must hold positive finite.* row 3"):
        check(table(budget_flop=[1e12, 1e12, bad]), ROLES)


@pytest.mark.parametrize("bad", [1e-200, 1e200])
def test_numbers_whose_squares_are_none_are_refused_with_the_range(bad):
    with pytest.raises(ToolkitError, match=r"'loss' must hold numbers within 1e-100 .* row 2"):
        check(table(loss=[4.0, bad, 3.0]), ROLES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_runs_without_a_finite_loss_are_left_out_and_listed(bad):
    checked = check(table(loss=[4.0, bad, 3.0]), ROLES)
    (dropped,) = checked.dropped
    assert (dropped.count, dropped.rows) == (1, (2,))
    assert "loss is not finite" in dropped.reason
    assert checked.columns["size"].tolist() == [1e4, 1e6]


def test_a_negative_loss_is_refused():
    with pytest.raises(ToolkitError, match="'loss' must hold positive"):
        check(table(loss=[4.0, -3.0, 3.0]), ROLES)


def test_an_empty_cell_leaves_its_row_out():
    (dropped,) = check(table(params=[1e4, np.nan, 1e6]), ROLES).dropped
    assert dropped.rows == (2,)
    assert "params is empty" in dropped.reason


def test_only_finished_runs_count():
    rows = table(status=["finished", "diverged", "finished"], loss=[4.0, np.nan, 3.0])
    (dropped,) = check(rows, ROLES).dropped
    assert dropped.rows == (2,)
    assert "finished" in dropped.reason


def test_an_unfinished_row_may_hold_anything():
    rows = table(status=["finished", "failed", "finished"], params=["1e4", "?", "1e6"])
    assert check(rows, ROLES).columns["size"].tolist() == [1e4, 1e6]


def test_exact_copies_of_a_row_count_once():
    rows = pd.concat([table(), table().iloc[[1]]], ignore_index=True)
    (dropped,) = check(rows, ROLES).dropped
    assert dropped.rows == (4,)
    assert "copy" in dropped.reason


def test_replicates_with_losses_of_their_own_all_count():
    rows = pd.concat([table(), table(loss=[4.1, 3.6, 3.1])], ignore_index=True)
    assert len(check(rows, ROLES).rows) == 6


def test_rows_outside_a_kept_range_are_left_out_and_listed():
    (dropped,) = check(table(), ROLES, keep=[("params", 5e4, 1e7)]).dropped
    assert dropped.rows == (1,)


def test_the_highest_losses_are_dropped_with_all_that_tie():
    checked = check(table(loss=[4.0, 4.0, 3.0]), ROLES, drop_highest=("loss", 1))
    assert checked.columns["loss"].tolist() == [3.0]
    assert checked.dropped[0].count == 2


def test_dropping_every_row_is_refused():
    with pytest.raises(ToolkitError, match="cannot drop"):
        check(table(), ROLES, drop_highest=("loss", 3))


def test_a_table_with_no_row_left_says_what_took_them():
    with pytest.raises(ToolkitError, match=r"no row .* loss is not finite \(3\)"):
        check(table(loss=np.nan), ROLES)


def test_an_empty_table_is_refused():
    with pytest.raises(ToolkitError, match="no rows"):
        check(table().iloc[:0], ROLES)


def test_two_columns_of_one_name_are_refused():
    rows = table()
    rows.insert(3, "loss", [1.0, 2.0, 3.0], allow_duplicates=True)
    with pytest.raises(ToolkitError, match="2 columns called 'loss'"):
        check(rows, ROLES)


def test_rows_of_a_part_keep_their_numbers_in_the_whole():
    rows = table(loss=[4.0, 3.5, np.nan]).iloc[1:]
    assert check(rows, ROLES).dropped[0].rows == (3,)

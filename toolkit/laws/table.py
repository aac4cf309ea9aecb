"""Tables of runs, from here or from elsewhere, checked before anything is fitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from toolkit.errors import ToolkitError, nearest
from toolkit.laws.optimiser import Array, Mask, Rows

LEAST, MOST = 1e-100, 1e100  # Squares of anything within are still numbers.
UNFINISHED = "status is not finished"
LISTED = 1000  # At most so many dropped rows are listed one by one; all of them are counted.


@dataclass(frozen=True)
class Dropped:
    """Rows left out for one reason.

    Attributes:
        reason: In words.
        count: How many.
        rows: Their numbers in the table, the first row being 1; at most 1,000 of them. A part of
            a larger table keeps the numbers it has there.
    """

    reason: str
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Checked:
    """Columns that may be fitted.

    Attributes:
        columns: By role, (n,) finite positive numbers.
        rows: (n,) positions of the rows that stay, from 0.
        dropped: What was left out, and why.
    """

    columns: dict[str, Array]
    rows: Rows
    dropped: tuple[Dropped, ...]

    def without(self, table: pd.DataFrame, bad: Mask, reason: str) -> Checked:
        """The same without those rows of the table (n,) that are `bad`, listed with the reason."""
        if not bad.any():
            return self
        kept = {role: values[~bad] for role, values in self.columns.items()}
        dropped = _dropped(table, self.rows[bad], reason)
        return Checked(kept, self.rows[~bad], (*self.dropped, dropped))

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(f"{_rows(d.count)} left out: {d.reason}" for d in self.dropped)


def check(
    table: pd.DataFrame,
    roles: Mapping[str, str],
    *,
    keep: Sequence[tuple[str, float, float]] = (),
    drop_highest: tuple[str, int] | None = None,
) -> Checked:
    """The columns that `roles` names, as positive finite numbers.

    Left out and listed: runs whose `status` is not finished, rows with an empty cell or a loss
    that is not finite (a diverged run), rows that repeat another in every column, and what the
    caller asks to leave out. Everything else that cannot be right is an error.

    Args:
        table: Any table; other columns are only compared for repeated rows.
        roles: Column name by role.
        keep: (column, low, high): rows outside low <= column <= high are left out.
        drop_highest: (role, K): every row at or above the K-th largest value is left out.

    Raises:
        ToolkitError: A column is missing or holds text, zeros, negative or infinite numbers or
            ones beyond 1e-100 to 1e100, or no row is left.
    """
    if not len(table):
        raise ToolkitError("the table has no rows")
    names = [str(column) for column in table.columns]
    for column in [*roles.values(), *(column for column, _, _ in keep)]:
        if column not in table.columns:
            raise ToolkitError(f"the table has no column {column!r}{nearest(column, names)}")
        if names.count(column) > 1:
            raise ToolkitError(f"the table has {names.count(column)} columns called {column!r}")
    left = np.ones(len(table), bool)
    dropped: list[Dropped] = []

    def leave_out(bad: Mask, reason: str) -> None:
        bad = bad & left
        if bad.any():
            dropped.append(_dropped(table, np.flatnonzero(bad), reason))
            left[bad] = False

    if "status" in table.columns:
        leave_out((table["status"] != "finished").to_numpy(), UNFINISHED)
    for column, low, high in keep:
        values = _numbers(table, column, left)
        with np.errstate(invalid="ignore"):
            outside = ~((values >= low) & (values <= high))
        leave_out(outside, f"{column} is not within {low:g} and {high:g}")
    columns = {role: _numbers(table, column, left) for role, column in roles.items()}
    for role, values in columns.items():
        diverged = ~np.isfinite(values) if role == "loss" else np.isnan(values)
        leave_out(diverged, f"{roles[role]} is {'not finite' if role == 'loss' else 'empty'}")
    leave_out(table.duplicated().to_numpy(), "an exact copy of an earlier row")
    for role, values in columns.items():
        wrong = np.flatnonzero(left & ~((values >= LEAST) & (values <= MOST)))
        if wrong.size:
            first = wrong[0]
            beyond = 0 < values[first] < np.inf
            kind = f"numbers within {LEAST:g} and {MOST:g}" if beyond else "positive finite numbers"
            raise ToolkitError(
                f"column {roles[role]!r} must hold {kind}; row {row_numbers(table)[first]} "
                f"holds {values[first]:g} ({_rows(wrong.size)} like it)"
            )
    if drop_highest is not None:
        role, count = drop_highest
        values = columns[role]
        if not 0 <= count < left.sum():
            raise ToolkitError(f"cannot drop the {count} highest of {left.sum()} rows")
        if count:
            limit = np.sort(values[left])[-count]
            leave_out(values >= limit, f"{roles[role]} is among the {count} highest")
    if not left.any():
        reasons = "; ".join(f"{d.reason} ({d.count})" for d in dropped)
        if dropped[0].reason == UNFINISHED:
            words = ", ".join(sorted(map(str, table["status"].dropna().unique()))[:5]) or "nothing"
            reasons += f"; it says {words}, where finished, completed, done or success count"
        raise ToolkitError(f"no row of the table is left to fit: {reasons}")
    kept = {role: values[left] for role, values in columns.items()}
    return Checked(kept, np.flatnonzero(left), tuple(dropped))


def _dropped(table: pd.DataFrame, rows: Rows, reason: str) -> Dropped:
    numbers = row_numbers(table)[rows[:LISTED]]
    return Dropped(reason, len(rows), tuple(map(int, numbers)))


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def row_numbers(table: pd.DataFrame) -> Rows:
    """(n,) numbers that a person would call the rows by, from 1."""
    if pd.api.types.is_integer_dtype(table.index):
        return np.asarray(table.index, np.intp) + 1
    return np.arange(1, len(table) + 1)


def _numbers(table: pd.DataFrame, column: str, left: Mask) -> Array:
    """A column as floats, empty cells as NaN; rows that are left out already may hold anything."""
    values = table[column]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float, na_value=np.nan)
    text = np.flatnonzero(np.isnan(numbers) & values.notna().to_numpy() & left)
    # "inf" and "nan" written out are numbers; anything else is somebody's mistake.
    for row in text:
        word = str(values.iloc[row]).strip()
        if word.lower() not in ("nan", ""):
            number = row_numbers(table)[row]
            raise ToolkitError(f"column {column!r} must hold numbers; row {number} holds {word!r}")
    return numbers

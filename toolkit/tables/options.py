"""The command line's options for reading a table, the same wherever one is read."""

from __future__ import annotations

import argparse
import math

from toolkit.errors import ToolkitError
from toolkit.tables import Reading
from toolkit.tables.names import role_named
from toolkit.tables.numbers import read_cell, read_multiple

TABLE = (
    "a sweep's folder, any run table (CSV, JSONL, Parquet and others), or a name that "
    "`python -m toolkit data` lists"
)


def add_arguments(parser: argparse.ArgumentParser, *, grouping: bool = True) -> None:
    """Add --columns, --unit and, where runs are gathered by budget, --budgets."""
    group = parser.add_argument_group("reading a table from elsewhere")
    group.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="OURS=THEIRS,…",
        help='which column is which: params="Model Size",loss=final_loss; may be given again',
    )
    group.add_argument(
        "--unit",
        action="append",
        default=[],
        metavar="OURS=SIZE,…",
        help="units of columns: params=1e6,tokens=1e9; may be given again",
    )
    if grouping:
        group.add_argument(
            "--budgets",
            metavar="FLOP,…",
            help="each run counts for the nearest of these budgets: 1e18,3e18",
        )


def reading(args: argparse.Namespace) -> Reading:
    """What those options say, as arguments of `toolkit.tables.read_table`; plain JSON types.

    Raises:
        ToolkitError: An option is malformed.
    """
    columns, unit = {}, {}
    for text in args.columns:
        for ours, theirs in _assignments("--columns", text):
            columns[role_named(ours)] = theirs
    for text in args.unit:
        for ours, size in _assignments("--unit", text):
            unit[_role_or_name(ours)] = _size(size)
    budgets = getattr(args, "budgets", None)
    found = Reading()
    if columns:
        found["columns"] = columns
    if unit:
        found["unit"] = unit
    if budgets is not None:
        found["budgets"] = [_positive("--budgets", part) for part in budgets.split(",")]
    return found


def _assignments(flag: str, text: str) -> list[tuple[str, str]]:
    """NAME=VALUE,NAME=VALUE; a comma within a name that has no = after it belongs to the name."""
    pairs: list[tuple[str, str]] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals and pairs and flag == "--columns":
            pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]},{part}")
            continue
        value = value.strip().strip("\"'")
        if not (name.strip() and value):
            example = "params=1e6" if flag == "--unit" else 'params="Model Size"'
            raise ToolkitError(f"{flag} takes NAME=VALUE, {example} for example, not {text!r}")
        pairs.append((name.strip(), value))
    return pairs


def _role_or_name(name: str) -> str:
    """Our column by any usual name; any other name stands for a column of the file."""
    try:
        return role_named(name)
    except ToolkitError:
        return name


def _size(text: str) -> float:
    return read_multiple(text) or _positive("--unit", text)


def _positive(flag: str, text: str) -> float:
    try:
        value = read_cell(text, counts=True)
    except ToolkitError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise ToolkitError(f"{flag} takes positive numbers, not {text.strip()!r}")
    return value

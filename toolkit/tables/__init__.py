"""Run tables, from here or from anywhere, as the laws take them: read, named, counted, noted.

`read_table` gives a frame with our column names (`toolkit.records`), numbers as numbers, methods
and states in our words. Whatever was guessed or changed on the way is a sentence of `notes(table)`.
What was not understood stays as it was, for `toolkit.laws.table.check` to refuse by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from toolkit.errors import ToolkitError
from toolkit.methods import METHODS, SETTINGS
from toolkit.tables import budgets as budget_groups
from toolkit.tables import labels, units
from toolkit.tables.files import read_file
from toolkit.tables.names import COUNTS, MEASURES, find, key, name_columns
from toolkit.tables.numbers import as_numbers
from toolkit.tables.published import table_path

if TYPE_CHECKING:
    import pandas as pd

NOTES, RENAMED = "notes", "renamed"  # Keys of a frame's attributes.
LABELS = ("decoder", "pooling", "flop_convention")
UNIT_ROLES = {"params": "params", "tokens": "tokens", "budget_flop": "budget_flop"}


class Reading(TypedDict, total=False):
    """How a table from elsewhere is read: arguments of `read_table`, plain JSON types only."""

    columns: dict[str, str]
    unit: dict[str, float]
    budgets: list[float]


def read_table(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    unit: Mapping[str, float] | None = None,
    budgets: Sequence[float] = (),
    roles: Mapping[str, str] | None = None,
    kept: Sequence[str] = (),
) -> pd.DataFrame:
    """The run table of a sweep's folder (its `runs.csv`), of any file that `files` reads, or of
    a name that `published` knows.

    Args:
        source: Path of the folder or file, or the name where there is no such path.
        columns: By our name, the file's: `{"params": "Model Size"}`.
        unit: By our name, what one is worth: `{"params": 1e6}` for a column in millions.
        budgets: Each run's budget is taken to be the nearest of these, in FLOP.
        roles: By role, columns of the file that a caller will ask for by their own names: they keep
            them (`named` finds them), and are read as numbers.
        kept: Names that columns keep, where the file has them.

    Example:
        >>> runs = d2e.read_runs("reference")  # or "runs/mine", "their.csv"
        >>> len(runs), runs["method"].nunique()
        (299, 4)

    Raises:
        ToolkitError: There is no such table, it is not a whole one, or a column is not there.
    """
    path = table_path(source)
    if path.is_dir():
        path = path / "runs.csv"
    if not path.is_file():
        sweep = Path(source)
        mend = f"; run the sweep first: python -m toolkit sweep {sweep}" if not sweep.suffix else ""
        raise ToolkitError(f"no run table at {path}{mend}")
    table, said = read_file(path)
    return tidy(
        table, columns=columns, unit=unit, budgets=budgets, roles=roles, kept=kept, notes=said
    )


def tidy(
    table: pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    unit: Mapping[str, float] | None = None,
    budgets: Sequence[float] = (),
    roles: Mapping[str, str] | None = None,
    kept: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> pd.DataFrame:
    """A frame as it came from a file, in our names, numbers and words (see `read_table`).

    Raises:
        ToolkitError: A column that is named is not there, or several columns may be one of ours.
    """
    columns, roles = columns or {}, roles or {}
    names = [str(name) for name in table.columns]
    roles = {role: find(name, names) for role, name in roles.items()}
    naming = name_columns(table, columns, [*roles.values(), *kept])
    said = [*notes, *naming.notes]
    table = table.rename(columns=naming.renamed)
    table = _distinct(_without_index(table))
    table = table.copy()
    table.attrs = {RENAMED: naming.renamed}
    said += _numbers(table, [*roles.values(), *kept])
    said += _words(table)
    said += _scaled(table, naming.units, unit or {})
    if budgets:
        budget = find(roles.get("budget_flop", "budget_flop"), list(table.columns))
        table[budget], sentence = budget_groups.nearest_of(_floats(table[budget]), budgets)
        said.append(sentence)
    found = UNIT_ROLES | {role: roles[role] for role in UNIT_ROLES if role in roles}
    numbers = {role: _floats(table[name]) for role, name in found.items() if name in table}
    if doubt := units.doubt(numbers, found):
        said.append(doubt)
    return _noted(table, said)


def notes(table: pd.DataFrame) -> tuple[str, ...]:
    """What was guessed, changed or is doubtful in a table that was read, a sentence each."""
    return tuple(table.attrs.get(NOTES, ()))


def named(table: pd.DataFrame, name: str) -> str:
    """The column that a person calls so: by the name in the file, or by its name now.

    Raises:
        ToolkitError: There is none, or there are several.
    """
    renamed = table.attrs.get(RENAMED, {})
    present = [str(column) for column in table.columns]
    if name in present:
        return name
    for old, new in renamed.items():
        if new in present and key(old) == key(name):
            return str(new)
    return find(name, present)


def completed(table: pd.DataFrame) -> pd.DataFrame:
    """A table with all that a recipe asks of one: a method, a budget, sizes that share budgets.

    Where no column says the method, it is full fine-tuning, but for runs with a setting that only
    another has, such as `lora_rank`. Where none says the budget, it is 6 params tokens; where none
    says the tokens of runs that are all full fine-tuning, they are budget_flop / (6 params).
    Budgets as they were spent are grouped (`toolkit.tables.budgets`). Each is noted.
    """
    said: list[str] = []
    table = table.copy()
    if "method" not in table and len(table):
        table["method"], sentence = _assumed_methods(table)
        said.append(sentence)
    have = {name for name in UNIT_ROLES if name in table}
    missing = set(UNIT_ROLES) - have
    if missing == {"budget_flop"}:
        table["budget_flop"] = 6 * _floats(table["params"]) * _floats(table["tokens"])
        said.append("no column says the budget: it is taken as 6 params tokens")
    elif missing == {"tokens"} and set(table["method"].dropna()) == {"full"}:
        table["tokens"] = _floats(table["budget_flop"]) / (6 * _floats(table["params"]))
        said.append("no column says the tokens: they are taken as budget_flop / (6 params)")
    return with_shared_budgets(_noted(table, said))


def _assumed_methods(table: pd.DataFrame) -> tuple[pd.Series, str]:
    """A method for every run of a table that names none, by the settings that only one has."""
    import pandas as pd

    methods = pd.Series("full", index=table.index)
    told = []
    given = table[[name for name in SETTINGS if name in table]].notna()
    for having, rows in given.groupby(list(given.columns)) if given.any(axis=None) else ():
        names = [name for name, has in zip(given.columns, having, strict=True) if has]
        if names:
            known = {SETTINGS[name] for name in names}
            method = next((m for m, each in METHODS.items() if known <= {*each.settings}), "full")
            methods[rows.index] = method
            told.append(f"runs with {' and '.join(names)} as {method}, ")
    rest = "the others" if told else "all runs"
    return methods, (
        f"no column says the method: {''.join(told)}{rest} are taken as full fine-tuning"
    )


def with_shared_budgets(
    table: pd.DataFrame, budget: str = "budget_flop", size: str = "params"
) -> pd.DataFrame:
    """A table whose runs share budgets, where they were grouped about some when they were spent.

    Noted; a table of ours, which has what was spent beside what was asked for, is left alone.
    """
    if not {budget, size} <= set(table.columns) or "flop_model" in table:
        return table
    grouped, sentence = budget_groups.grouped(_floats(table[budget]), _floats(table[size]))
    return _noted(table.assign(**{budget: grouped}), [sentence]) if sentence else table


def _noted(table: pd.DataFrame, said: Sequence[str]) -> pd.DataFrame:
    table.attrs = {**table.attrs, NOTES: tuple(dict.fromkeys([*notes(table), *said]))}
    return table


def _without_index(table: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that have no name and say nothing: row numbers, a comma at the end."""
    import pandas as pd

    keep = []
    for place, name in enumerate(table.columns):
        values = table.iloc[:, place]
        nameless = name == "" or str(name).startswith("Unnamed: ")
        counted = nameless and (
            values.isna().all()
            or (pd.api.types.is_integer_dtype(values) and (values.diff().dropna() == 1).all())
        )
        keep.append(not counted)
    return table.loc[:, keep]


def _distinct(table: pd.DataFrame) -> pd.DataFrame:
    """Every column under a name of its own; those that laws ask for may not repeat.

    Raises:
        ToolkitError: One of our names is that of several columns.
    """
    names = [str(name) for name in table.columns]
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[place] = f"{name}.{seen[name]}"
    table = table.copy(deep=False)
    table.columns = names
    return table


def _numbers(table: pd.DataFrame, asked: Iterable[str]) -> list[str]:
    """Read the written numbers of our columns and of those asked for, in place."""
    said = []
    for name in dict.fromkeys([*COUNTS, *MEASURES, *asked]):
        if name in table:
            values, example = as_numbers(table[name], counts=name not in MEASURES)
            if values is not table[name]:
                table[name] = values
            if example:
                said.append(f"{name}: {example}")
    return said


def _words(table: pd.DataFrame) -> list[str]:
    """Put methods, states and labels into our words, in place."""
    said: list[str] = []
    if "method" in table:
        table["method"], more = labels.methods(table["method"])
        said += more
    for name in LABELS:
        if name in table:
            table[name], became = labels.one_spelling(table[name])
            said += labels.sentences(name, became)
    if "status" in table:
        if table["status"].isna().all() and len(table):
            del table["status"]
            said.append("column 'status' is empty throughout: every run counts as finished")
        else:
            table["status"] = labels.states(table["status"])
    return said


def _scaled(
    table: pd.DataFrame, told: Mapping[str, float], given: Mapping[str, float]
) -> list[str]:
    """Multiply columns by their units, in place: those that a person gives, else those in names."""
    said = []
    renamed = {new: old for old, new in table.attrs[RENAMED].items()}
    for name, one in {**told, **{named(table, name): one for name, one in given.items()}}.items():
        table[name] = _floats(table[name], strict=name) * one
        why = "as --unit says" if name in given else f"as its name {renamed[name]!r} says"
        said.append(f"{name} is in units of {one:g}, {why}")
    return said


def _floats(column: pd.Series, strict: str = "") -> units.Floats:
    """A column as floats, NaN where it holds no number.

    Raises:
        ToolkitError: `strict` names the column, and a cell holds text.
    """
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    if strict and (wrong := column[numbers.isna() & column.notna()]).size:
        raise ToolkitError(
            f"column {strict!r} must hold numbers to have a unit; row {wrong.index[0] + 1} holds "
            f"{str(wrong.iloc[0])!r}"
        )
    return numbers.to_numpy(float, na_value=float("nan"))

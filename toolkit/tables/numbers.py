"""Numbers as people write them in tables: 1.5B, 3×10¹², 1,317,616, 5,49, 85 %."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError
from toolkit.text import read_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

DECIMAL_COMMA = "the file's numbers have a decimal comma: 5,49 is read as 5.49"
MULTIPLES = {
    "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12,
    "k": 1e3, "m": 1e6, "mio": 1e6, "mn": 1e6, "mm": 1e6, "b": 1e9, "bn": 1e9, "g": 1e9,
    "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24,
    "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12, "peta": 1e15, "exa": 1e18, "zetta": 1e21,
}  # fmt: skip
PETAFLOP_DAY = 1e15 * 86400
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_GROUPS = re.compile(r"[+-]?\d{1,3}(?:([,'’ \u00a0\u2009\u202f_])\d{3})(?:\1\d{3})*(?:\.\d+)?")
_COMMA_NUMBER = re.compile(
    r"[+-]?(?:[1-9]\d{0,2}(?:\.\d{3})+|\d+)?(?:,\d*)?(?:[eE][+-]?\d+)?\s*[%a-zA-Z]*"
)
_WRITTEN = r"\s*[+-]?[\d.,]+(?:[eE][+-]?\d+)?\s*[%a-zA-Z]?\s*"  # Roughly a number.
_EMPTY = ("", "-", "–", "—", "n/a", "na", "nan", "none", "null", "missing", "diverged")


def read_cell(text: str, *, counts: bool) -> float:
    """The number in a cell; NaN in an empty one, a fraction where it is a percentage.

    Args:
        text: As written, with a decimal point.
        counts: Whether a multiple may follow, as in 1.5B parameters, 300 billion tokens, 2 PFLOP.

    Raises:
        ToolkitError: It is no number.
    """
    plain = text.strip().replace("−", "-")
    if plain.lower() in _EMPTY:
        return math.nan
    if _GROUPS.fullmatch(plain):
        plain = re.sub(r"[^\d.+-]", "", plain)
    try:
        return float(plain)
    except ValueError:
        pass
    if plain.endswith("%"):
        return read_cell(plain[:-1], counts=False) / 100
    if counts:
        found = re.fullmatch(rf"({_NUMBER})\s*([a-zA-Z/\s-]+)", plain)
        if found and (multiple := read_multiple(found[2])):
            return float(found[1]) * multiple
    if re.search(r"[a-zA-Z]$|,", plain):
        raise ToolkitError(f"{text!r} is no number")
    return read_number(plain.replace("**", "^"))


def read_multiple(words: str) -> float | None:
    """What `M`, `billion`, `PFLOPs`, `B tokens` or `PF-days` multiply by; None for other words."""
    plain = re.sub(r"[\s/_-]+", "", words).lower()
    if re.fullmatch(r"(p|peta)f(lops?)?(s)?days?", plain):
        return PETAFLOP_DAY
    unit = r"(flops?|param(eter)?s?|tokens?|tok|pairs?|nats?)"
    if re.fullmatch(unit, plain):
        return 1.0
    if plain == "e":  # What is left of 1e12 when a file was cut.
        return None
    plain = re.sub(unit + "$", "", plain)
    return MULTIPLES.get(plain) or MULTIPLES.get(plain.removesuffix("s"))


def as_numbers(column: pd.Series, *, counts: bool) -> tuple[pd.Series, str]:
    """A column with its written numbers read, and an example of one that took some reading.

    Cells that hold no number stay as they are, for whoever needs the column to refuse.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) or not len(column):
        return column, ""
    direct = pd.to_numeric(column, errors="coerce")
    unread = column[direct.isna() & column.notna()].astype(str)
    cells: dict[str, float | str] = {}
    example = ""
    for text in unread.unique():
        try:
            cells[text] = read_cell(text, counts=counts)
            if not example and re.search(r"[\w%]", text) and not math.isnan(float(cells[text])):
                example = f"{text.strip()!r} is read as {cells[text]:g}"
        except ToolkitError:
            cells[text] = text
    if not cells:
        return direct, ""
    if any(isinstance(value, str) for value in cells.values()):
        mixed = direct.astype(object)
        mixed[unread.index] = unread.map(cells).astype(object)
        return mixed, example
    direct = direct.astype(float)
    direct[unread.index] = unread.map(cells).astype(float)
    return direct, example


def has_number_with_comma(table: pd.DataFrame) -> bool:
    """Whether some column of text holds numbers with commas in them, mostly."""
    import pandas as pd

    for _, column in table.items():
        if not pd.api.types.is_numeric_dtype(column):
            cells = column.dropna().astype(str)
            commas = cells.str.contains(",", regex=False).any()  # Cheaper: looked for first.
            if commas and cells.str.fullmatch(_WRITTEN).mean() > 0.5:
                return True
    return False


def has_decimal_comma(table: pd.DataFrame, names: Sequence[str], separator: str) -> bool:
    """Whether the commas within a file's numbers are decimal marks, from all of them together.

    A comma before any number of digits but three is one, and so is a point a decimal point. Where
    only groups of three are seen, a loss tells (nobody has losses of thousands), and then the
    separator: semicolons are for files in which commas are taken.

    Args:
        table: All cells as text. names: Of its columns. separator: Of its cells.
    """
    commas = points = 0
    for name, (_, column) in zip(names, table.items(), strict=True):
        cells = column.dropna().str.strip()
        if not len(cells) or cells.str.fullmatch(_WRITTEN).mean() <= 0.5:
            continue
        digits = r"\d+" if "loss" in name.lower() else r"(?:\d{1,2}|\d{4,})"
        commas += cells.str.contains(rf"^[+-]?(?:\d*,{digits}|0,\d+)(?!\d)|\.\d{{3}},").sum()
        points += cells.str.contains(rf"^[+-]?(?:\d*\.{digits}|0\.\d+)(?!\d)|,\d{{3}}\.").sum()
    return bool(commas > points or (commas == points == 0 and separator == ";"))


def with_points(table: pd.DataFrame) -> pd.DataFrame:
    """Text with decimal commas as numbers: columns where every cell is one, cells elsewhere."""
    import pandas as pd

    def pointed(cell: str) -> str:
        written = isinstance(cell, str) and re.search(r"\d", cell)
        if not written or not _COMMA_NUMBER.fullmatch(cell.strip()):
            return cell
        return cell.strip().replace(".", "").replace(",", ".")

    for name in table.columns:
        cells = table[name].map({cell: pointed(cell) for cell in table[name].dropna().unique()})
        numbers = pd.to_numeric(cells, errors="coerce")
        table[name] = numbers if numbers.notna().equals(cells.notna()) else cells
    return table

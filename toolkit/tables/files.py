"""Files of tables, told apart by their content: what a person has exported comes in as it is.

CSV with any usual separator and decimal mark, JSON, JSONL, Parquet and Feather; plain or packed by
gzip, bzip2, xz or zip; UTF-8 with or without a byte-order mark, UTF-16, or Windows-1252.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError
from toolkit.tables.numbers import (
    DECIMAL_COMMA,
    has_decimal_comma,
    has_number_with_comma,
    with_points,
)
from toolkit.values import repeated

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SPACES = r"\s+"
SAMPLE = 50  # Lines that show which separator a file has.
PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}
FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"%PDF": "a PDF",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}
PLAIN_WORDS = "save the table as CSV and give that"


def read_file(path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table of a file, its columns named as in the file, and what was noted on the way.

    Names are stripped of blanks and may repeat. Columns are numbers where every cell is one.

    Raises:
        ToolkitError: It cannot be read or is no table: a row has fewer or more cells than the
            header, the format is another.
    """
    import pandas as pd

    try:
        data = _unpacked(path.read_bytes())
        if data.startswith(b"PAR1"):
            return _plain(pd.read_parquet(io.BytesIO(data))), ()
        if data.startswith(b"ARROW1"):
            return _plain(pd.read_feather(io.BytesIO(data))), ()
        text, notes = _decoded(data)
        start = text.lstrip()[:1]
        if start in ("{", "["):
            return _plain(_json(text)), notes
        table, more = _separated(text)
        return table, (*notes, *more)
    except ToolkitError as error:
        raise ToolkitError(f"{path} {error}") from error
    except (ValueError, csv.Error, OSError, EOFError, RecursionError, *_BROKEN) as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ToolkitError(f"{path} is not a readable table: {words}") from error


_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)


def _unpacked(data: bytes) -> bytes:
    """The bytes of the table itself.

    Raises:
        ToolkitError: They are of a format that is not read; the sentence continues a file's name.
    """
    for start, unpack in PACKED.items():
        if data.startswith(start):
            return _unpacked(unpack(data))
    if data.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and "__MACOSX" not in n]
            if "[Content_Types].xml" in names or "content.xml" in names:
                raise ToolkitError(f"is a spreadsheet (Excel or LibreOffice): {PLAIN_WORDS}")
            if len(names) != 1:
                raise ToolkitError(f"packs {len(names)} files: unpack it and name one of them")
            return _unpacked(archive.read(names[0]))
    for start, what in FOREIGN.items():
        if data.startswith(start):
            raise ToolkitError(f"is {what}: {PLAIN_WORDS}")
    if data[:500].lstrip().lower().startswith((b"<!doctype", b"<html", b"<table", b"<?xml")):
        raise ToolkitError(f"is a page or XML, not a table: {PLAIN_WORDS}")
    return data


def _decoded(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Bytes as text, by byte-order mark, by zeros in every other place, else as UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16"), ()
    head = data[:1000]
    if len(head) > 3 and not any(head[1::2]):
        return data.decode("utf-16-le"), ()
    if len(head) > 3 and not any(head[::2]):
        return data.decode("utf-16-be"), ()
    if b"\x00" in data:
        raise ValueError("it holds zero bytes, as text does not")
    try:
        return data.decode("utf-8-sig"), ()
    except UnicodeDecodeError as error:
        if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
            raise ValueError(f"it is not text: {error}") from error
        return data.decode("cp1252"), ("the file is not UTF-8: read as Windows-1252",)


def _json(text: str) -> pd.DataFrame:
    """JSONL, a list of objects, columns as lists, or columns and data apart."""
    import pandas as pd

    try:
        value = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError:
        return _table_of(_lines(text))
    if isinstance(value, dict):
        if {"columns", "data"} <= set(value):
            return pd.DataFrame(value["data"], columns=value["columns"])
        kinds = {type(cell) for cell in value.values()}
        if kinds == {dict} or (kinds == {list} and len(value) > 1):
            return pd.DataFrame(value)
        lists = [cell for cell in value.values() if isinstance(cell, list)]
        value = lists[0] if len(lists) == 1 and isinstance((lists[0] or [0])[0], dict) else [value]
    for place, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise ValueError(f"entry {place} is no object of names and values")
    return _table_of(value)


def _lines(text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no object of names and values")
        rows.append(row)
    return rows


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON itself would take the last of two values of one name and say nothing."""
    if (name := repeated(name for name, _ in pairs)) is not None:
        raise ToolkitError(f"gives {name!r} twice in one row: rename one of them")
    return dict(pairs)


def _table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table; an object within an object becomes columns such as `config.lr`."""
    import pandas as pd

    nested = any(isinstance(cell, dict) for row in rows for cell in row.values())
    return pd.json_normalize(rows, sep=".") if nested else pd.DataFrame(rows)


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Names as stripped text, cells without lists: what repeats can then be found."""
    for place in range(table.shape[1]):
        column = table.iloc[:, place]
        if column.dtype == object and column.map(lambda cell: isinstance(cell, (list, dict))).any():
            cells = column.map(lambda c: json.dumps(c) if isinstance(c, (list, dict)) else c)
            table = table.assign(**{str(table.columns[place]): cells})
    table = table.reset_index(drop=True)
    table.columns = [str(name).strip() for name in table.columns]
    return table


def _separated(text: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Text with one row a line: CSV and its relatives."""
    import pandas as pd

    whole = text.count("\n")
    said, text = _without_preamble(text)
    separator = said or _separator(text)
    header, body = _checked(text, separator, skipped=whole - text.count("\n"))
    if not body.strip():
        return pd.DataFrame(columns=header), ()
    options: dict[str, Any] = {"sep": separator, "header": None, "names": range(len(header))}
    options |= {"skipinitialspace": separator != SPACES, "low_memory": False}
    table = pd.read_csv(io.StringIO(body), **options)
    notes: tuple[str, ...] = ()
    if has_number_with_comma(table):
        texts = pd.read_csv(io.StringIO(body), dtype=str, **options)
        if has_decimal_comma(texts, header, separator):
            table, notes = with_points(texts), (DECIMAL_COMMA,)
    table.columns = header
    return table.dropna(how="all"), notes


def _without_preamble(text: str) -> tuple[str, str]:
    """The separator that a spreadsheet says in its first line, and the text from the header on."""
    said = ""
    start = re.match(r"\s*sep=(.)\s*\n", text)
    if start:
        said, text = start[1], text[start.end() :]
    while text[:1] in ("#", "\n", "\r"):
        line, _, rest = text.partition("\n")
        if line.startswith("#") and _is_header(line, rest.partition("\n")[0]):
            return said, text[1:].lstrip(" ")
        text = rest
    if not text.strip():
        raise ToolkitError("is empty")
    if text.lstrip().startswith("|"):  # A table of a Markdown document.
        rows = [line.strip().strip("|") for line in text.splitlines() if line.strip()]
        rows = [row for row in rows if not re.fullmatch(r"[\s|:-]+", row)]
        return "|", "\n".join("|".join(c.strip() for c in row.split("|")) for row in rows)
    return said, text


def _is_header(comment: str, row: str) -> bool:
    """Whether a line that begins with # names the columns of a row of numbers."""
    for separator in (*SEPARATORS, None):
        names, cells = comment[1:].split(separator), row.split(separator)
        if len(names) == len(cells) > 1:
            return _all_numbers(cells) and not _all_numbers(names)
    return False


def _separator(text: str) -> str:
    """The separator that gives the header several cells, and most rows as many."""
    lines = [line for line in text[: 2**16].splitlines()[:SAMPLE] if line.strip()]

    def worth(separator: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        same = sum(width == widths[0] for width in widths) / len(widths)
        return (same, widths[0]) if widths[0] > 1 else (-1.0, 0)

    best = max(SEPARATORS, key=worth)
    if worth(best)[1] > 1:
        return best
    widths = {len(line.split()) for line in lines}
    return SPACES if len(lines) > 1 and len(widths) == 1 and widths != {1} else ","


def _checked(text: str, separator: str, skipped: int) -> tuple[list[str], str]:
    """The header, and the rows as text; every row has as many cells as the header."""
    if separator == SPACES:
        header, body = text.partition("\n")[0].split(), text.partition("\n")[2]
    else:
        # One line at a time, so that the place in the text is known after the header.
        lines = io.StringIO(text, newline="")
        rows = csv.reader(iter(lines.readline, ""), delimiter=separator, strict=True)
        header = next(row for row in rows if row)
        body = text[lines.tell() :]
        repeated = False
        for row in rows:
            repeated = repeated or row == header
            if row and len(row) != len(header):  # Pandas would fill the gap and say nothing.
                comma = separator == "," and len(row) > len(header)
                raise ValueError(
                    f"line {skipped + rows.line_num} has {len(row)} cells, the header "
                    f"{len(header)}{'; a cell with a comma in it needs quotes' if comma else ''}"
                )
        if repeated:  # Files put one after the other.
            first = text[: len(text) - len(body)].strip()
            body = "\n".join(line for line in body.splitlines() if line.strip() != first)
    if _all_numbers(header):
        raise ToolkitError("has no header: its first line holds numbers only")
    return [name.strip() for name in header], body


def _all_numbers(cells: list[str]) -> bool:
    def is_number(cell: str) -> bool:
        try:
            float(cell)
        except ValueError:
            return False
        return True

    return bool(cells) and all(is_number(cell) for cell in cells)

"""Pairs from a person's own file: JSONL, CSV, TSV or Parquet, each also gzipped."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from toolkit.errors import ToolkitError
from toolkit.pairs.lines import (
    FORMATS,
    BadLine,
    ending,
    json_of,
    kind_of,
    lines_of,
    not_csv,
    opened,
    parquet,
    separated,
    whole,
)
from toolkit.pairs.pair import Pair
from toolkit.values import is_text

# The column names in which pairs come: ours, sentence-transformers', FlagEmbedding's, and plain.
COLUMNS = (
    ("query", "positive"),
    ("anchor", "positive"),
    ("query", "pos"),
    ("question", "answer"),
    ("query", "answer"),
)
_NEGATIVE = re.compile(r"neg(ative)?s?(_?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None is found by its name.

    Attributes:
        query, positive: Of a pair's texts; the positive may be a list, each of which is a pair.
        negative: Of texts, or a list of them, that do not answer the query.
    """

    query: str | None = None
    positive: str | None = None
    negative: str | None = None

    def among(self, names: list[str], where: str) -> Columns:
        """The columns of a table with these names; case and outer spaces do not matter.

        Raises:
            ToolkitError: They are not there, or there twice.
        """
        plain = {name.strip().casefold(): name for name in names}
        has = ", ".join(names)[:200] or "none"
        wanted = list(COLUMNS)
        if self.query or self.positive:
            wanted = [(self.query or _one_of(0, plain), self.positive or _one_of(1, plain))]
        for pair in wanted:
            keys = [name.strip().casefold() for name in pair]
            if all(key in plain for key in keys):
                found = [plain[key] for key in keys]
                for name in found:
                    if names.count(name) > 1:
                        raise ToolkitError(f"{where} has two columns {name!r}; rename one")
                return Columns(found[0], found[1], self._negative(plain, where, has))
        needed = ", ".join("/".join(pair) for pair in wanted)
        hint = "" if self.query else "; or name yours: query_column, positive_column"
        raise ToolkitError(f"{where} has the columns {has}; needed: {needed}{hint}")

    def _negative(self, plain: dict[str, str], where: str, has: str) -> str | None:
        if self.negative is None:
            return None
        try:
            return plain[self.negative.strip().casefold()]
        except KeyError:
            raise ToolkitError(f"{where} has the columns {has}; needed: {self.negative}") from None


def _one_of(place: int, names: Iterable[str]) -> str:
    """The first of the known names of a query (0) or a positive (1) that is there."""
    known = [pair[place] for pair in COLUMNS]
    return next((name for name in known if name in names), known[0])


@dataclass
class Tally:
    """What was read: `rows` of the file, `bad` of them passed over, and the `first` of those."""

    rows: int = 0
    bad: int = 0
    first: str = ""


def read_file(
    path: Path, columns: Columns = Columns(), *, skip_bad: float = 0.0, tally: Tally | None = None
) -> Iterator[Pair]:
    """The pairs of a file, one by one: each positive of a row is a pair of its own.

    Args:
        columns: Where the texts are. skip_bad: Share of the rows that may be bad and are then
            passed over. tally: Filled with what was read.

    Raises:
        ToolkitError: The file or a row of it is bad; file and line are named.
    """
    tally = tally if tally is not None else Tally()
    kind, packed = kind_of(path)
    rows = {".csv": _csv_rows, ".tsv": _csv_rows, ".parquet": _parquet_rows}.get(kind, _json_rows)
    with opened(path, packed) as file:
        for row in rows(file, path, columns):
            tally.rows += 1
            try:
                yield from row()
            except BadLine as error:
                if not skip_bad:
                    raise
                tally.bad += 1
                tally.first = tally.first or str(error)
    if tally.bad > skip_bad * tally.rows:
        raise ToolkitError(
            f"{path}: {tally.bad:,} of {tally.rows:,} rows are bad, more than the share of "
            f"{skip_bad:g} that skip_bad allows; the first: {tally.first}"
        )


def is_pairs_file(source: str) -> bool:
    """Whether the name is that of a file that `read_file` can read."""
    return ending(Path(source))[0] in FORMATS


Row = Callable[[], Iterator[Pair]]


def _json_rows(file: IO[bytes], path: Path, columns: Columns) -> Iterator[Row]:
    for number, line in lines_of(file, path):
        where = f"{path}, line {number},"
        if isinstance(line, str) and not line.strip():
            continue
        yield partial(_json_pairs, line, where, columns)


def _json_pairs(line: str | BadLine, where: str, columns: Columns) -> Iterator[Pair]:
    if isinstance(line, BadLine):
        raise line
    values = json_of(line, where)
    if isinstance(values, list) and len(values) >= 2:  # sentence-transformers' pairs and triplets
        values = {"query": values[0], "positive": values[1], "negatives": values[2:]}
        columns = Columns("query", "positive", "negatives")
    if not isinstance(values, dict):
        raise BadLine(f"{where} is not an object with a query and a positive")
    try:
        found = columns.among(list(values), where)
    except ToolkitError as error:
        raise BadLine(str(error)) from error
    yield from pairs_of_row(values, found, where)


def _csv_rows(file: IO[bytes], path: Path, columns: Columns) -> Iterator[Row]:
    lines = (whole(line) for _, line in lines_of(file, path))
    header = next(lines, "")
    delimiter, found = _delimiter(header, path, columns)
    rows = separated(chain([header], lines), path, delimiter)
    _, names = next(rows)
    for where, row in rows:
        if len(row) > len(names):
            message = f"{where} has {len(row)} cells, the header {len(names)}"
            yield partial(_refuse, message)
        else:
            values: dict[str, Any] = dict(zip(names, row, strict=False))
            yield partial(pairs_of_row, values, found, where)


def _delimiter(header: str, path: Path, columns: Columns) -> tuple[str, Columns]:
    """The first of tab, comma, semicolon under which the header has the columns."""
    first = "\t" if ending(path)[0] == ".tsv" else ","
    complaint: ToolkitError | None = None
    for delimiter in dict.fromkeys((first, ",", ";", "\t")):
        try:
            names = next(csv.reader([header], delimiter=delimiter), [])
            return delimiter, columns.among(names, f"{path}, line 1,")
        except ToolkitError as error:
            complaint = complaint or error
        except csv.Error as error:
            complaint = complaint or not_csv(f"{path}, line 1,", error)
    assert complaint is not None
    raise complaint


def _parquet_rows(file: IO[bytes], path: Path, columns: Columns) -> Iterator[Row]:
    import pyarrow as pa

    try:
        table = parquet(file)
        names = table.schema_arrow.names
        found = columns.among(names, str(path))
        read = [name for name in names if name in _used(found, names)]
        row = 0
        for batch in table.iter_batches(10_000, columns=read):
            for values in batch.to_pylist():
                row += 1
                where = f"{path}, row {row},"
                yield partial(pairs_of_row, values, found, where)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ToolkitError(f"{path} is not a readable Parquet file: {error}") from error


def _used(columns: Columns, names: Iterable[str]) -> list[str]:
    texts = [name for name in (columns.query, columns.positive) if name]
    return texts + _negative_columns(columns, names)


def _negative_columns(columns: Columns, names: Iterable[str]) -> list[str]:
    if columns.negative:
        return [columns.negative]
    return [name for name in names if _NEGATIVE.fullmatch(name.strip())]


def pairs_of_row(values: dict[str, Any], columns: Columns, where: str) -> Iterator[Pair]:
    """The pairs of one row.

    Raises:
        BadLine: A column is missing, or its text is empty or no text.
    """
    assert columns.query and columns.positive
    query = checked_text(values.get(columns.query), columns.query, where)
    positives = values.get(columns.positive)
    if isinstance(positives, list):
        if not positives:
            raise BadLine(f"{where} has an empty list of {columns.positive}")
        texts = [checked_text(text, columns.positive, where) for text in positives]
    else:
        texts = [checked_text(positives, columns.positive, where)]
    negatives: list[str] = []
    for name in _negative_columns(columns, values):
        found = values.get(name)
        given = found if isinstance(found, list) else [found] if found not in (None, "") else []
        negatives += [checked_text(text, name, where) for text in given]
    wrong = tuple(negatives)  # one object: whoever counts them sees that the row's pairs share it
    yield from (Pair(query, text, wrong) for text in texts)


def checked_text(text: Any, column: str, where: str, *, empty: bool = False) -> str:
    """The text of a row's column, which may be `empty` where that is said.

    Raises:
        BadLine: It is none.
    """
    if text is None:
        raise BadLine(f"{where} has no {column}")
    if not isinstance(text, str):
        raise BadLine(f"{where} has a {column} that is not text: {text!r:.60}")
    if not text.strip():
        if empty:
            return text
        raise BadLine(f"{where} has an empty {column}")
    if not is_text(text):
        raise BadLine(
            f"{where} has a {column} with half a character (a lone surrogate, as \\ud800), "
            "which no tokenizer can read"
        )
    return text


def _refuse(message: str) -> Iterator[Pair]:
    raise BadLine(message)

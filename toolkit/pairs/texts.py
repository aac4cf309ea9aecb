"""Single texts from a person's own file, one by one: JSONL, CSV, TSV or Parquet, each also gzipped,
or plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from toolkit.errors import ToolkitError
from toolkit.pairs.files import checked_text
from toolkit.pairs.lines import (
    FORMATS,
    BadLine,
    json_of,
    kind_of,
    lines_of,
    opened,
    parquet,
    separated,
    whole,
)
from toolkit.values import repeated

# Under which names texts come.
COLUMNS = ("text", "sentence", "content", "passage", "document", "body", "positive", "answer")
PLAIN = ".txt"  # A text a line.
_ROWS = 10_000


@dataclass(frozen=True)
class TextFile:
    """The texts of a file in its order, read anew by every iteration and never all in memory.

    A text may be empty, so that text i is that of row i; a blank line of JSONL is no row.

    Attributes:
        path: The file. column: Where the texts are; None finds it by `COLUMNS`, or takes the only
            column there is. A `title` beside such a text stands before it, as in BEIR's corpora.
    """

    path: Path
    column: str | None = None

    def __iter__(self) -> Iterator[str]:
        """The texts.

        Raises:
            ToolkitError: The file or a row of it is bad; file and line are named.
        """
        for where, row in rows_of(self.path, self.column):
            if isinstance(row, str):
                yield checked_text(row, "text", where, empty=True)
            else:
                yield text_of(row, self.column, where)


def text_of(row: dict[str, Any], column: str | None, where: str) -> str:
    """A row's text.

    Raises:
        ToolkitError: It has none in that column, or in none that is known; or it is no text.
    """
    if column is None:
        column = next((name for name in COLUMNS if name in row), None)
        if column is None and len(row) == 1:
            column = next(iter(row))
        if column is None:
            has = ", ".join(map(str, row))[:200] or "none"
            raise BadLine(
                f"{where} has the columns {has}; needed: one of {', '.join(COLUMNS)}; "
                "or name yours: --column"
            )
        if column == "text" and row.get("title"):
            title = checked_text(row["title"], "title", where)
            text = checked_text(row["text"], column, where, empty=True)
            return f"{title} {text}".strip()
    elif column not in row:
        has = ", ".join(map(str, row))[:200] or "none"
        raise BadLine(f"{where} has no {column}; its columns are {has}")
    return checked_text(row.get(column), column, where, empty=True)


def rows_of(path: Path, column: str | None = None) -> Iterator[tuple[str, str | dict[str, Any]]]:
    """The rows of a file with where each is, for complaints: a dict, or of plain text the line.

    Args:
        column: All that is asked for, where a format can leave out the rest.

    Raises:
        ToolkitError: The file or a row of it cannot be read; file and line are named.
    """
    kind, packed = format_of(path)
    readers: dict[str, Callable[[IO[bytes], Path], Iterator[tuple[str, Any]]]] = {
        PLAIN: _plain,
        ".csv": _csv,
        ".tsv": _csv,
        ".parquet": partial(_parquet, column=column),
    }
    with opened(path, packed) as file:
        yield from readers.get(kind, _json)(file, path)


def format_of(path: Path) -> tuple[str, bool]:
    """A file's format by its name, plain lines among them, and whether it is gzipped.

    Raises:
        ToolkitError: It is none that can be read.
    """
    if path.name.lower().endswith((PLAIN, f"{PLAIN}.gz")):
        return PLAIN, path.suffix.lower() == ".gz"
    return kind_of(path, PLAIN)


def is_texts_file(name: str) -> bool:
    """Whether the name is that of a file that `rows_of` can read."""
    return name.lower().removesuffix(".gz").endswith((*FORMATS, PLAIN))


def _plain(file: IO[bytes], path: Path) -> Iterator[tuple[str, str]]:
    for number, line in lines_of(file, path):
        where, text = f"{path}, line {number},", whole(line).rstrip("\r\n")
        if "\r" in text:
            raise BadLine(
                f"{where} has a carriage return amid a line; save the file with the line ends of "
                "Unix or Windows"
            )
        yield where, text


def _json(file: IO[bytes], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in lines_of(file, path):
        where = f"{path}, line {number},"
        if not whole(line).strip():
            continue
        row = json_of(whole(line), where)
        row = {"text": row} if isinstance(row, str) else row
        if not isinstance(row, dict):
            raise BadLine(f"{where} is neither an object nor a text")
        yield where, row


def _csv(file: IO[bytes], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = (whole(line) for _, line in lines_of(file, path))
    header = next(lines, "")
    delimiter = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    if delimiter not in header:
        delimiter = next((other for other in ",;\t|" if other in header), delimiter)
    rows = separated(chain([header], lines), path, delimiter)
    where, first = next(rows, (str(path), []))
    names = _once([name.strip() for name in first], where)
    for where, row in rows:
        if len(row) != len(names):
            raise BadLine(f"{where} has {len(row)} cells, the header {len(names)}")
        yield where, dict(zip(names, row, strict=True))


def _once(names: list[str], where: str) -> list[str]:
    """Names of columns, none of them twice.

    Raises:
        ToolkitError: One is.
    """
    if name := repeated(filter(None, names)):
        raise ToolkitError(f"{where} has two columns {name!r}; rename one")
    return names


def _parquet(
    file: IO[bytes], path: Path, column: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa

    number = 0
    try:
        table = parquet(file)
        names = _once(table.schema_arrow.names, str(path))
        texts = [field.name for field in table.schema_arrow if _holds_texts(field.type)]
        # Where none of them is asked for, all are shown to whoever asks which there are.
        read = [column] if column in names else texts if column is None and texts else None
        for batch in table.iter_batches(_ROWS, columns=read):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number},", row
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ToolkitError(f"{path} is not a readable Parquet file: {error}") from error


def _holds_texts(kind: Any) -> bool:
    """Whether a column of Parquet of this type does."""
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return plain in (pa.string(), pa.large_string(), pa.string_view())

"""A file's lines as a person has them: unpacked, decoded, numbered, each named where it is bad."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.values import repeated

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

FORMATS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_END = "\0end of the file\0"  # A line after the last: within a cell, a quote was left open.
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP = b"\x1f\x8b"


class BadLine(ToolkitError):
    """A line of a file that gives no pair, and that may be passed over on request."""


def ending(path: Path) -> tuple[str, bool]:
    """What a file's name ends in, and whether it is gzipped by its name."""
    packed = path.suffix.lower() == ".gz"
    return Path(path.stem if packed else path.name).suffix.lower(), packed


def kind_of(path: Path, *more: str) -> tuple[str, bool]:
    """A file's format, one of `FORMATS`, and whether it is gzipped, by its name.

    Args:
        more: Formats that the caller reads as well, to be named in a complaint.

    Raises:
        ToolkitError: It is none of them.
    """
    kind, packed = ending(path)
    if kind not in FORMATS:
        raise ToolkitError(
            f"unknown format of {path}: its name must end in {', '.join((*FORMATS, *more))}, "
            "each also with .gz"
        )
    return kind, packed


@contextmanager
def opened(path: Path, packed: bool) -> Iterator[IO[bytes]]:
    """The file's bytes, unzipped as they are read.

    Raises:
        ToolkitError: They cannot be read, to the end of the block.
    """
    if "\0" in str(path):
        raise SurroundingsError(f"{path} does not exist")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise SurroundingsError(
                f"{path} is no plain file, and is read more than once; save what it gives in one"
            )
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            yield file  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ToolkitError(f"{path} is not a whole gzip file: {error}") from error
    except FileNotFoundError as error:
        raise SurroundingsError(f"{path} does not exist") from error
    except OSError as error:
        raise SurroundingsError(f"{path} cannot be read: {error.strerror or error}") from error


def lines_of(file: IO[bytes], path: Path) -> Iterator[tuple[int, str | BadLine]]:
    """The lines of a text, numbered from 1: UTF-8, or UTF-16 where it begins so; without a mark
    at its head. A line that cannot be decoded comes as the complaint about it."""
    head = file.read(4)
    file.seek(0)
    if head.startswith(_GZIP):
        raise ToolkitError(f"{path} is packed by gzip; give it a name that ends in .gz")
    if head.startswith(_UTF16) and head != codecs.BOM_UTF32_LE:
        try:
            with io.TextIOWrapper(file, encoding="utf-16", newline="") as text:
                yield from enumerate(text, 1)
        except UnicodeError as error:
            raise ToolkitError(f"{path} begins as UTF-16 but is not: {error}") from error
        return
    if b"\0" in head:
        raise ToolkitError(
            f"{path} is not UTF-8 (it has a zero byte in its first letters, as UTF-16 and UTF-32 "
            "do); save it as UTF-8"
        )
    if head.startswith(codecs.BOM_UTF8):
        file.seek(len(codecs.BOM_UTF8))
    for number, line in enumerate(file, 1):
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError:
            yield number, BadLine(f"{path}, line {number}, is not UTF-8; save the file as UTF-8")


def json_of(line: str, where: str) -> Any:
    """What a line of JSON says.

    Raises:
        BadLine: It is none, or gives a name twice, of which JSON would take the last.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if (name := repeated(name for name, _ in pairs)) is not None:
            raise BadLine(f"{where} gives {name!r} twice; rename one")
        return dict(pairs)

    try:
        return json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"{where} is not JSON; each line must be whole by itself") from error


def separated(lines: Iterable[str], path: Path, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of CSV that are not blank, each with the line that it begins on, for complaints.

    Raises:
        ToolkitError: A line is no CSV; or a quote is never closed, and all that follows it would
            be one cell.
    """
    csv.field_size_limit(sys.maxsize)
    rows = csv.reader(chain(lines, [_END]), delimiter=delimiter)
    where = f"{path}, line 1,"
    try:
        for row in rows:
            if row and row[-1].endswith(_END) and row != [_END]:
                raise ToolkitError(f'{where} opens a quote (") that is never closed')
            if row and row != [_END]:
                yield where, row
            where = f"{path}, line {rows.line_num + 1},"
    except csv.Error as error:
        raise not_csv(where, error) from error


def not_csv(where: str, error: csv.Error) -> ToolkitError:
    """The complaint about a row that is no CSV."""
    if "new-line character" in str(error):
        return ToolkitError(
            f"{where} has a carriage return amid a row; save the file with the line ends of Unix "
            "or Windows"
        )
    return ToolkitError(f"{where} is not CSV: {error}")


def parquet(file: IO[bytes]) -> ParquetFile:
    """A file of Parquet, to be read group by group; a gzipped one is held in memory."""
    from pyarrow.parquet import ParquetFile

    whole = io.BytesIO(file.read()) if isinstance(file, gzip.GzipFile) else file
    return ParquetFile(whole, pre_buffer=False)  # What is read ahead would stay to the end.


def whole(line: str | BadLine) -> str:
    """A line, or the complaint that came in its place raised."""
    if isinstance(line, BadLine):
        raise line
    return line

"""Text pairs (query, positive) from files, hubs and installed packages, split by a stable key."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.docstrings import fingerprint, mine
from toolkit.pairs.pair import Pair

# The column names in which pairs come: ours, sentence-transformers', and FlagEmbedding's.
COLUMNS = (("query", "positive"), ("anchor", "positive"), ("query", "pos"))


def read_pairs(source: str) -> Iterator[Pair]:
    """The pairs of a data source, one by one, none held in memory.

    Args:
        source: `docstrings`; a file ending in .jsonl, .csv or .parquet with the columns
            query/positive, anchor/positive or query/pos; or `hub:owner/name[:split]`.

    Raises:
        ToolkitError: The source is unknown or a line of it is bad; file and line are named.
    """
    if source == "docstrings":
        return _read_docstrings()
    if source.startswith("hub:"):
        return _read_hub(source)
    path = Path(source)
    readers = {
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    if path.suffix.lower() not in readers:
        raise ToolkitError(
            f"unknown data {source!r}: give docstrings, hub:owner/name, "
            "or a file ending in .jsonl, .csv or .parquet"
        )
    if not path.is_file():
        raise SurroundingsError(f"data file {path} does not exist")
    return readers[path.suffix.lower()](path)


def data_fingerprint(source: str) -> str:
    """A digest that changes when the data behind `source` do: for files, size and time of change.

    Raises:
        ToolkitError: The file does not exist.
    """
    if source == "docstrings":
        return fingerprint()
    if source.startswith("hub:"):
        return hashlib.sha256(source.encode()).hexdigest()[:16]
    path = Path(source).resolve()
    if not path.is_file():
        raise SurroundingsError(f"data file {source} does not exist")
    stat = path.stat()
    return hashlib.sha256(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]


def _read_docstrings() -> Iterator[Pair]:
    """Mined once, then read from the cache."""

    path = cache_folder() / f"docstrings-{data_fingerprint('docstrings')}.jsonl"
    if not path.is_file():
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with open(temporary, "w", encoding="utf-8") as file:
            for pair in mine():
                file.write(json.dumps([pair.query, pair.positive]) + "\n")
        os.replace(temporary, path)
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield Pair(*json.loads(line))


def _pair(values: object, columns: tuple[str, str], where: str) -> Pair:
    """The pair in a row of a file.

    A list of positives (FlagEmbedding's `pos`) gives its first.

    Raises:
        ToolkitError: A column is missing or its text is empty or no text.
    """
    if not isinstance(values, dict):
        raise ToolkitError(f"{where} is not an object with {columns[0]} and {columns[1]}")
    texts = []
    for column in columns:
        text = values.get(column)
        if isinstance(text, list) and text:
            text = text[0]
        if text is None:
            raise ToolkitError(f"{where} has no {column}")
        if not isinstance(text, str):
            raise ToolkitError(f"{where} has a {column} that is not text: {text!r:.60}")
        if not text.strip():
            raise ToolkitError(f"{where} has an empty {column}")
        texts.append(text)
    return Pair(*texts)


def _columns(names: list[str], where: str) -> tuple[str, str]:
    for columns in COLUMNS:
        if set(columns) <= set(names):
            return columns
    wanted = ", ".join("/".join(columns) for columns in COLUMNS)
    raise ToolkitError(f"{where} has the columns {', '.join(names):.200}; needed: {wanted}")


def _read_jsonl(path: Path) -> Iterator[Pair]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number},"
            if not line.strip():
                continue
            try:
                values = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise ToolkitError(f"{where} is not UTF-8") from error
            except (ValueError, RecursionError) as error:
                raise ToolkitError(f"{where} is not JSON") from error
            names = list(values) if isinstance(values, dict) else []
            yield _pair(values, _columns(names, where), where)


def _read_csv(path: Path) -> Iterator[Pair]:
    csv.field_size_limit(sys.maxsize)
    with open(path, "rb") as file:
        lines = _decoded(file, path)
        rows = csv.reader(lines)
        try:
            names = next(rows, [])
            columns = _columns(names, f"{path}, line 1,")
            for row in rows:
                if row:
                    values = dict(zip(names, row, strict=False))
                    yield _pair(values, columns, f"{path}, line {rows.line_num},")
        except csv.Error as error:
            raise ToolkitError(f"{path}, line {rows.line_num}, is not CSV: {error}") from error


def _decoded(file: Iterator[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ToolkitError(f"{path}, line {number}, is not UTF-8") from error


def _read_parquet(path: Path) -> Iterator[Pair]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = _columns(file.schema_arrow.names, str(path))
        row = 0
        for batch in file.iter_batches(10_000, columns=list(columns)):
            for values in batch.to_pylist():
                row += 1
                yield _pair(values, columns, f"{path}, row {row},")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ToolkitError(f"{path} is not a readable Parquet file: {error}") from error


def _read_hub(source: str) -> Iterator[Pair]:
    """Pairs of a hub data set, streamed through the `datasets` package."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ToolkitError("hub data needs `pip install decoders-to-encoders[export]`") from error
    name, _, split = source.removeprefix("hub:").partition(":")
    try:
        rows = load_dataset(name, split=split or "train", streaming=True)
        names = list(rows.column_names or next(iter(rows)))
    except Exception as error:  # hubs fail in many ways; the person needs the name and the cause
        raise SurroundingsError(f"cannot read hub data {name!r}: {error}") from error
    columns = _columns(names, source)
    for number, row in enumerate(rows, 1):
        yield _pair(row, columns, f"{source}, row {number},")

"""Pairs of a data set on the Hugging Face hub, streamed through the `datasets` package."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.files import Columns, pairs_of_row
from toolkit.pairs.pair import Pair


def read_hub(name: str, columns: Columns) -> Iterator[Pair]:
    """The pairs of `owner/name` or `owner/name:split`, one by one.

    Raises:
        ToolkitError: The `datasets` package is missing, the data set cannot be read, or a row of it
            is bad.
    """
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ToolkitError("hub data needs `pip install decoders-to-encoders[export]`") from error
    data_set, _, split = name.partition(":")
    try:
        rows = load_dataset(data_set, split=split or "train", streaming=True)
        names = list(rows.column_names or next(iter(rows)))
    except Exception as error:  # hubs fail in many ways; the person needs the name and the cause
        raise SurroundingsError(f"cannot read hub data {data_set!r}: {error}") from error
    found = columns.among(names, f"hub:{name}")
    for number, row in enumerate(rows, 1):
        yield from pairs_of_row(row, found, f"hub:{name}, row {number},")

"""The store of tokenised pairs: flat files of ids, offsets and keys, memory-mapped."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from toolkit.pairs.negatives import Negatives
from toolkit.pairs.ragged import TokenColumn

SIDES = ("train", "held_out")
_TEXTS = ("queries", "positives")


@dataclass(frozen=True)
class TokenisedPairs:
    """One side of the split, tokenised.

    Attributes:
        queries, positives: The texts.
        keys: The pairs' stable 64-bit keys, uint64.
        origins: For each pair the place of its origin in `names`, uint8; None where the data have
            but one.
        negatives: The pairs' hard negatives, where a run asks for any.
    """

    queries: TokenColumn
    positives: TokenColumn
    keys: np.ndarray
    origins: np.ndarray | None = None
    names: tuple[str, ...] = ()
    negatives: Negatives | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def first(self, count: int) -> np.ndarray:
        """Positions of the `count` pairs with the smallest keys: the same pairs everywhere."""
        return np.argsort(self.keys, kind="stable")[:count]


class Writer:
    """Appends one side's pairs to its six files."""

    def __init__(self, folder: Path, side: str, files: ExitStack) -> None:
        def create(name: str) -> BinaryIO:
            return files.enter_context(open(folder / f"{side}.{name}", "wb"))

        self.ids = [create(f"{text}.ids") for text in _TEXTS]
        self.offsets = [create(f"{text}.offsets") for text in _TEXTS]
        self.keys, self.origins = create("keys"), create("origins")
        self.ends = [0, 0]
        for file in self.offsets:
            file.write(np.int64(0).tobytes())

    def write(self, key: int, tokens: list[list[int]], origin: int) -> None:
        for text, ids in enumerate(tokens):
            self.ends[text] += len(ids)
            self.ids[text].write(np.asarray(ids, np.int32).tobytes())
            self.offsets[text].write(np.int64(self.ends[text]).tobytes())
        self.keys.write(np.uint64(key).tobytes())
        self.origins.write(np.uint8(origin).tobytes())


class NegativesWriter:
    """Appends the hard negatives of the training side's pairs to its three files."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        def create(name: str) -> BinaryIO:
            return files.enter_context(open(folder / f"train.negatives.{name}", "wb"))

        self.ids, self.offsets, self.pairs = map(create, ("ids", "offsets", "pairs"))
        self.end = self.texts = 0
        for file in (self.offsets, self.pairs):
            file.write(np.int64(0).tobytes())

    def write(self, texts: list[list[int]]) -> None:
        for ids in texts:
            self.end += len(ids)
            self.ids.write(np.asarray(ids, np.int32).tobytes())
            self.offsets.write(np.int64(self.end).tobytes())
        self.texts += len(texts)
        self.pairs.write(np.int64(self.texts).tobytes())


def stored(folder: Path) -> dict[str, Any]:
    """What the store says of itself: pairs of each side, origins, whether it has negatives."""
    return json.loads((folder / "counts.json").read_text(encoding="utf-8"))


def is_whole(folder: Path) -> bool:
    """Whether every file of the store is there, and as long as it must be."""
    try:
        counts = stored(folder)
        for side in SIDES:
            pairs = counts[side]
            sizes = {"keys": 8 * pairs, "origins": pairs}
            for text in _TEXTS:
                sizes[f"{text}.offsets"] = 8 * (pairs + 1)
                offsets = _map(folder / f"{side}.{text}.offsets", np.int64)
                sizes[f"{text}.ids"] = 4 * int(offsets[-1])
            for name, size in sizes.items():
                if (folder / f"{side}.{name}").stat().st_size != size:
                    return False
        return not counts.get("negatives") or _negatives_are_whole(folder, counts["train"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _negatives_are_whole(folder: Path, pairs: int) -> bool:
    column, ends = _map_negatives(folder, 0)
    return (
        len(ends) == pairs + 1
        and len(column) == int(ends[-1])
        and len(column.ids) == int(column.offsets[-1])
    )


def _map_negatives(folder: Path, skip: int) -> tuple[TokenColumn, np.ndarray]:
    ids = _map(folder / "train.negatives.ids", np.int32)
    offsets, pairs = (
        _map(folder / f"train.negatives.{name}", np.int64) for name in ("offsets", "pairs")
    )
    return TokenColumn(ids, offsets, skip), pairs


def open_negatives(folder: Path, skip: int) -> Negatives:
    """The hard negatives of the training side; pooling leaves out `skip` first tokens."""
    column, ends = _map_negatives(folder, skip)
    return Negatives(column, np.arange(len(column)), np.asarray(ends))


def open_side(folder: Path, side: str, names: tuple[str, ...], skips: list[int]) -> TokenisedPairs:
    """One side of the store; `names` of its origins, `skips` of queries and positives."""
    queries, positives = (
        TokenColumn(
            _map(folder / f"{side}.{text}.ids", np.int32),
            _map(folder / f"{side}.{text}.offsets", np.int64),
            skip,
        )
        for text, skip in zip(_TEXTS, skips, strict=True)
    )
    keys = _map(folder / f"{side}.keys", np.uint64)
    if len(names) < 2:
        return TokenisedPairs(queries, positives, keys)
    origins = _map(folder / f"{side}.origins", np.uint8)
    return TokenisedPairs(queries, positives, keys, origins, names)


def _map(path: Path, dtype: type[np.generic]) -> np.ndarray:
    if path.stat().st_size == 0:  # the system maps no empty file
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, mode="r")

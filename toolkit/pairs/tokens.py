"""Tokenised texts: ragged, real tokens only, memory-mapped on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import ToolkitError
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import data_fingerprint, read_pairs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SIDES = ("train", "held_out")
_TEXTS = ("queries", "positives")


@dataclass(frozen=True)
class Ragged:
    """Texts as token ids, one after the other, without padding.

    Attributes:
        ids: Token ids of all texts, int32, shape [tokens].
        lengths: Tokens of each text, int32, shape [texts]; none is zero.
    """

    ids: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def offsets(self) -> np.ndarray:
        """Where each text starts in `ids`, and the end of the last: int64, shape [texts + 1]."""
        return np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`, in that order."""
        return _take(self.ids, self.offsets, order)


@dataclass(frozen=True)
class TokenColumn:
    """One text of every pair, memory-mapped: ids [tokens], offsets [pairs + 1]."""

    ids: np.ndarray
    offsets: np.ndarray

    def take(self, order: np.ndarray) -> Ragged:
        """The texts at the positions `order`; only their pages are read from disk."""
        return _take(self.ids, self.offsets, order)

    def lengths(self, order: np.ndarray) -> np.ndarray:
        """Tokens of the texts at the positions `order`, int64, without reading the texts."""
        return self.offsets[order + 1] - self.offsets[order]


@dataclass(frozen=True)
class TokenisedPairs:
    """One side of the split, tokenised; `keys` are the pairs' stable 64-bit keys, uint64."""

    queries: TokenColumn
    positives: TokenColumn
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def first(self, count: int) -> np.ndarray:
        """Positions of the `count` pairs with the smallest keys: the same pairs everywhere."""
        return np.argsort(self.keys, kind="stable")[:count]


@dataclass(frozen=True)
class TokenisedData:
    """A data source, split by key and tokenised once."""

    train: TokenisedPairs
    held_out: TokenisedPairs


def tokenise(
    source: str, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int = 75
) -> TokenisedData:
    """The pairs of `source`, tokenised and cut at `max_tokens`; read from the cache if there.

    Pairs stream from the source to the store, so their number is bounded by the disk alone.

    Raises:
        ToolkitError: The source cannot be read, or holds no pair.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ToolkitError("the decoder has no fast tokenizer (tokenizer.json); it needs one")
    model = json.loads(backend.to_str())
    model.update(truncation=None, padding=None)  # passing state of the last call, not identity
    identity = f"1 {data_fingerprint(source)} {max_tokens} {json.dumps(model, sort_keys=True)}"
    folder = cache_folder() / f"tokens-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        _build(folder, read_pairs(source), tokenizer, max_tokens, source)
    return TokenisedData(*(_open(folder, side) for side in _SIDES))


def _build(
    folder: Path,
    pairs: Iterator[Pair],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    source: str,
) -> None:
    """Write the store beside `folder`, then move it there in one step."""
    building = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        counts = dict.fromkeys(_SIDES, 0)
        with ExitStack() as files:
            writers = {side: _Writer(building, side, files) for side in _SIDES}
            while chunk := list(islice(pairs, 4096)):
                texts = [text for pair in chunk for text in (pair.query, pair.positive)]
                ids = tokenizer(
                    texts,
                    add_special_tokens=False,
                    truncation=True,
                    max_length=max_tokens,
                    return_attention_mask=False,
                )["input_ids"]
                for pair, *tokens in zip(chunk, ids[::2], ids[1::2], strict=True):
                    if all(tokens):
                        side = "held_out" if pair.held_out else "train"
                        writers[side].write(pair.key, tokens)
                        counts[side] += 1
        if not sum(counts.values()):
            raise ToolkitError(f"data {source!r} holds no pair")
        (building / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
        if not folder.is_dir():  # another process may have been faster; its store is as good
            building.rename(folder)
    except OSError as error:
        raise ToolkitError(f"cannot store the tokens of {source!r}: {error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


class _Writer:
    """Appends one side's pairs to its five files."""

    def __init__(self, folder: Path, side: str, files: ExitStack) -> None:
        def create(name: str) -> BinaryIO:
            return files.enter_context(open(folder / f"{side}.{name}", "wb"))

        self.ids = [create(f"{text}.ids") for text in _TEXTS]
        self.offsets = [create(f"{text}.offsets") for text in _TEXTS]
        self.keys = create("keys")
        self.ends = [0, 0]
        for file in self.offsets:
            file.write(np.int64(0).tobytes())

    def write(self, key: int, tokens: list[list[int]]) -> None:
        for text, ids in enumerate(tokens):
            self.ends[text] += len(ids)
            self.ids[text].write(np.asarray(ids, np.int32).tobytes())
            self.offsets[text].write(np.int64(self.ends[text]).tobytes())
        self.keys.write(np.uint64(key).tobytes())


def _open(folder: Path, side: str) -> TokenisedPairs:
    queries, positives = (
        TokenColumn(
            _map(folder / f"{side}.{text}.ids", np.int32),
            _map(folder / f"{side}.{text}.offsets", np.int64),
        )
        for text in _TEXTS
    )
    return TokenisedPairs(queries, positives, _map(folder / f"{side}.keys", np.uint64))


def _map(path: Path, dtype: type[np.generic]) -> np.ndarray:
    if path.stat().st_size == 0:  # the system maps no empty file
        return np.zeros(0, dtype)
    return np.memmap(path, dtype, mode="r")


def _take(ids: np.ndarray, offsets: np.ndarray, order: np.ndarray) -> Ragged:
    starts = offsets[order]
    lengths = offsets[order + 1] - starts
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    return Ragged(np.asarray(ids[np.repeat(starts, lengths) + within]), lengths.astype(np.int32))

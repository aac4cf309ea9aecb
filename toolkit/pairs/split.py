"""The split: which pairs are trained on, which are held out, by what can be told on any machine.

Pairs that share a query or a positive, or whose positives are near-duplicates, form a cluster, and
a cluster lies on one side. One of its pairs, chosen by a key of its texts, decides by the key of
its query, so that one cluster in twenty is held out whatever its size. That pair alone stands on
the held-out side: whoever measures on it meets no text twice. The others of its cluster are left
out, and so are pairs that occur again.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.files import Tally
from toolkit.pairs.near import join, near_duplicate_clusters
from toolkit.pairs.pair import HELD_OUT_SHARE, Pair, text_key
from toolkit.pairs.sources import Source, read_pairs, source_fingerprint

TRAIN, HELD_OUT, LEFT_OUT = 0, 1, 2
_VERSION = 1


@dataclass(frozen=True)
class Facts:
    """What is in a data source.

    Attributes:
        fingerprint: Of all pairs with their sides, whatever their order; two data sources with
            the same pairs have the same.
        pairs: All there are. train, held_out: On each side. left_out: On neither.
        repeated: Pairs that occur again, with the same query and positive.
        clusters: Of pairs that share a text or have near-duplicate positives.
        near_duplicates: Pairs in a cluster with others by near-duplicate positives alone.
        shared_queries, shared_positives: Texts that belong to several pairs.
        negatives: Texts that are named as no answers; they are read and not used.
        rows, bad_rows: Of a file; the bad ones were passed over.
    """

    fingerprint: str
    pairs: int
    train: int
    held_out: int
    left_out: int
    repeated: int
    clusters: int
    near_duplicates: int
    shared_queries: int
    shared_positives: int
    negatives: int
    rows: int
    bad_rows: int


@dataclass(frozen=True)
class Split:
    """The side of each pair of a source, uint8 in the order of `read_pairs`, and its facts."""

    sides: np.ndarray
    facts: Facts


def split(source: str | Source) -> Split:
    """The split of a data source; read from the cache if there.

    Raises:
        ToolkitError: The source cannot be read, or holds no pair.
    """
    source = Source.of(source)
    path = cache_folder() / f"split-{_VERSION}-{source_fingerprint(source)}.npz"
    found = _read(path)
    if found is None:
        found = _make(source)
        _write(path, found)
    return found


def _make(source: Source) -> Split:
    keys = _Keys()
    tally = Tally()
    pairs = read_pairs(source, tally)
    near = near_duplicate_clusters(pair.positive for pair in keys.noting(pairs))
    if not len(near):
        raise ToolkitError(f"data {source.name!r} holds no pair")
    query, positive = np.frombuffer(keys.query, np.uint64), np.frombuffer(keys.positive, np.uint64)
    whole = np.frombuffer(keys.whole, np.uint64)
    labels = join(near, query, positive)
    sides = _sides(labels, query, whole)
    count = np.bincount(sides, minlength=3)
    return Split(
        sides,
        Facts(
            fingerprint=_fingerprint(whole, sides),
            pairs=len(sides),
            train=int(count[TRAIN]),
            held_out=int(count[HELD_OUT]),
            left_out=int(count[LEFT_OUT]),
            repeated=len(whole) - len(np.unique(whole)),
            clusters=int(labels.max()) + 1,
            near_duplicates=int((np.bincount(near)[near] > 1).sum()),
            shared_queries=_shared(query, whole),
            shared_positives=_shared(positive, whole),
            negatives=keys.negatives,
            rows=tally.rows,
            bad_rows=tally.bad,
        ),
    )


class _Keys:
    """Keys of the texts of all pairs, noted while the pairs go by."""

    def __init__(self) -> None:
        self.query, self.positive, self.whole = array("Q"), array("Q"), array("Q")
        self.negatives = 0

    def noting(self, pairs: Iterator[Pair]) -> Iterator[Pair]:
        last: tuple[str, ...] = ()
        for pair in pairs:
            self.query.append(pair.key)
            self.positive.append(text_key(pair.positive))
            self.whole.append(text_key(f"{pair.query}\0{pair.positive}"))
            if pair.negatives is not last:  # else those of another positive of the same row
                self.negatives += len(pair.negatives)
            last = pair.negatives
            yield pair


def _sides(labels: np.ndarray, query: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The side of each pair, uint8."""
    order = np.lexsort((whole, labels))
    first = np.concatenate(([True], labels[order][1:] != labels[order][:-1]))
    again = np.concatenate(([False], whole[order][1:] == whole[order][:-1]))
    deciding = order[first]  # of each cluster, in the order of the labels
    held = (query[deciding] < np.uint64(HELD_OUT_SHARE * 2**64))[labels]
    sides = np.where(held, LEFT_OUT, TRAIN).astype(np.uint8)
    sides[order[again]] = LEFT_OUT
    sides[deciding] = np.where(held[deciding], HELD_OUT, TRAIN)
    return sides


def _fingerprint(whole: np.ndarray, sides: np.ndarray) -> str:
    digest = hashlib.sha256()
    for side in (TRAIN, HELD_OUT):
        digest.update(np.sort(whole[sides == side]).astype("<u8").tobytes())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def _shared(keys: np.ndarray, whole: np.ndarray) -> int:
    """How many texts belong to several different pairs."""
    distinct = keys[np.unique(whole, return_index=True)[1]]
    return int((np.unique(distinct, return_counts=True)[1] > 1).sum())


def _read(path: Path) -> Split | None:
    """The cached split; None where there is none, or a damaged one."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Split(stored["sides"], Facts(**json.loads(str(stored["facts"]))))
    except Exception:  # numpy, zipfile and json fail in many ways on a damaged file
        return None


def _write(path: Path, made: Split) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, sides=made.sides, facts=json.dumps(asdict(made.facts)))
        os.replace(temporary, path)
    except OSError as error:
        raise SurroundingsError(f"cannot keep the split in {path.parent}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)

"""Near-duplicates: texts that share most of their word shingles, found by MinHash.

Two texts are near-duplicates where the Jaccard index of their sets of three-word shingles is at
least 0.7. Candidates come from MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman
and Ullman, "Mining of Massive Datasets", chapter 3); each candidate is then checked on the whole
sets, so a pair may be missed (at 0.7 three in a thousand, at 0.8 one in a hundred thousand) but
none is claimed that is not one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from toolkit.pairs.pair import normalise

THRESHOLD = 0.7
SHINGLE_WORDS = 3
_BANDS, _ROWS = 32, 5
_CHUNK = 20_000
_CANDIDATES = 200_000  # compared at a time, to bound memory
_SEED = 42

# A word; where a script writes none, a character.
_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")
_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def near_duplicate_clusters(texts: Iterable[str]) -> np.ndarray:
    """Which cluster of near-duplicates each text is in: int32 labels, shape [texts].

    Near-duplicates of near-duplicates are in one cluster. Memory: about half a kilobyte a text.
    """
    shingles = _Shingles()
    bands = [shingles.add(chunk) for chunk in _chunks(texts)]
    if not bands:
        return np.zeros(0, np.int32)
    hashes = np.concatenate(bands)
    shingles.close()
    return _clusters(hashes, shingles)


def join(labels: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """The clusters that come of `labels` where texts of an equal key belong together, too."""
    first, second = [], []
    for values in (labels, *keys):
        order = np.argsort(values, kind="stable")
        equal = values[order][1:] == values[order][:-1]
        first.append(order[:-1][equal])
        second.append(order[1:][equal])
    return _components(len(labels), np.concatenate(first), np.concatenate(second))


class _Shingles:
    """The shingle sets of texts, one after the other: sorted 32-bit hashes, no text itself."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []

    def add(self, texts: list[str]) -> np.ndarray:
        """Take more texts; gives their band hashes, uint64, shape [texts, bands]."""
        from rensa import RMinHash

        hashes, offsets = _shingle_hashes(texts)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets, _BANDS * _ROWS, _SEED
        )
        signature = np.array(matrix.to_rows(), np.uint64).reshape(len(texts), _BANDS, _ROWS)
        folded = np.zeros((len(texts), _BANDS), np.uint64)
        for row in range(_ROWS):
            folded = mixed(folded ^ signature[:, :, row])
        self._keep(hashes, offsets)
        return folded

    def _keep(self, hashes: np.ndarray, offsets: np.ndarray) -> None:
        owners = np.repeat(np.arange(len(offsets) - 1, dtype=np.uint64), np.diff(offsets))
        # Owner above, hash below: one sort gives each text's sorted set, without repeats.
        joined = np.unique((owners << np.uint64(32)) | (hashes >> np.uint64(32)))
        self._parts.append(joined.astype(np.uint32))
        owner = (joined >> np.uint64(32)).astype(np.int64)
        self._sizes.append(np.bincount(owner, minlength=len(offsets) - 1))

    def close(self) -> None:
        self.hashes = np.concatenate(self._parts)
        self.sizes = np.concatenate(self._sizes)
        self.starts = np.concatenate(([0], np.cumsum(self.sizes)))
        self._parts.clear()
        # Of the whole set: candidates in its order do not depend on the order of the texts.
        sums = np.concatenate(
            (np.zeros(1, np.uint64), np.cumsum(mixed(self.hashes.astype(np.uint64))))
        )
        self.keys = sums[self.starts[1:]] - sums[self.starts[:-1]]

    def similar(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Whether the sets at these positions are near-duplicates: bool, shape [candidates]."""
        small, large = np.sort([self.sizes[first], self.sizes[second]], axis=0)
        result = small >= THRESHOLD * large  # no other can share enough
        for rows in np.array_split(
            np.flatnonzero(result), max(1, -(-int(result.sum()) // _CANDIDATES))
        ):
            shared = self._shared(first[rows], second[rows])
            union = small[rows] + large[rows] - shared
            result[rows] = shared >= THRESHOLD * union
        return result

    def _shared(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """How many shingles two sets have in common, for each candidate."""
        keys = np.concatenate([self._keyed(first), self._keyed(second)])
        keys.sort()
        twice = keys[1:][keys[1:] == keys[:-1]] >> np.uint64(32)
        return np.bincount(twice.astype(np.int64), minlength=len(first))

    def _keyed(self, texts: np.ndarray) -> np.ndarray:
        sizes = self.sizes[texts]
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
        hashes = self.hashes[np.repeat(self.starts[texts], sizes) + within]
        owners = np.repeat(np.arange(len(texts), dtype=np.uint64), sizes)
        return (owners << np.uint64(32)) | hashes


def _clusters(bands: np.ndarray, shingles: _Shingles) -> np.ndarray:
    """Join the near-duplicates among the texts that share a band, band after band."""
    count = len(bands)
    labels = np.arange(count, dtype=np.int32)
    for band in range(_BANDS):
        # Within a band's bucket, the texts that share another band too stand side by side.
        order = np.lexsort((shingles.keys, bands[:, (band + 1) % _BANDS], bands[:, band]))
        hashes = bands[order, band]
        new = np.concatenate(([True], hashes[1:] != hashes[:-1]))
        leaders = order[np.maximum.accumulate(np.where(new, np.arange(count), 0))]
        first = np.concatenate((leaders[~new], order[:-1][~new[1:]]))
        second = np.concatenate((order[~new], order[1:][~new[1:]]))
        apart = labels[first] != labels[second]
        first, second = first[apart], second[apart]
        near = shingles.similar(first, second)
        if near.any():
            labels = _joined(labels, first[near], second[near])
    return labels


def _joined(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _components(len(labels), labels[first], labels[second])[labels]


def _components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return connected_components(edges, directed=False)[1]


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _shingle_hashes(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of all shingles, uint64, and where each text's begin: int64, shape [texts + 1]."""
    words = [_words(text) for text in texts]
    known: dict[str, int] = {}
    ids = np.fromiter((known.setdefault(w, len(known)) for ws in words for w in ws), np.int64)
    hashes = np.array([_word_hash(word) for word in known], np.uint64)[ids]
    sizes = np.array([len(ws) for ws in words])
    rolled = np.zeros(len(hashes) - SHINGLE_WORDS + 1, np.uint64)
    for place in range(SHINGLE_WORDS):
        rolled = mixed(rolled ^ hashes[place : place + len(rolled)])
    starts = np.cumsum(sizes) - sizes
    counts = sizes - SHINGLE_WORDS + 1
    offsets = np.concatenate(([0], np.cumsum(counts)))
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    return rolled[np.repeat(starts, counts) + within], offsets


def _words(text: str) -> list[str]:
    """The words of a text, at least as many as a shingle has."""
    plain = normalise(text)
    words = _WORD.findall(plain) or [plain]
    return words + [""] * (SHINGLE_WORDS - len(words))


def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def mixed(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014): each bit of the input sways every bit."""
    values = values + _MIX[0]
    values = (values ^ (values >> np.uint64(30))) * _MIX[1]
    values = (values ^ (values >> np.uint64(27))) * _MIX[2]
    return values ^ (values >> np.uint64(31))

"""Nearest vectors: exactly, block by block, or by a well-kept index where there are many.

Vectors have unit length, so that their product is their cosine similarity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Above so many vectors a search goes through an index, if faiss is there.
EXACT = 200_000
_QUERIES, _DOCUMENTS = 512, 65_536
_LINKS, _BUILT, _SEARCHED = 32, 200, 256  # of HNSW: Malkov and Yashunin 2016, arXiv:1603.09320


def nearest(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest vectors of every query, exactly.

    Args:
        queries: Shape [queries, h]. vectors: Shape [n, h]; a memory map is read block by block.
        k: How many; all of them where there are fewer.

    Returns:
        Similarities, float32, falling, and positions, int64; both of shape [queries, min(k, n)].
    """
    import torch

    k = min(k, len(vectors))
    found = [_of_block(torch.from_numpy(block), vectors, k) for block in _blocks(queries, _QUERIES)]
    similarities, positions = zip(*found, strict=True)
    return np.concatenate(similarities), np.concatenate(positions)


def _of_block(queries: Any, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import torch

    best = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    start = 0
    for block in _blocks(vectors, _DOCUMENTS):
        similarity = queries @ torch.from_numpy(block).T
        top, place = similarity.topk(min(k, len(block)))
        both = torch.cat((best[0], top), 1), torch.cat((best[1], place + start), 1)
        top, place = both[0].topk(min(k, both[0].shape[1]))
        best = top, both[1].gather(1, place)
        start += len(block)
    return best[0].numpy(), best[1].numpy()


def _blocks(vectors: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(vectors), size):
        yield np.array(vectors[start : start + size], np.float32)


class Index:
    """A graph of vectors (HNSW, by faiss) that finds near ones without looking at all.

    Approximate: of the true nearest ten it finds nearly all (`docs/evaluation.md`).
    """

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    @classmethod
    def of(cls, vectors: np.ndarray) -> Index:
        """Build the graph; a memory map is read block by block."""
        import faiss

        graph = faiss.IndexHNSWFlat(vectors.shape[1], _LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = _BUILT
        for block in _blocks(vectors, _DOCUMENTS):
            graph.add(block)
        return cls(graph)

    @classmethod
    def read(cls, path: str) -> Index:
        """From a file that `write` made."""
        import faiss

        return cls(faiss.read_index(path))

    def write(self, path: str) -> None:
        """Into a file."""
        import faiss

        faiss.write_index(self._graph, path)

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As the function `nearest`, but for some that are missed."""
        self._graph.hnsw.efSearch = max(_SEARCHED, 2 * k)
        return self._graph.search(np.ascontiguousarray(queries, np.float32), k)

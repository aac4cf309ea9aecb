"""A question to a corpus: its vectors are made once, then kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from toolkit.cache import cache_folder
from toolkit.errors import ToolkitError
from toolkit.pairs.texts import TextFile, format_of
from toolkit.retrieval.encoders import Encodes
from toolkit.retrieval.nearest import EXACT, Index, nearest
from toolkit.retrieval.vectors import embed_file, identity, read_vectors, vectors_of


@dataclass(frozen=True)
class Hit:
    """A text that was found: its row in the file from 1, its cosine similarity, itself."""

    row: int
    similarity: float
    text: str


def search(
    encoder: Encodes,
    texts: TextFile,
    questions: Sequence[str],
    *,
    k: int = 5,
    vectors: Path | None = None,
    exact: bool = False,
) -> list[list[Hit]]:
    """The nearest texts to each question, the nearest first.

    Questions are read as a run's queries, the corpus as its positives: each with its prefix.

    Up to `EXACT` texts every one is looked at; beyond that an index (HNSW, by faiss) is built once
    and kept.

    Args:
        vectors: Of the texts, as `embed_file` wrote them; None makes and keeps them in the cache.
        exact: Look at all, however many there are.

    Raises:
        ToolkitError: The corpus, a question or the vectors are bad; or an index is wanted and
            faiss is not installed.
    """
    if not all(question.strip() for question in questions):
        raise ToolkitError("a question is empty")
    asked = encoder.encode(list(questions), side="query")
    path = vectors if vectors is not None else _kept(encoder, texts)
    found = read_vectors(path) if vectors is None else vectors_of(encoder, texts, path)
    if exact or len(found) <= EXACT:
        similarities, places = nearest(asked, found, k)
    else:
        similarities, places = _index(path, found).nearest(asked, min(k, len(found)))
    if not np.isfinite(similarities).all():
        row = places[~np.isfinite(similarities)][0] + 1
        raise ToolkitError(f"row {row} of {path} holds no finite numbers; embed {texts.path} again")
    said = _texts(texts, places)
    return [
        [Hit(place + 1, similarity, said[place]) for similarity, place in zip(*row, strict=True)]
        for row in zip(similarities.tolist(), places.tolist(), strict=True)
    ]


def _kept(encoder: Encodes, texts: TextFile) -> Path:
    """Where the vectors of this corpus by this encoder are; made if they are not there."""
    try:
        with open(texts.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ToolkitError(f"{texts.path} cannot be read: {error.strerror or error}") from error
    # The same bytes are other texts in another format: of .txt each line is one.
    facts = digest, format_of(texts.path), texts.column, identity(encoder)
    name = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    path = cache_folder() / f"vectors-{name}.npy"
    if not path.is_file():
        embed_file(encoder, texts, path)
    return path


def _index(path: Path, vectors: np.ndarray) -> Index:
    """The index beside the vectors; built if it is not there, or older than they are."""
    if find_spec("faiss") is None:
        raise ToolkitError(
            f"{len(vectors):,} texts are searched through an index, which needs "
            "`pip install 'decoders-to-encoders[index]'`; --exact looks at all of them"
        )
    kept = path.with_suffix(".faiss")
    if kept.is_file() and kept.stat().st_mtime_ns >= path.stat().st_mtime_ns:
        return Index.read(str(kept))
    index = Index.of(vectors)
    building = kept.with_name(f".{kept.name}.{os.getpid()}.tmp")
    index.write(str(building))
    building.replace(kept)
    return index


def _texts(texts: TextFile, places: np.ndarray) -> dict[int, str]:
    """The texts of some rows."""
    wanted = set(places.ravel().tolist())
    rows = islice(iter(texts), max(wanted, default=-1) + 1)
    return {row: text for row, text in enumerate(rows) if row in wanted}

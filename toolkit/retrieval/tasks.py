"""What encoders are judged on: tasks by name, collections of one's own, MTEB's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import ToolkitError, nearest
from toolkit.retrieval import see_also, similarity
from toolkit.retrieval.collection import Collection, read_collection
from toolkit.retrieval.encoders import Encodes
from toolkit.retrieval.measures import judge
from toolkit.retrieval.nearest import nearest as nearest_vectors
from toolkit.scores import Scores

DEPTH = 1000  # Ranks that measures look at, as TREC's.
MTEB = "mteb:"


@dataclass(frozen=True)
class Task:
    """Something to judge encoders on: its name, how, and a fingerprint of what it holds."""

    name: str
    scores: Callable[[Encodes], Scores]
    content: str = ""


def _see_also(encoder: Encodes) -> Scores:
    missing = set(see_also.apart.PACKAGES) - set(see_also.packages())
    note = f"without {', '.join(sorted(missing))}, not installed here" if missing else ""
    return search_scores(encoder, see_also.collection(), note)


NAMED: dict[str, Callable[[Encodes], Scores]] = {
    see_also.NAME: _see_also,
    "lee": lambda encoder: similarity_scores(encoder, similarity.lee()),
    "simlex": lambda encoder: similarity_scores(encoder, similarity.simlex()),
    "wordsim": lambda encoder: similarity_scores(encoder, similarity.wordsim()),
}


def find(name: str, *, split: str | None = None, own: bool = False) -> Task:
    """A task by its name, `mteb:NAME`, or a folder with a collection of one's own, which is read.

    Args:
        split, own: As of `toolkit.retrieval.collection.read_collection`.

    Raises:
        ToolkitError: There is no such task, or the collection is wrong; file and line are named.
    """
    if name in NAMED:
        mined = name == see_also.NAME
        content = see_also.fingerprint() if mined else similarity.GENSIM.sha256[:16]
        return Task(name, NAMED[name], content)
    if name.startswith(MTEB):
        from toolkit.retrieval.mteb_tasks import mteb_task

        return mteb_task(name.removeprefix(MTEB))
    if not Path(name).is_dir():
        known = (*NAMED, f"{MTEB}NAME", "a folder with corpus.jsonl, queries.jsonl and qrels/")
        raise ToolkitError(f"unknown task {name!r}{nearest(name, known)}")
    collection = read_collection(name, split=split, own=own)
    return Task(
        collection.name, lambda encoder: search_scores(encoder, collection), collection.fingerprint
    )


def search_scores(encoder: Encodes, collection: Collection, note: str = "") -> Scores:
    """How well a search for each query finds what people judged relevant."""
    documents = encoder.encode(list(collection.documents.values()), side="positive")
    queries = encoder.encode(list(collection.queries.values()), side="query")
    return judge(
        collection.name, collection.judgements, rankings(collection, queries, documents), note
    )


def rankings(
    collection: Collection, queries: np.ndarray, documents: np.ndarray
) -> Mapping[str, Mapping[str, float]]:
    """The nearest documents of every query with their similarities.

    Args:
        queries: Shape [queries, h]. documents: Shape [documents, h], in the collection's order.
    """
    ids = list(collection.documents)
    found = nearest_vectors(queries, documents, DEPTH + collection.own)
    ranked = {}
    for query, similarities, places in zip(collection.queries, *found, strict=True):
        scores = {
            ids[place]: similarity
            for place, similarity in zip(places.tolist(), similarities.tolist(), strict=True)
        }
        if collection.own:
            scores.pop(query, None)
        ranked[query] = scores
    return ranked


def similarity_scores(encoder: Encodes, judged: similarity.Judged) -> Scores:
    """How well cosines follow what people judged; each text is read as a query."""
    return similarity.correlate(judged, encoder.encode(list(judged.texts), side="query"))

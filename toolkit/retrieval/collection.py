"""Test collections: documents, queries, and which documents people judged relevant to which query.

A collection of one's own is a folder in the layout of BEIR (Thakur et al. 2021, arXiv:2104.08663):
`corpus.jsonl` with `_id`, `text` and maybe `title`; `queries.jsonl` with `_id` and `text`;
`qrels/test.tsv`, or another split's, with the columns query-id, corpus-id and score.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.files import checked_text
from toolkit.pairs.lines import lines_of, opened, whole
from toolkit.pairs.texts import rows_of, text_of
from toolkit.writing import write_atomically

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
SPLITS = ("test", "dev", "train")
_IDS = ("_id", "id")
# What the columns of judgements are called: the query's, the document's, the score's.
_COLUMNS = (
    {"query", "queryid", "qid", "topic", "topicid"},
    {"corpus", "corpusid", "document", "documentid", "doc", "docid", "docno", "pid", "passageid"},
    {"score", "relevance", "rel", "label", "grade", "judgement", "judgment"},
)
HIGHEST = 1_000_000  # Grade: trec_eval holds an array as long as the highest one.


@dataclass(frozen=True)
class Collection:
    """A test collection.

    Attributes:
        name: What it is called.
        documents: Their texts by id. queries: Likewise, the judged ones.
        judgements: By query, the grade of each judged document: 0 is not relevant, more is better.
        own: Whether query and document of one id are one text, which is then no answer to itself.
        unjudged: Queries that nobody judged, left out.
    """

    name: str
    documents: dict[str, str]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]
    own: bool = False
    unjudged: int = 0

    @property
    def fingerprint(self) -> str:
        """A digest that changes when a text or a judgement does, whatever their order."""
        digest = hashlib.sha256(str(self.own).encode())
        for part in (self.documents, self.queries, self.judgements):
            digest.update(b"\n")
            for key in sorted(part):
                digest.update(json.dumps([key, part[key]], sort_keys=True).encode())
        return digest.hexdigest()[:16]


def read_collection(
    folder: str | Path, *, split: str | None = None, own: bool = False
) -> Collection:
    """A collection of one's own, from a folder in BEIR's layout; its files may be gzipped.

    Args:
        split: Whose judgements; None takes the first that is there of test, dev, train.
        own: As of `Collection`.

    Raises:
        ToolkitError: A file is missing, or a line of one is bad: file and line are named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SurroundingsError(f"there is no folder {folder}")
    qrels = _qrels(folder, split)
    documents = _texts(_there(folder, CORPUS), empty=True)
    queries = _texts(_there(folder, QUERIES), empty=False)
    judgements = _judgements(qrels, documents, queries)
    if not any(grade > 0 for judged in judgements.values() for grade in judged.values()):
        raise ToolkitError(f"{qrels} calls no document relevant (a score above 0) to any query")
    return Collection(
        name=folder.resolve().name,
        documents=documents,
        queries={query: queries[query] for query in judgements},
        judgements=judgements,
        own=own,
        unjudged=len(queries) - len(judgements),
    )


def write_collection(collection: Collection, folder: Path) -> None:
    """Write a collection in BEIR's layout, its judgements last.

    Raises:
        OSError: The folder cannot be written.
    """
    (folder / QRELS).mkdir(parents=True, exist_ok=True)
    for name, texts in ((CORPUS, collection.documents), (QUERIES, collection.queries)):
        lines = (json.dumps({"_id": key, "text": text}) for key, text in texts.items())
        write_atomically(folder / name, "".join(f"{line}\n" for line in lines))
    rows = ["query-id\tcorpus-id\tscore"]
    for query, judged in collection.judgements.items():
        rows += [f"{query}\t{document}\t{grade}" for document, grade in judged.items()]
    write_atomically(folder / QRELS / "test.tsv", "\n".join(rows) + "\n")


def corpus_file(folder: Path) -> Path:
    """The documents of a collection.

    Raises:
        ToolkitError: There are none.
    """
    return _there(folder, CORPUS)


def _there(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise SurroundingsError(
        f"{folder} has no {name}; a collection is a folder with {CORPUS}, {QUERIES} and "
        f"{QRELS}/{SPLITS[0]}.tsv (the layout of BEIR)"
    )


def _qrels(folder: Path, split: str | None) -> Path:
    if split is not None:
        return _there(folder, f"{QRELS}/{split}.tsv")
    found = (folder / QRELS / f"{name}.tsv{end}" for name in SPLITS for end in ("", ".gz"))
    alone = folder / f"{QRELS}.tsv"
    return next((p for p in (*found, alone) if p.is_file()), None) or _there(
        folder, f"{QRELS}/{SPLITS[0]}.tsv"
    )


def _texts(path: Path, *, empty: bool) -> dict[str, str]:
    """The texts of a JSONL file by their ids."""
    texts: dict[str, str] = {}
    for where, row in rows_of(path):
        assert isinstance(row, dict)
        key = _id(row, where)
        if key in texts:
            raise ToolkitError(f"{where} has the _id {key!r} again; every _id must be there once")
        text = text_of(row, None if empty and "text" in row else "text", where)
        texts[key] = text if empty else checked_text(text, "text", where)
    if not texts:
        raise ToolkitError(f"{path} is empty")
    return texts


def _id(row: dict[str, Any], where: str) -> str:
    value = next((row[name] for name in _IDS if row.get(name) is not None), None)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        said = "no _id" if value is None else f"an _id that is neither text nor a number: {value!r}"
        raise ToolkitError(f"{where} has {said}")
    key = str(value)
    if any(c in key for c in "\t\r\n\0"):
        raise ToolkitError(
            f"{where} has an _id with a tab, a line end or a zero byte in it: {key!r:.80}"
        )
    return checked_text(key, "_id", where)


def _judgements(
    path: Path, documents: dict[str, str], queries: dict[str, str]
) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for where, (query, document, score) in _lines(path, queries):
        if query not in queries:
            raise ToolkitError(f"{where} judges the query {query!r}, which is not in {QUERIES}")
        if document not in documents:
            raise ToolkitError(
                f"{where} judges the document {document!r}, which is not in {CORPUS}"
            )
        grades = judged.setdefault(query, {})
        grade = _grade(score, where)
        if grades.setdefault(document, grade) != grade:
            raise ToolkitError(
                f"{where} judges the document {document!r} for the query {query!r} again, "
                f"as {grade} after {grades[document]}"
            )
    return judged


def _lines(path: Path, queries: dict[str, str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Query, document and score of every line, in the order that a header says.

    Without names that are known it is theirs, and of TREC's four columns the second is no word.
    """
    places: tuple[int, ...] | None = None
    with opened(path, path.suffix.lower() == ".gz") as file:
        for number, line in lines_of(file, path):
            where = f"{path}, line {number},"
            text = whole(line).rstrip("\r\n")
            if not text.strip():
                continue
            cells = [cell.strip() for cell in text.split("\t")]
            if len(cells) < 3:
                cells = text.split()
            if places is None:
                named = _named(cells)
                places = named or ((0, 2, 3) if len(cells) == 4 else (0, 1, 2))
                width = len(cells) if named or len(cells) == 4 else 3
                if named or _is_header(cells, queries):
                    continue
            if len(cells) != width:
                raise ToolkitError(
                    f"{where} has {len(cells)} columns; needed: query-id, corpus-id and score, "
                    "with tabs between them"
                )
            query, document, score = (cells[place] for place in places)
            yield where, (query, document, score)


def _named(cells: list[str]) -> tuple[int, ...] | None:
    """Where a header has query, document and score; None where it does not name all three."""
    names = [re.sub(r"[\W_]", "", cell.casefold()) for cell in cells]
    found = [[at for at, name in enumerate(names) if name in words] for words in _COLUMNS]
    return tuple(at for (at,) in found) if all(len(places) == 1 for places in found) else None


def _is_header(cells: list[str], queries: dict[str, str]) -> bool:
    """Whether a first line is one whose names are not known: it judges nothing."""
    return len(cells) in (3, 4) and not _is_whole_number(cells[-1]) and cells[0] not in queries


def _is_whole_number(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False


def _grade(text: str, where: str) -> int:
    if not _is_whole_number(text) or float(text) < 0:
        raise ToolkitError(f"{where} has the score {text!r}, which is no whole number from 0")
    if float(text) > HIGHEST:
        raise ToolkitError(f"{where} has the score {text}; grades go up to {HIGHEST:,}")
    return int(float(text))

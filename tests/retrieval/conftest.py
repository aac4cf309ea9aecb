"""A stand-in encoder, whose vectors are told by words, and a small collection of one's own."""

import json
import zlib

import numpy as np
import pytest


class WordEncoder:
    """Texts that share words are alike: each word is a direction of its own, nearly."""

    def __init__(self, size=256):
        self.size, self.calls = size, 0

    def encode(self, texts, *, side=None):
        self.calls += 1
        vectors = np.full((len(texts), self.size), 1e-6, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.encode()) % self.size] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


DOCUMENTS = {
    "d1": ("Cats", "a cat sleeps on the warm mat"),
    "d2": ("", "dogs run in the park"),
    "d3": ("", "stock prices fell on monday"),
    "d4": ("Mats", "how to wash a mat"),
}
QUERIES = {"q1": "where does the cat sleep", "q2": "falling stock prices", "q3": "nobody judged me"}
QRELS = [("q1", "d1", 2), ("q1", "d4", 1), ("q2", "d3", 1), ("q2", "d2", 0)]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def encoder():
    return WordEncoder()


@pytest.fixture
def folder(tmp_path):
    """A collection in BEIR's layout."""
    place = tmp_path / "animals"
    (place / "qrels").mkdir(parents=True)
    documents = [{"_id": k, "title": t, "text": x} for k, (t, x) in DOCUMENTS.items()]
    write_jsonl(place / "corpus.jsonl", documents)
    write_jsonl(place / "queries.jsonl", [{"_id": k, "text": x} for k, x in QUERIES.items()])
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in QRELS)]
    (place / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return place

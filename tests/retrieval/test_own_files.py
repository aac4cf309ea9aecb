"""A person's own texts, collections and vectors: read right, or named in one sentence."""

import codecs
import gzip
import os

import numpy as np
import pytest

from tests.retrieval.conftest import WordEncoder
from toolkit import cli
from toolkit.errors import ToolkitError
from toolkit.pairs.texts import TextFile
from toolkit.retrieval.collection import read_collection
from toolkit.retrieval.searching import search


@pytest.mark.parametrize(
    ("name", "data", "texts"),
    [
        ("a.txt", codecs.BOM_UTF8, []),
        ("a.txt", codecs.BOM_UTF8 + "ß\r\n\r\nb".encode(), ["ß", "", "b"]),
        ("a.txt", "ß\nb\n".encode("utf-16"), ["ß", "b"]),
        ("a.csv", b"id|text\n1|a, b\n", ["a, b"]),
        ("a.csv", b"id;text\n1;a, b\n", ["a, b"]),
        ("a.csv", b"text\na\n", ["a"]),
        (
            "a.jsonl.gz",
            gzip.compress(b'"a"\n', mtime=0) + gzip.compress(b'"b"\n', mtime=0),
            ["a", "b"],
        ),
    ],
)
def test_texts_are_read_as_they_are_meant(tmp_path, name, data, texts):
    path = tmp_path / name
    path.write_bytes(data)
    assert list(TextFile(path)) == texts


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("a.txt", b"one\rtwo\rthree\r", "line 1, has a carriage return amid a line; save"),
        ("a.txt", b"one\ntwo\rthree\n", "line 2, has a carriage return amid a line; save"),
        ("a.txt", "one\ntwo\n".encode("utf-32"), "is not UTF-8"),
        (
            "a.jsonl",
            gzip.compress(b'"a"\n', mtime=0),
            "is packed by gzip; give it a name that ends in .gz",
        ),
        ("a.docx", b"", r"must end in \.jsonl, .*\.parquet, \.txt, each also with \.gz"),
        ("a\0.txt", None, "does not exist"),
        ("pipe.txt", "pipe", "is no plain file, and is read more than once"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, data, complaint):
    path = tmp_path / name
    if data == "pipe":
        os.mkfifo(path)
    elif data is not None:
        path.write_bytes(data)
    with pytest.raises(ToolkitError, match=complaint):
        list(TextFile(path))


def test_the_same_bytes_in_another_format_have_vectors_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    data = b"text\na cat\na dog\n"
    for name, rows in (("a.txt", 3), ("a.csv", 2)):
        (tmp_path / name).write_bytes(data)
        (hits,) = search(WordEncoder(), TextFile(tmp_path / name), ["a cat"])
        assert len(hits) == rows and hits[0].text == "a cat" and hits[0].row == rows - 1


def judged(folder, text):
    (folder / "qrels" / "test.tsv").write_text(text)
    return read_collection(folder).judgements


@pytest.mark.parametrize(
    "text",
    [
        "q1\td1\t2\n",
        "q1 0 d1 2\n",
        "corpus-id\tquery-id\tscore\nd1\tq1\t2\n",
        "score\tquery_id\tdoc_id\n2\tq1\td1\n",
        "query-id\tcorpus-id\tscore\tjudged by\nq1\td1\t2\tme\n",
        "frage\tdokument\tnote\nq1\td1\t2\n",
    ],
)
def test_judgements_are_read_in_the_order_that_their_header_says(folder, text):
    assert judged(folder, text) == {"q1": {"d1": 2}}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("q1\td1\thigh\nq2\td3\t1\n", "line 1, has the score 'high'"),
        ("q1\td1\t0.5\nq2\td3\t1\n", "line 1, has the score '0.5'"),
        ("q1\td1\t3000000000\n", "line 1, has the score 3000000000; grades go up to 1,000,000"),
        ("q1\td1\t1\nq2\t0\td3\t1\n", "line 2, has 4 columns"),
    ],
)
def test_a_judgement_that_is_none_is_named_wherever_it_stands(folder, text, complaint):
    with pytest.raises(ToolkitError, match=complaint):
        judged(folder, text)


def test_judgements_of_half_a_gzip_file_are_named(folder):
    path = folder / "qrels" / "test.tsv"
    (folder / "qrels" / "test.tsv.gz").write_bytes(gzip.compress(path.read_bytes())[:-9])
    path.unlink()
    with pytest.raises(ToolkitError, match=r"test\.tsv\.gz is not a whole gzip file"):
        read_collection(folder)


def test_an_id_that_ends_early_for_others_is_refused(folder):
    with open(folder / "corpus.jsonl", "a") as file:
        file.write('{"_id": "a\\u0000b", "text": "x"}\n')
    with pytest.raises(ToolkitError, match="line 5, has an _id with a tab, a line end or a zero"):
        read_collection(folder)


def test_two_collections_of_one_name_are_not_told_apart_and_refused(folder, tmp_path, capsys):
    other = tmp_path / "other" / folder.name
    other.parent.mkdir()
    other.symlink_to(folder)
    assert cli.main(["evaluate", "small-3k", str(folder), str(other)]) == 2
    assert "two collections are called 'animals'" in capsys.readouterr().err


TEXTS = [f"text {i} of a file" for i in range(20)]
OWN = WordEncoder().encode(TEXTS)


@pytest.mark.parametrize(
    ("vectors", "complaint"),
    [
        (OWN[:19], "has 19 vectors for 20 texts"),
        (OWN[:, :50], "vectors of 50 numbers, this encoder's have 256"),
        (OWN[::-1], "row 1 of .* is not what this encoder makes of text 1 of"),
        (OWN * np.arange(1, 21)[:, None], "row 3 of .* not of unit length"),
        (OWN * np.nan, "row 1 of"),
        (np.where(np.arange(20)[:, None] == 7, np.nan, OWN), "row 8 .* holds no finite numbers"),
        (OWN > 0.1, r"holds bool of shape \(20, 256\), not floats"),
        ((OWN * 100).astype(int), "holds int64"),
        (OWN.astype(complex), "holds complex128"),
        (OWN.astype(str), "holds <U"),
        (OWN[0], r"of shape \(256,\), not floats \[texts, h\]"),
        (b"", "cannot be read as vectors"),
        (b"PK\x03\x04", "cannot be read as vectors"),
        (b"PAR1", "cannot be read as vectors"),
    ],
)
def test_vectors_that_are_not_the_file_s_are_refused(tmp_path, vectors, complaint):
    texts, path = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("\n".join(TEXTS))
    if isinstance(vectors, bytes):
        path.write_bytes(vectors)
    else:
        np.save(path, vectors)
    with pytest.raises(ToolkitError, match=complaint):
        search(WordEncoder(), TextFile(texts), ["text 7"], vectors=path)


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f8"])
def test_the_file_s_own_vectors_will_do_in_any_width_of_float(tmp_path, kind):
    texts, path = tmp_path / "texts.txt", tmp_path / "vectors.npy"
    texts.write_text("\n".join(TEXTS))
    np.save(path, OWN.astype(kind))
    (hits,) = search(WordEncoder(), TextFile(texts), ["text 7 of a file"], vectors=path)
    assert hits[0].text == TEXTS[7] and hits[0].similarity == pytest.approx(1, abs=2e-3)

"""Vectors of a file: row i of text i, gone on with where they were, whole or not there."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.conftest import WordEncoder, write_jsonl
from toolkit.errors import ToolkitError
from toolkit.pairs.texts import TextFile
from toolkit.retrieval.vectors import embed_file, read_vectors

TEXTS = [f"text {i} " + "word " * (i * 7 % 23) for i in range(50)]


def lines(tmp_path, texts=TEXTS):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def as_file(kind, tmp_path):
    path = tmp_path / f"texts{kind}"
    if kind == ".txt":
        path.write_text("\n".join(TEXTS) + "\n")
    elif kind == ".jsonl":
        write_jsonl(path, [{"text": text} for text in TEXTS])
    elif kind == ".jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(t) + "\n" for t in TEXTS).encode()))
    elif kind == ".csv":
        path.write_bytes(
            ("\ufeffid,text\r\n" + "\r\n".join(f"{i},{t}" for i, t in enumerate(TEXTS))).encode()
        )
    elif kind == ".parquet":
        pq.write_table(pa.table({"id": list(range(len(TEXTS))), "text": TEXTS}), path)
    return path


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".jsonl.gz", ".csv", ".parquet"])
def test_every_format_gives_the_vectors_in_its_order(tmp_path, encoder, kind):
    target = tmp_path / "vectors.npy"
    assert embed_file(encoder, TextFile(as_file(kind, tmp_path)), target, window=16) == 50
    np.testing.assert_array_equal(np.load(target), encoder.encode([t.rstrip("\n") for t in TEXTS]))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([f"texts{kind}", "vectors.npy"])


def test_parquet_comes_with_its_texts(tmp_path, encoder):
    target = tmp_path / "vectors.parquet"
    embed_file(encoder, TextFile(lines(tmp_path)), target, window=16)
    table = pq.read_table(target)
    assert table["text"].to_pylist() == TEXTS
    np.testing.assert_allclose(np.stack(table["vector"].to_numpy()), encoder.encode(TEXTS))


class Breaks(WordEncoder):
    """Is interrupted at its n-th call."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def encode(self, texts, *, side=None):
        if self.calls == self.at:
            raise KeyboardInterrupt
        return super().encode(texts)


def begun(tmp_path):
    """A file of which two windows of 16 texts are embedded: the first call is the probe's."""
    source, target = TextFile(lines(tmp_path)), tmp_path / "vectors.npy"
    with pytest.raises(KeyboardInterrupt):
        embed_file(Breaks(at=3), source, target, window=16)
    assert not target.exists()
    return source, target


def test_it_goes_on_where_it_was(tmp_path):
    source, target = begun(tmp_path)
    encoder, seen = WordEncoder(), []
    embed_file(encoder, source, target, window=16, progress=lambda done, _: seen.append(done))
    assert seen == [32, 48, 50] and encoder.calls == 3
    np.testing.assert_array_equal(np.load(target), encoder.encode(TEXTS))


def test_a_file_that_changed_between_is_refused_and_nothing_is_lost(tmp_path):
    source, target = begun(tmp_path)
    lines(tmp_path, ["another", *TEXTS[1:]])
    with pytest.raises(ToolkitError, match=r"texts.txt has changed since .*32 of 50.*remove"):
        embed_file(WordEncoder(), source, target)
    lines(tmp_path)
    encoder = WordEncoder()
    embed_file(encoder, source, target, window=16)
    assert encoder.calls == 3


def test_another_encoder_does_not_go_on_with_the_first_one_s(tmp_path):
    source, target = begun(tmp_path)
    with pytest.raises(ToolkitError, match="begun with another encoder"):
        embed_file(WordEncoder(size=64), source, target)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path):
    path = lines(tmp_path)

    class Meddles(WordEncoder):
        def encode(self, texts, *, side=None):
            if self.calls == 1:
                lines(tmp_path, TEXTS[:40])
            return super().encode(texts)

    with pytest.raises(ToolkitError, match="changed while it was read"):
        embed_file(Meddles(), TextFile(path), tmp_path / "vectors.npy", window=16)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"text": "\\ud800"}', r"texts.jsonl, line 2, has a text with half a character"),
        ('{"text": 3}', r"line 2, has a text that is not text: 3"),
        ('{"text": null}', "line 2, has no text"),
        ('{"what": "x", "n": 1}', r"line 2, has the columns what, n; needed: one of"),
        ("{", "line 2, is not JSON"),
    ],
)
def test_a_bad_line_is_named_before_anything_is_embedded(tmp_path, encoder, line, complaint):
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(ToolkitError, match=complaint):
        embed_file(encoder, TextFile(path), tmp_path / "vectors.npy")
    assert encoder.calls == 0 and [p.name for p in tmp_path.iterdir()] == ["texts.jsonl"]


@pytest.mark.parametrize(
    ("data", "column", "complaint"),
    [
        (b"id,body\n1,a\n", "text", "line 2, has no text; its columns are id, body"),
        (b"text,text\na,b\n", None, "line 1, has two columns 'text'"),
        (b'text\na\n"b\nc\n', None, r'line 3, opens a quote \("\) that is never closed'),
    ],
)
def test_a_table_that_does_not_say_which_texts_are_meant_is_refused(
    tmp_path, data, column, complaint
):
    path = tmp_path / "texts.csv"
    path.write_bytes(data)
    with pytest.raises(ToolkitError, match=complaint):
        list(TextFile(path, column))


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_has_texts_in_columns_of_several_types(tmp_path, kind):
    path = tmp_path / "texts.parquet"
    texts = pa.array(["a", "b", "a"])
    pq.write_table(pa.table({"title": ["x"] * 3, "said": texts.cast(kind), "n": [1, 2, 3]}), path)
    assert list(TextFile(path, "said")) == ["a", "b", "a"]
    with pytest.raises(ToolkitError, match="row 1, has a n that is not text: 1"):
        list(TextFile(path, "n"))


def test_what_is_there_is_not_written_over(tmp_path, encoder):
    target = tmp_path / "vectors.npy"
    target.touch()
    with pytest.raises(ToolkitError, match="is there already"):
        embed_file(encoder, TextFile(lines(tmp_path)), target)


def test_vectors_of_other_texts_are_refused(tmp_path, encoder):
    target = tmp_path / "vectors.npy"
    embed_file(encoder, TextFile(lines(tmp_path)), target)
    with pytest.raises(ToolkitError, match="50 vectors for 51 texts"):
        read_vectors(target, 51)

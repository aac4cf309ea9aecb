"""Vectors of a file: row i of text i, gone on with where they were, whole or not there."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.retrieval.conftest import WordEncoder, write_jsonl
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.pairs.texts import TextFile
from toolkit.retrieval.vectors import embed_file

ROOT = Path(__file__).resolve().parents[2]
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


def test_vectors_that_were_not_noted_when_it_died_are_made_again(tmp_path):
    source, target = begun(tmp_path)
    with open(tmp_path / ".vectors.npy.part", "ab") as file:
        file.write(b"half a window")
    encoder = WordEncoder()
    embed_file(encoder, source, target, window=16)
    np.testing.assert_array_equal(np.load(target), encoder.encode(TEXTS))


def test_notes_of_vectors_that_are_gone_are_no_use(tmp_path):
    source, target = begun(tmp_path)
    os.truncate(tmp_path / ".vectors.npy.part", 2000)
    encoder = WordEncoder()
    embed_file(encoder, source, target, window=16)
    assert encoder.calls == 5
    np.testing.assert_array_equal(np.load(target), encoder.encode(TEXTS))


def resident():
    """Bytes of this process that are in memory, mapped files among them."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    seen = []
    texts = TextFile(lines(tmp_path, [f"text {i}" for i in range(6000)]))

    class Wide(WordEncoder):
        def encode(self, texts, *, side=None):
            return np.full((len(texts), 2048), 2048**-0.5, np.float32)

    embed_file(
        Wide(), texts, tmp_path / "v.npy", window=400, progress=lambda *_: seen.append(resident())
    )
    assert (tmp_path / "v.npy").stat().st_size > 48e6
    assert max(seen) - seen[3] < 12e6


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_parquet_that_was_read_does_not_stay_in_memory(tmp_path):
    path = tmp_path / "texts.parquet"
    table = pa.table({"text": [os.urandom(50).hex() for _ in range(10_000)]})
    with pq.ParquetWriter(path, table.schema, compression=None) as writer:
        for _ in range(80):
            writer.write_table(table)
    before = resident()
    seen = [resident() for number, _ in enumerate(TextFile(path)) if number % 10_000 == 0]
    assert max(seen) - before < path.stat().st_size / 2 > 40e6


@pytest.fixture
def full_disk():
    """No file may be longer than a few windows; put right when called."""
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def mended():
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)

    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, kept[1]))
    yield mended
    mended()
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.parquet"])
def test_a_disk_that_fills_up_is_told_and_what_is_done_is_kept(tmp_path, full_disk, name):
    source, target = TextFile(lines(tmp_path)), tmp_path / name
    with pytest.raises(SurroundingsError, match=r"cannot write .* free the disk"):
        embed_file(WordEncoder(), source, target, window=16)
    assert not target.exists()
    full_disk()
    seen = []
    embed_file(WordEncoder(), source, target, window=16, progress=lambda n, _: seen.append(n))
    assert seen == [32, 48, 50]


def test_two_at_once_do_not_write_into_one_file(tmp_path):
    source, target = TextFile(lines(tmp_path)), tmp_path / "vectors.npy"

    class Twice(WordEncoder):
        def encode(self, texts, *, side=None):
            if self.calls == 2:
                with pytest.raises(ToolkitError, match="is being made by process"):
                    embed_file(WordEncoder(), source, target, window=16)
            return super().encode(texts)

    encoder = Twice()
    embed_file(encoder, source, target, window=16)
    np.testing.assert_array_equal(np.load(target), encoder.encode(TEXTS))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["texts.txt", "vectors.npy"]


DIES = """
import os, signal, sys
from pathlib import Path
from tests.retrieval.conftest import WordEncoder
from toolkit.pairs.texts import TextFile
from toolkit.retrieval.vectors import embed_file

def kill(done, count):
    if done == 32:
        os.kill(os.getpid(), signal.SIGKILL)

embed_file(WordEncoder(), TextFile(Path(sys.argv[1])), Path(sys.argv[2]), window=16, progress=kill)
"""


@pytest.mark.process
@pytest.mark.parametrize("name", ["vectors.npy", "vectors.parquet"])
def test_whoever_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path, name):
    source, target = lines(tmp_path), tmp_path / name
    died = subprocess.run([sys.executable, "-c", DIES, source, target], cwd=ROOT)
    assert died.returncode == -signal.SIGKILL and not target.exists()
    seen = []
    embed_file(
        WordEncoder(), TextFile(source), target, window=16, progress=lambda n, _: seen.append(n)
    )
    assert seen == [32, 48, 50]
    embed_file(WordEncoder(), TextFile(source), tmp_path / f"whole-{name}", window=16)
    assert target.read_bytes() == (tmp_path / f"whole-{name}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


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

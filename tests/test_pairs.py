"""Pairs: what is read, what is refused, and which side a text falls on."""

import json

import pandas as pd
import pytest

from toolkit.errors import ToolkitError
from toolkit.pairs.pair import Pair, normalise
from toolkit.pairs.sources import read_pairs

ROWS = [("how to add", "def add(a, b): return a + b"), ("naïve “quotes”", "line one\nline two")]


def write_jsonl(path, columns, rows=ROWS):
    lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "columns", [("query", "positive"), ("anchor", "positive"), ("query", "pos")]
)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_files_of_every_kind_and_naming_give_the_same_pairs(tmp_path, kind, columns):
    path = tmp_path / f"pairs.{kind}"
    frame = pd.DataFrame(ROWS, columns=list(columns))
    if kind == "jsonl":
        write_jsonl(path, columns)
    elif kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    assert list(read_pairs(str(path))) == [Pair(*row) for row in ROWS]


def test_every_one_of_several_positives_is_a_pair(tmp_path):
    write_jsonl(tmp_path / "p.jsonl", ("query", "pos"), [("a question", ["first", "second"])])
    expected = [Pair("a question", "first"), Pair("a question", "second")]
    assert list(read_pairs(str(tmp_path / "p.jsonl"))) == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{not json}", "line 2, is not JSON"),
        (b'"a string"', "line 2, is not an object"),
        (b'{"query": "q"}', "line 2, has the columns query"),
        (b'{"query": "q", "positive": "  "}', "line 2, has an empty positive"),
        (b'{"query": 3, "positive": "p"}', "line 2, has a query that is not text"),
        (b'{"query": null, "positive": "p"}', "line 2, has no query"),
        (b'{"query": "\xff\xfe", "positive": "p"}', "line 2, is not UTF-8"),
        (b"[" * 100_000, "line 2, is not JSON"),
    ],
)
def test_a_bad_jsonl_line_is_named(tmp_path, line, complaint):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'{"query": "q", "positive": "p"}\n' + line + b"\n")
    with pytest.raises(ToolkitError, match=complaint):
        list(read_pairs(str(path)))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"a,b\n1,2\n", "line 1, has the columns a, b; needed: query/positive"),
        (b"query,positive\nq,\n", "line 2, has an empty positive"),
        (b"query,positive\nq\n", "line 2, has no positive"),
        (b"query,positive\nq,\xff\n", "line 2, is not UTF-8"),
        (b"", "line 1, has the columns"),
    ],
)
def test_a_bad_csv_line_is_named(tmp_path, text, complaint):
    path = tmp_path / "pairs.csv"
    path.write_bytes(text)
    with pytest.raises(ToolkitError, match=complaint):
        list(read_pairs(str(path)))


def test_a_damaged_parquet_file_is_named(tmp_path):
    path = tmp_path / "pairs.parquet"
    path.write_bytes(b"PAR1 this is no parquet file PAR1")
    with pytest.raises(ToolkitError, match=r"pairs\.parquet is not a readable Parquet file"):
        list(read_pairs(str(path)))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [("no/such.jsonl", "does not exist"), ("pairs.xlsx", "unknown data"), ("docs", "unknown data")],
)
def test_an_unknown_source_is_refused(source, complaint):
    with pytest.raises(ToolkitError, match=complaint):
        list(read_pairs(source))


def test_a_hub_data_set_without_network_says_so_in_one_sentence(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def unreachable(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ToolkitError, match="cannot read hub data 'owner/name': no route"):
        list(read_pairs("hub:owner/name"))


def test_a_hub_data_set_in_local_format_is_read_through_the_datasets_package(tmp_path):
    pytest.importorskip("datasets")
    folder = tmp_path / "dataset"
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", ("anchor", "positive"))
    assert list(read_pairs(f"hub:{folder}")) == [Pair(*row) for row in ROWS]


def test_the_side_depends_on_the_query_alone_and_not_on_case_or_white_space():
    pairs = [Pair(f"query number {i}", "x") for i in range(2000)]
    assert 60 < sum(pair.held_out for pair in pairs) < 140
    for pair in pairs[:100]:
        assert Pair(f"  {pair.query.upper()}\n", "another answer").held_out == pair.held_out


def test_keys_are_the_same_on_every_machine():
    assert Pair("how to add", "anything").key == 16991051039450144554
    assert normalise(" How  TO\nadd ") == "how to add"

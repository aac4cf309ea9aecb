"""A person's own pairs: every usual format and layout is read whole, or named in one sentence."""

import codecs
import gzip
import json

import pandas as pd
import pytest

from toolkit.errors import ToolkitError
from toolkit.pairs.files import Columns, Tally, read_file
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import Source, read_pairs
from toolkit.pairs.split import split
from toolkit.runs import RunConfig

ROWS = [("frage 0", "antwort über ß 漢字 🦊"), ("frage 1", 'with "quotes", commas; and\ttabs')]


def jsonl(rows=ROWS, names=("query", "positive"), end="\n"):
    return "".join(
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + end for row in rows
    )


def csv(rows=ROWS, names=("query", "positive"), sep=",", end="\n"):
    return pd.DataFrame(rows, columns=list(names)).to_csv(index=False, sep=sep, lineterminator=end)


def pairs_in(path, **options):
    return list(read_file(path, **options))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-bom"])
@pytest.mark.parametrize("kind", ["jsonl", "ndjson", "csv", "tsv", "semicolon.csv"])
def test_every_format_encoding_and_line_end_gives_the_same_pairs(
    tmp_path, kind, encoding, end, packed
):
    seps = {"csv": ",", "tsv": "\t", "semicolon.csv": ";"}
    text = csv(sep=seps[kind], end=end) if kind in seps else jsonl(end=end)
    if encoding == "utf-16-be-bom":
        data = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    else:
        data = text.encode(encoding)
    path = tmp_path / (f"pairs.{kind}" + ".gz" * packed)
    path.write_bytes(gzip.compress(data) if packed else data)
    assert pairs_in(path) == [Pair(*row) for row in ROWS]


@pytest.mark.parametrize("packed", [False, True])
def test_parquet_is_read_with_lists_and_negatives(tmp_path, packed):
    frame = pd.DataFrame({"query": ["q", "r"], "pos": [["a", "b"], ["c"]], "neg": [["n"], []]})
    plain = tmp_path / "pairs.parquet"
    frame.to_parquet(plain)
    path = plain
    if packed:
        path = tmp_path / "packed.parquet.gz"
        path.write_bytes(gzip.compress(plain.read_bytes()))
    expected = [Pair("q", "a", ("n",)), Pair("q", "b", ("n",)), Pair("r", "c")]
    assert pairs_in(path) == expected


def test_flag_embeddings_layout_gives_every_positive_and_counts_the_negatives(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    rows = [{"query": f"q {i}", "pos": [f"{x} {i}" for x in "abc"], "neg": ["n"]} for i in range(5)]
    path = tmp_path / "multi.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    pairs = pairs_in(path)
    assert len(pairs) == 15 and {p.negatives for p in pairs} == {("n",)}
    facts = split(str(path)).facts
    assert (facts.pairs, facts.rows, facts.negatives) == (15, 5, 5)


@pytest.mark.parametrize(
    "row",
    [
        {"anchor": "q", "positive": "p", "negative": "n"},
        {"query": "q", "positive": "p", "negative_1": "n"},
        {"Query ": "q", "POSITIVE": "p", "Neg": ["n"]},
        {"question": "q", "answer": "p", "negatives": ["n"]},
        ["q", "p", "n"],
    ],
)
def test_triplets_are_read_however_they_are_named(tmp_path, row):
    path = tmp_path / "triplets.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert pairs_in(path) == [Pair("q", "p", ("n",))]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_are_given_by_name(tmp_path, kind):
    names = ("frage", "antwort", "query", "falsch")
    rows = [("q", "p", "no query", "n")]
    path = tmp_path / f"eigene.{kind}"
    if kind == "parquet":
        pd.DataFrame(rows, columns=list(names)).to_parquet(path)
    else:
        path.write_text((jsonl if kind == "jsonl" else csv)(rows, names), encoding="utf-8")
    found = pairs_in(path, columns=Columns("frage", "antwort", "falsch"))
    assert found == [Pair("q", "p", ("n",))]
    assert pairs_in(path, columns=Columns(positive="antwort"))[0].query == "no query"


def test_columns_of_a_run_come_from_its_configuration(tmp_path):
    path = tmp_path / "eigene.csv"
    path.write_text(csv([("q", "p")], ("frage", "antwort")), encoding="utf-8")
    config = RunConfig.from_dict(
        {"decoder": "small-7k", "budget_flop": 1, "data": str(path), "query_column": "frage",
         "positive_column": "antwort", "skip_bad": "0.1"}
    )  # fmt: skip
    assert list(read_pairs(config.source)) == [Pair("q", "p")]
    assert config.source == Source(str(path), Columns("frage", "antwort"), 0.1)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (r'{"query": "bad \ud800 here", "positive": "x"}', "line 2, has a query with half a char"),
        (r'{"query": "x", "positive": "\udc00"}', "line 2, has a positive with half a character"),
        ('{"query": "q", "pos": []}', "line 2, has an empty list of pos"),
        ('{"query": "q", "pos": ["a", ""]}', "line 2, has an empty pos"),
        ('{"query": "q", "pos": ["a", 7]}', "line 2, has a pos that is not text: 7"),
        ('{"query": "q", "pos": ["a"], "neg": [null]}', "line 2, has no neg"),
        ('{"query": ["q"], "positive": "p"}', "line 2, has a query that is not text"),
        ('{"query": "q", "positive": {"text": "p"}}', "line 2, has a positive that is not text"),
        ('{"Query": "a", "query": "b", "positive": "p"', "line 2, is not JSON"),
        ('["only one"]', "line 2, is not an object"),
        ('{"query": "q", "query": "r", "pos": "p"}', "line 2, gives 'query' twice"),
        ('{"query": "q", "pos": "p", "neg": 0}', "line 2, has a neg that is not text: 0"),
    ],
)
def test_a_bad_line_is_named_and_passed_over_on_request(tmp_path, line, complaint):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"query": "q", "pos": "p"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(ToolkitError, match=complaint):
        pairs_in(path)
    tally = Tally()
    assert pairs_in(path, skip_bad=0.5, tally=tally) == [Pair("q", "p")]
    assert (tally.rows, tally.bad) == (2, 1) and complaint[:20] in tally.first


def test_more_bad_lines_than_allowed_are_refused_with_count_and_first(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(jsonl() + "{}\n" * 3, encoding="utf-8")
    with pytest.raises(ToolkitError, match=r"3 of 5 rows are bad.*0\.5.*line 3, has the columns"):
        pairs_in(path, skip_bad=0.5)


def test_a_bad_row_of_several_lines_is_named_by_its_first(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('query,positive\n"q\nq","p\np"\n"q\nq",p,x\n', encoding="utf-8")
    with pytest.raises(ToolkitError, match="line 5, has 3 cells, the header 2"):
        pairs_in(path)
    assert pairs_in(path, skip_bad=0.5) == [Pair("q\nq", "p\np")]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_a_row_with_too_many_cells_is_named(tmp_path, kind):
    sep = "," if kind == "csv" else "\t"
    path = tmp_path / f"pairs.{kind}"
    path.write_text(f"query{sep}positive\nq{sep}p\nq{sep}p{sep}x\n", encoding="utf-8")
    with pytest.raises(ToolkitError, match="line 3, has 3 cells, the header 2"):
        pairs_in(path)
    assert pairs_in(path, skip_bad=0.5) == [Pair("q", "p")]


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("a.jsonl.gz", b"not packed", "is not a whole gzip file"),
        ("a.csv.gz", gzip.compress(csv().encode(), mtime=0)[:-9], "is not a whole gzip file"),
        ("a.jsonl", jsonl().encode("utf-16-le"), "zero byte in its first letters"),
        ("a.csv", "query,positive\nq,\xfc\n".encode("latin-1"), "line 2, is not UTF-8"),
        ("a.jsonl", codecs.BOM_UTF16_LE + b"\x00\xd8a", "begins as UTF-16 but is not"),
        ("a.parquet.gz", gzip.compress(b"PAR1 no PAR1", mtime=0), "is not a readable Parquet file"),
        ("a.csv", b"query,positive,positive\nq,p,p\n", "two columns 'positive'"),
        ("a.csv", b"text,label\nq,p\n", "query_column, positive_column"),
        ("a.csv", b'query,positive\nq,p\nq,"p\nq,p\n', "line 3, opens a quote .* that is never"),
        ("a.csv", b"query,positive\rq,p\r", "line 1, has a carriage return amid a row"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_in_one_sentence(
    tmp_path, name, data, complaint
):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ToolkitError, match=complaint) as caught:
        pairs_in(path)
    assert str(path) in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(csv(), encoding="utf-8")
    with pytest.raises(ToolkitError, match="has the columns query, positive; needed: frage/pos"):
        pairs_in(path, columns=Columns(query="frage"))
    with pytest.raises(ToolkitError, match="needed: falsch"):
        pairs_in(path, columns=Columns(negative="falsch"))


@pytest.mark.parametrize("name", ["pairs.xlsx", "pairs.txt.gz", "docstring", "pairs.gz"])
def test_a_format_that_is_not_known_is_answered_with_those_that_are(name):
    with pytest.raises(ToolkitError, match=r"unknown data .*manuals.*\.tsv.*\.gz"):
        read_pairs(name)

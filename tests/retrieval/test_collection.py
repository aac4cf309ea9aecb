"""A collection of one's own: judged as trec_eval does, and what is wrong named by its line."""

import itertools
import math

import numpy as np
import pytest

from tests.retrieval.conftest import QRELS, WordEncoder
from toolkit.errors import ToolkitError
from toolkit.retrieval import see_also
from toolkit.retrieval.collection import read_collection, write_collection
from toolkit.retrieval.measures import mean_of, of_each_query
from toolkit.retrieval.nearest import Index, nearest
from toolkit.retrieval.tasks import find, rankings, search_scores


def test_a_collection_is_read_with_titles_grades_and_judged_queries_only(folder):
    found = read_collection(folder)
    assert found.documents["d1"] == "Cats a cat sleeps on the warm mat"
    assert list(found.queries) == ["q1", "q2"] and found.unjudged == 1
    assert found.judgements["q1"] == {"d1": 2, "d4": 1}


def test_it_is_the_same_when_written_and_read_again(folder, tmp_path):
    found = read_collection(folder)
    write_collection(found, tmp_path / "copy")
    again = read_collection(tmp_path / "copy")
    assert (again.documents, again.queries, again.judgements) == (
        found.documents, found.queries, found.judgements,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("corpus.jsonl", '{"_id": "d4", "text": "another"}\n'),
        ("queries.jsonl", '{"_id": "q2", "text": "another"}\n'),
        ("qrels/test.tsv", "q2\td1\t1\n"),
    ],
)
def test_its_fingerprint_changes_with_what_it_holds_and_not_with_the_order(folder, file, text):
    path = folder / file
    first, *lines = path.read_text().splitlines()
    before = read_collection(folder).fingerprint
    head, rest = ([first], lines) if file.endswith("tsv") else ([], [first, *lines])
    path.write_text("\n".join([*head, *rest[::-1]]) + "\n")
    assert read_collection(folder).fingerprint == before
    own = read_collection(folder, own=True).fingerprint
    key = text.split('"')[3] if "jsonl" in file else "q2\td2"
    path.write_text("\n".join([*head, *(r for r in rest if key not in r)]) + "\n" + text)
    assert len({before, own, read_collection(folder).fingerprint}) == 3


def test_the_measures_are_those_of_the_textbook_on_a_ranking_by_hand():
    judgements = {"q": {"a": 2, "b": 1, "c": 0}}
    each = of_each_query(judgements, {"q": {"c": 3.0, "a": 2.0, "x": 1.0, "b": 0.5}})
    gain = 2 / math.log2(3) + 1 / math.log2(5)
    best = 2 / math.log2(2) + 1 / math.log2(3)
    assert each["ndcg_at_10"][0] == pytest.approx(gain / best)
    assert each["mrr"][0] == 1 / 2
    assert each["map"][0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert each["recall_at_1"][0] == 0 and each["recall_at_10"][0] == 1


def test_our_scores_equal_the_library_s_on_our_rankings(folder, encoder):
    import pytrec_eval

    collection = read_collection(folder)
    scores = find(str(folder)).scores(encoder)
    vectors = [encoder.encode(list(t.values())) for t in (collection.queries, collection.documents)]
    ranked = rankings(collection, *vectors)
    judged = pytrec_eval.RelevanceEvaluator(collection.judgements, {"ndcg_cut.10", "map"})
    theirs = judged.evaluate({q: dict(found) for q, found in ranked.items()})
    for ours, name in (("ndcg_at_10", "ndcg_cut_10"), ("map", "map")):
        expected = np.mean([found[name] for found in theirs.values()])
        assert scores.measures[ours].value == pytest.approx(expected, abs=1e-12)
    assert scores.count == 2 and scores.measures["mrr"].value == 1


def test_a_text_is_no_answer_to_itself_where_ids_are_shared(folder, encoder):
    (folder / "queries.jsonl").write_text('{"_id": "d4", "text": "how to wash a mat"}\n')
    (folder / "qrels" / "test.tsv").write_text("d4\td1\t1\n")
    first = search_scores(encoder, read_collection(folder)).measures["mrr"].value
    own = search_scores(encoder, read_collection(folder, own=True)).measures["mrr"].value
    assert first == 1 / 2 and own == 1


def test_an_interval_holds_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        found = mean_of(random.exponential(size=60))
        held += found.low <= 1 <= found.high
    assert 0.88 <= held / 200 <= 0.99


LINE = '{"_id": "d9", "text": "t"}\n'


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("corpus.jsonl", LINE + '{"text": "x"}', r"corpus.jsonl, line 2, has no _id"),
        ("corpus.jsonl", LINE + LINE, r"corpus.jsonl, line 2, has the _id 'd9' again"),
        ("corpus.jsonl", '{"_id": [1], "text": "x"}', r"line 1, has an _id that is neither"),
        ("corpus.jsonl", LINE + '{"_id": "e", "text": "\\ud800"}', r"line 2, has a text with half"),
        ("corpus.jsonl", '{"_id": "e"}', r"line 1, has no text"),
        ("corpus.jsonl", "", "corpus.jsonl is empty"),
        ("queries.jsonl", '{"_id": "q1", "text": " "}', "queries.jsonl, line 1, has an empty text"),
        ("queries.jsonl", '{"_id": "q1"', "queries.jsonl, line 1, is not JSON"),
        ("qrels/test.tsv", "q1\td1\t1\nq7\td1\t1", r"test.tsv, line 2, judges the query 'q7'"),
        ("qrels/test.tsv", "q1\td1\t1\nq1\td77\t1", r"line 2, judges the document 'd77'"),
        ("qrels/test.tsv", "q\td\tscore\nq1\td1\thigh", r"line 2, has the score 'high'"),
        ("qrels/test.tsv", "q1\td1\t-1", r"line 1, has the score '-1'"),
        ("qrels/test.tsv", "q1 d1", r"columns; needed: query-id, corpus-id and score"),
        ("qrels/test.tsv", "q1\td1\t1\nq1\td1\t2", r"line 2, judges the document 'd1' .* again"),
        ("qrels/test.tsv", "q1\td1\t0", "calls no document relevant"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_file_and_line(folder, file, text, complaint):
    (folder / file).write_text(text + "\n" if text else "")
    with pytest.raises(ToolkitError, match=complaint) as caught:
        read_collection(folder)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_told(folder, tmp_path):
    with pytest.raises(ToolkitError, match=r"has no qrels/dev.tsv; a collection is a folder with"):
        read_collection(folder, split="dev")
    with pytest.raises(ToolkitError, match=r"unknown task 'see_also'; did you mean see-also"):
        find("see_also")


@pytest.mark.parametrize("text", ["".join("{} 0 {} {}\n".format(*row) for row in QRELS)])
def test_judgements_may_come_in_trec_s_four_columns(folder, text):
    (folder / "qrels" / "test.tsv").write_text(text)
    assert read_collection(folder).judgements["q1"] == {"d1": 2, "d4": 1}


def unit(random, shape):
    vectors = random.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_nearest_is_exact_however_the_vectors_are_cut_into_blocks(monkeypatch):
    random = np.random.default_rng(0)
    queries, vectors = unit(random, (23, 16)), unit(random, (301, 16))
    expected = np.argsort(-(queries @ vectors.T), 1)[:, :7]
    for blocks in itertools.product((4, 512), (5, 64, 65_536)):
        for name, size in zip(("_QUERIES", "_DOCUMENTS"), blocks, strict=True):
            monkeypatch.setattr(f"toolkit.retrieval.nearest.{name}", size)
        np.testing.assert_array_equal(nearest(queries, vectors, 7)[1], expected)


def test_the_index_finds_nearly_all_that_is_nearest(tmp_path):
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    queries, vectors = unit(random, (50, 16)), unit(random, (3000, 16))
    Index.of(vectors).write(str(tmp_path / "index"))
    found = Index.read(str(tmp_path / "index")).nearest(queries, 10)[1]
    exact = nearest(queries, vectors, 10)[1]
    shared = [len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) > 0.97


class Thing:
    def __init__(self, doc):
        self.__doc__ = doc


def test_see_also_sections_become_judgements_and_leave_the_texts():
    known = {
        "p.add": Thing(
            "Add two numbers up.\n\nSee Also\n--------\nsub, p.m.mul : More.\n    of it\n\n"
            "Notes\n-----\nFast."
        ),
        "p.sub": Thing("Take one number from another.\n\nSee Also\n--------\nnowhere : No.\n"),
        "p.m.mul": Thing(
            "mul(x, y)\n\nMultiply two numbers now.\n\nSee Also\n========\n\np.add\n:func:`~p.sub`"
        ),
    }
    found = see_also.collect(known)
    assert found.judgements == {
        "p.add": {"p.m.mul": 1, "p.sub": 1},
        "p.m.mul": {"p.add": 1, "p.sub": 1},
    }
    assert found.queries["p.m.mul"] == "Multiply two numbers now."
    assert found.documents["p.add"] == "Add two numbers up.\n\nNotes\n-----\nFast."
    assert found.own and not any("See Also" in text for text in found.documents.values())


def test_see_also_of_an_installed_package_has_queries_that_people_linked():
    found = see_also.mine(["networkx"])
    assert len(found.queries) > 300
    judged = found.judgements["networkx.pagerank"]
    assert "networkx.google_matrix" in judged and "networkx.pagerank" not in judged


def test_a_stand_in_that_shares_words_beats_chance_on_it():
    found = see_also.mine(["networkx"])
    scores = search_scores(WordEncoder(), found)
    assert scores.measures["ndcg_at_10"].low > 0.1

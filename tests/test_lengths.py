"""How long texts are, before they are tokenised."""

import json
from types import SimpleNamespace

import pytest

from toolkit.pairs.lengths import LARGE, STUDY, mean_tokens
from toolkit.pairs.sources import NAMED, Source
from toolkit.runs import RunConfig
from toolkit.sweep.plan import cost


def pairs_file(path, query, positive, count=40):
    path.write_text("".join(f"{json.dumps([f'{query} {i}', positive])}\n" for i in range(count)))
    return str(path)


def test_a_files_texts_are_measured_by_their_bytes_and_cut(tmp_path):
    name = pairs_file(tmp_path / "own.jsonl", "abcdefghij", "x" * 400)
    assert mean_tokens(Source(name), LARGE, 75) == pytest.approx((3.75, 75))
    assert mean_tokens(Source(name), LARGE, 512)[1] == 100
    assert mean_tokens(Source(name), LARGE - 1, 512)[1] == pytest.approx(400 / 3, abs=1)


def test_letters_outside_ascii_are_dearer(tmp_path):
    source = Source(pairs_file(tmp_path / "own.jsonl", "q", "编" * 20))  # of three bytes each
    assert mean_tokens(source, LARGE - 1, 75)[1] == 60
    assert mean_tokens(source, LARGE, 75)[1] == 30


def test_nothing_is_mined_to_know_how_long_texts_are(tmp_path, monkeypatch):
    monkeypatch.delattr("toolkit.pairs.apart.apart_keys")
    name = pairs_file(tmp_path / "own.jsonl", "q", "x" * 40)
    assert mean_tokens(Source(name, without="see-also"), LARGE, 75)[1] == 10


def test_a_file_that_changed_is_read_again(tmp_path):
    name = pairs_file(tmp_path / "own.jsonl", "q", "x" * 40)
    short = mean_tokens(Source(name), LARGE, 75)
    pairs_file(tmp_path / "own.jsonl", "q", "x" * 200)
    assert mean_tokens(Source(name), LARGE, 75)[1] > 4 * short[1]


@pytest.mark.parametrize("name", ["docstrings", "manuals"])
def test_a_named_source_tells_of_small_and_large_vocabularies_and_is_cut_too(name):
    small, large = (mean_tokens(Source(name), size, 75) for size in (2048, 49152))
    assert sum(small) > sum(large) > 20
    cuts = (8, 16, 50, 75, 100, 512, 5000)
    queries, positives = zip(*(mean_tokens(Source(name), 2048, cut) for cut in cuts), strict=True)
    for means in (queries, positives):
        assert list(means) == sorted(means) and means[0] == 8
    assert positives[-2] > 1.5 * positives[3] and (queries[3], positives[3]) == small


def test_a_source_that_does_not_tell_is_planned_with_the_studys_lengths(monkeypatch):
    monkeypatch.setitem(NAMED, "toy", SimpleNamespace(LICENCE="free for all"))
    assert mean_tokens(Source("toy"), LARGE, 75) == STUDY
    assert cost(RunConfig("small-7k", 1e11, data="toy")).steps > 0


def test_of_what_cannot_be_read_the_studys_lengths_are_taken(tmp_path):
    (tmp_path / "bad.jsonl").write_text("{")
    for name in ("hub:owner/name", str(tmp_path / "bad.jsonl")):
        assert mean_tokens(Source(name), LARGE, 75) == STUDY


def test_short_texts_buy_more_steps(tmp_path):
    names = [pairs_file(tmp_path / f"{size}.jsonl", "query", "word " * size) for size in (3, 12)]
    short, long = (cost(RunConfig("small-7k", 1e11, data=name)).steps for name in names)
    assert short > 2 * long

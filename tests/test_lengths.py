"""How long texts are, before they are tokenised."""

import json

import pytest

from toolkit.pairs.lengths import LARGE, STUDY, mean_tokens
from toolkit.pairs.sources import Source
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


def test_a_file_that_changed_is_read_again(tmp_path):
    name = pairs_file(tmp_path / "own.jsonl", "q", "x" * 40)
    short = mean_tokens(Source(name), LARGE, 75)
    pairs_file(tmp_path / "own.jsonl", "q", "x" * 200)
    assert mean_tokens(Source(name), LARGE, 75)[1] > 4 * short[1]


@pytest.mark.parametrize("name", ["docstrings", "manuals"])
def test_a_named_source_tells_of_small_and_large_vocabularies_and_is_cut_too(name):
    small, large = (mean_tokens(Source(name), size, 75) for size in (2048, 49152))
    assert sum(small) > sum(large) > 20
    assert max(mean_tokens(Source(name), 2048, 16)) == 16


def test_of_what_cannot_be_read_the_studys_lengths_are_taken(tmp_path):
    (tmp_path / "bad.jsonl").write_text("{")
    for name in ("hub:owner/name", str(tmp_path / "bad.jsonl")):
        assert mean_tokens(Source(name), LARGE, 75) == STUDY


def test_short_texts_buy_more_steps(tmp_path):
    names = [pairs_file(tmp_path / f"{size}.jsonl", "query", "word " * size) for size in (3, 12)]
    short, long = (cost(RunConfig("small-7k", 1e11, data=name)).steps for name in names)
    assert short > 2 * long

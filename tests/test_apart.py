"""Documentation that judges encoders can be kept out of what they are trained on."""

import json

import pytest

from toolkit.errors import ToolkitError
from toolkit.pairs import apart, docstrings
from toolkit.pairs.sources import Source, read_pairs, source_fingerprint
from toolkit.runs import RunConfig


@pytest.fixture
def networkx_apart(monkeypatch, tmp_path):
    """As if NetworkX were all that is kept apart: mined in seconds."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(apart, "PACKAGES", ("networkx",))
    apart.apart_keys.cache_clear()
    yield docstrings.mine(["networkx"], workers=1)
    apart.apart_keys.cache_clear()


@pytest.mark.process
def test_pairs_with_a_text_that_is_kept_apart_are_left_out(networkx_apart, tmp_path):
    theirs = networkx_apart[0]
    path = tmp_path / "pairs.jsonl"
    mine = [("how are you", "fine, thank you"), (theirs.query, "x"), ("y", theirs.positive)]
    path.write_text("".join(json.dumps({"query": q, "positive": p}) + "\n" for q, p in mine))
    assert [p.query for p in read_pairs(Source(str(path), without="see-also"))] == ["how are you"]
    assert apart.count_shared(read_pairs(str(path))) == 2
    assert len(list(read_pairs(str(path)))) == 3


def test_what_is_left_out_is_part_of_the_data_s_identity_and_nothing_else_changes():
    whole, part = (Source("docstrings", without=without) for without in (None, "see-also"))
    assert source_fingerprint(whole) == docstrings.fingerprint()
    assert source_fingerprint(part) != source_fingerprint(whole)
    config = RunConfig("small-7k", 1e9)
    assert RunConfig("small-7k", 1e9, without="see-also").run_id != config.run_id
    assert "without" not in config.run_id


def test_an_unknown_set_is_told():
    with pytest.raises(ToolkitError, match="unknown without 'see_also'; did you mean see-also"):
        RunConfig("small-7k", 1e9, without="see_also")

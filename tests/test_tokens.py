"""The token store: the same tokens as the tokenizer gives, split by key, built once."""

import json
from itertools import chain

import numpy as np
import pytest

from toolkit.decoders import SMALL, load_tokenizer
from toolkit.errors import ToolkitError
from toolkit.pairs import tokens
from toolkit.pairs.pair import Pair
from toolkit.pairs.ragged import Ragged
from toolkit.pairs.tokens import tokenise


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(SMALL["small-7k"])


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "pairs.jsonl"
    rows = ({"query": f"query {i}", "positive": f"answer {i} " * (i % 50 + 1)} for i in range(500))
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return str(path)


def test_the_store_holds_what_the_tokenizer_gives_cut_at_the_limit(source, tokenizer):
    data = tokenise(source, tokenizer, max_tokens=20)
    pairs = [Pair(f"query {i}", f"answer {i} " * (i % 50 + 1)) for i in range(500)]
    train = [pair for pair in pairs if not pair.held_out]
    assert len(data.train) == len(train)
    assert len(data.train) + len(data.held_out) == 500
    batch = data.train.positives.take(np.array([7, 0, 3]))
    expected = [tokenizer(train[i].positive)["input_ids"][:20] for i in (7, 0, 3)]
    assert batch.lengths.tolist() == [len(ids) for ids in expected]
    assert batch.ids.tolist() == list(chain(*expected))
    assert data.train.positives.lengths(np.array([7, 0, 3])).tolist() == batch.lengths.tolist()


def test_the_store_is_mapped_and_built_only_once(source, tokenizer, monkeypatch):
    first = tokenise(source, tokenizer)
    assert isinstance(first.train.queries.ids, np.memmap)
    monkeypatch.setattr(tokens, "read_pairs", lambda source: pytest.fail("read again"))
    again = tokenise(source, tokenizer)
    assert (again.train.keys == first.train.keys).all()


def test_another_cut_is_another_store(source, tokenizer):
    wide, narrow = (tokenise(source, tokenizer, max_tokens=n).train for n in (75, 5))
    assert wide.positives.lengths(np.arange(50)).max() > 5
    assert narrow.positives.lengths(np.arange(50)).max() == 5


def test_a_failed_build_leaves_nothing_behind(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"query": "q", "positive": "p"}\n{"query": "q"}\n', encoding="utf-8")
    with pytest.raises(ToolkitError, match="line 2"):
        tokenise(str(path), tokenizer)
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_empty_file_is_refused(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ToolkitError, match="holds no pair"):
        tokenise(str(tmp_path / "empty.jsonl"), tokenizer)


def test_the_first_pairs_are_those_with_the_smallest_keys(source, tokenizer):
    train = tokenise(source, tokenizer).train
    chosen = train.first(10)
    assert sorted(train.keys)[:10] == train.keys[chosen].tolist()


def test_ragged_texts_are_taken_in_any_order():
    texts = Ragged(np.array([1, 2, 2, 3, 3, 3], np.int32), np.array([1, 2, 3], np.int32))
    taken = texts.take(np.array([2, 0]))
    assert taken.ids.tolist() == [3, 3, 3, 1]
    assert taken.lengths.tolist() == [3, 1]
    assert len(texts.take(np.array([], np.int64))) == 0


@pytest.mark.parametrize("name", ["small-7k", "pieces"])
@pytest.mark.parametrize("special", [True, False])
def test_a_long_text_s_first_tokens_are_those_of_all_of_it(name, special):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from toolkit.pairs.tokens import token_ids

    if name == "pieces":  # Reads no words: a text is one piece.
        letters = {letter: i for i, letter in enumerate("abcdefghij \n.")}
        backend = Tokenizer(models.BPE(vocab=letters, merges=[], unk_token="a"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="a")
    else:
        tokenizer = load_tokenizer(SMALL[name])
    random = np.random.default_rng(0)
    parts = [
        "return",
        " ",
        "  ",
        "\n    ",
        "x = 1",
        "é",
        "東京",
        "'s",
        "\t",
        "…",
        " self.",
        "0123",
        "!",
    ]
    texts = ["".join(random.choice(parts, 400)) for _ in range(200)]
    texts += [" " * 5000 + "end", "word" * 2000, "a b", "", "x" + "\n" * 3000 + "y z " * 400]
    for length in (5, 75):
        whole = tokenizer(texts, add_special_tokens=special, truncation=True, max_length=length)
        found = token_ids(texts, tokenizer, max_tokens=length, special_tokens=special)
        assert found == [list(ids) for ids in whole["input_ids"]]

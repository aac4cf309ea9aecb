"""Near-duplicates: found by MinHash, never claimed wrongly, and a cluster lies on one side."""

import json
import random
from itertools import combinations

import numpy as np
import pytest

from toolkit.errors import ToolkitError
from toolkit.pairs.near import SHINGLE_WORDS, THRESHOLD, join, near_duplicate_clusters
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import read_pairs
from toolkit.pairs.split import HELD_OUT, LEFT_OUT, TRAIN, split

WORDS = [f"word{i}" for i in range(400)]


def families(count: int, seed: int = 0) -> list[str]:
    """Texts in families: each member has some words of its founder's replaced."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        founder = chance.choices(WORDS, k=chance.randint(4, 60))
        for _ in range(chance.randint(1, 5)):
            member = [w if chance.random() > 0.05 else chance.choice(WORDS) for w in founder]
            texts.append(" ".join(member))
    chance.shuffle(texts)
    return texts


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}


def exact_clusters(texts: list[str]) -> list[set[int]]:
    sets = [shingles(text) for text in texts]
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in combinations(range(len(texts)), 2):
        if len(sets[i] & sets[j]) >= THRESHOLD * len(sets[i] | sets[j]):
            parent[root(i)] = root(j)
    groups: dict[int, set[int]] = {}
    for i in range(len(texts)):
        groups.setdefault(root(i), set()).add(i)
    return sorted(groups.values(), key=min)


def test_the_clusters_are_those_of_comparing_all_with_all():
    texts = families(150)
    labels = near_duplicate_clusters(texts)
    found = [set(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    expected = exact_clusters(texts)
    assert 100 < len(expected) < len(texts)
    assert sorted(found, key=min) == expected


def test_case_white_space_and_punctuation_make_no_other_text():
    near = near_duplicate_clusters(["The ARN of the queue.", "the  arn of\nthe queue", "another"])
    assert near[0] == near[1] != near[2]


def test_texts_without_spaces_or_words_are_compared_as_well():
    texts = [
        "データを読み込む関数です",
        "データを読み込む関数です。",
        "全く別の文章がここに在る",
        "!!!",
        "???",
    ]
    labels = near_duplicate_clusters(texts)
    assert labels[0] == labels[1] and len(set(labels.tolist())) == 4


def test_no_text_gives_no_cluster():
    assert len(near_duplicate_clusters([])) == 0


def test_clusters_join_over_equal_keys():
    labels = join(np.array([0, 1, 2, 3]), np.array([5, 5, 6, 7]), np.array([1, 2, 2, 3]))
    assert labels[0] == labels[1] == labels[2] != labels[3]


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))

    def write(rows, name="pairs.jsonl"):
        lines = (json.dumps({"query": q, "positive": p}) for q, p in rows)
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_no_held_out_pair_has_a_near_duplicate_or_an_equal_text_in_train(source):
    rows = [(f"query {i % 1500}", text) for i, text in enumerate(families(1000, seed=1))]
    path = source(rows)
    sides = split(path).sides
    pairs = list(read_pairs(path))
    held = [p for p, side in zip(pairs, sides, strict=True) if side == HELD_OUT]
    train = [p for p, side in zip(pairs, sides, strict=True) if side == TRAIN]
    assert len(held) > 20
    assert not {p.query for p in held} & {p.query for p in train}
    sets = [shingles(p.positive) for p in train]
    for pair in held:
        mine = shingles(pair.positive)
        assert not any(len(mine & other) >= THRESHOLD * len(mine | other) for other in sets)


def test_the_held_out_side_has_each_query_and_each_positive_once(source):
    rows = [(f"question {i}", f"answer {i // 3} of {j}") for i in range(3000) for j in range(2)]
    path = source(rows)
    sides, facts = split(path).sides, split(path).facts
    held = [p for p, s in zip(read_pairs(path), sides, strict=True) if s == HELD_OUT]
    assert len({p.query for p in held}) == len({p.positive for p in held}) == len(held)
    # a cluster is six pairs here: three queries, the two answers that each of them has
    assert facts.clusters == 1000 and 25 < facts.held_out < 80
    assert (facts.shared_queries, facts.shared_positives) == (3000, 2000)
    assert facts.train + facts.held_out + facts.left_out == facts.pairs == 6000


def test_a_pair_alone_falls_where_its_own_key_says(source):
    rows = [(f"lonely {i}", " ".join(WORDS[j] for j in (i, i + 1, 2 * i))) for i in range(180)]
    sides = split(source(rows)).sides
    assert [s == HELD_OUT for s in sides] == [Pair(*row).held_out for row in rows]


def test_the_split_does_not_depend_on_the_order_or_the_file(source):
    rows = list({(f"query {i % 700}", text) for i, text in enumerate(families(400, seed=2))})
    one, two = split(source(rows)), split(source(rows[::-1], "reversed.jsonl"))
    assert (one.sides == two.sides[::-1]).all()
    assert one.facts == two.facts


def test_another_pair_is_another_fingerprint(source):
    rows = [(f"query {i}", f"answer number {i}") for i in range(50)]
    changed = [*rows[:-1], ("query 49", "answer number fifty")]
    facts = [split(source(r, f"{n}.jsonl")).facts for n, r in enumerate((rows, changed))]
    assert facts[0].fingerprint != facts[1].fingerprint


def test_a_pair_that_occurs_again_is_left_out_and_counted(source):
    rows = [(f"query {i}", f"answer number {i}") for i in range(50)]
    found = split(source([*rows, rows[3], rows[4]]))
    assert found.facts.repeated == 2 and (found.sides == LEFT_OUT).sum() == 2


def test_a_damaged_split_is_made_again(source, tmp_path):
    path = source([(f"query {i}", f"answer number {i}") for i in range(50)])
    first = split(path)
    (stored,) = (tmp_path / "cache").glob("split-*.npz")
    stored.write_bytes(stored.read_bytes()[:100])
    again = split(path)
    assert (again.sides == first.sides).all() and again.facts == first.facts


def test_a_source_without_a_pair_is_refused(source):
    with pytest.raises(ToolkitError, match="holds no pair"):
        split(source([]))

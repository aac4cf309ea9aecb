"""From a person's own pairs to an encoder: the look at them, the study, and all the way through."""

import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import toolkit
from toolkit import cli
from toolkit.decoders import find, load_tokenizer
from toolkit.pairs.files import Columns
from toolkit.pairs.look import content, language, look, overlaps
from toolkit.pairs.pair import Pair
from toolkit.pairs.sources import Source
from toolkit.sweep.plan import read_plan
from toolkit.sweep.proposal import propose, sizes

PAIRS = [
    (f"how to fit item {i:03d}", f"Item {i:03d} fits when turned {i % 7}.") for i in range(120)
]


def csv_text(delimiter=",", end="\n", names=("question", "reply")):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows([names, *PAIRS])
    return out.getvalue()


def json_lines(make, end="\n"):
    return "".join(json.dumps(make(q, p)) + end for q, p in PAIRS)


def plain(q, p):
    return {"query": q, "positive": p}


FILES = {
    "plain.jsonl": json_lines(plain).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + json_lines(plain).encode(),
    "windows.jsonl": json_lines(plain, "\r\n").encode(),
    "lists.jsonl": json_lines(
        lambda q, p: {"query": q, "pos": [p], "neg": ["no", "none"]}
    ).encode(),
    "triplets.jsonl": json_lines(lambda q, p: [q, p, "no"]).encode(),
    "triplets-by-name.jsonl": json_lines(
        lambda q, p: {"anchor": q, "positive": p, "negative": "no"}
    ).encode(),
    "packed.jsonl.gz": gzip.compress(json_lines(plain).encode()),
    "comma.csv": csv_text().encode(),
    "windows.csv": csv_text(end="\r\n").encode(),
    "bom.csv": b"\xef\xbb\xbf" + csv_text().encode(),
    "semicolon.csv": csv_text(";").encode(),
    "tabs.tsv": csv_text("\t").encode(),
    "packed.csv.gz": gzip.compress(csv_text().encode()),
}


@pytest.fixture
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(cache))


def seen(path, **columns):
    return look(Source(str(path), Columns(**columns)), load_tokenizer(find("small-7k")))


@pytest.mark.parametrize("name", [*FILES, "table.parquet", "table.parquet.gz"])
def test_the_same_pairs_in_every_format(own_cache, tmp_path, name):
    path = tmp_path / name
    if "parquet" in name:
        table = pa.table(dict(zip(("question", "reply"), zip(*PAIRS, strict=True), strict=True)))
        pq.write_table(table, path)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
    else:
        path.write_bytes(FILES[name])
    plain_path = tmp_path / "reference.jsonl"
    plain_path.write_bytes(FILES["plain.jsonl"])
    columns = {} if "jsonl" in name else {"query": "question", "positive": "reply"}
    found = seen(path, **columns).facts
    assert found.fingerprint == seen(plain_path).facts.fingerprint
    assert found.pairs == len(PAIRS)
    assert found.negatives == {"lists.jsonl": 240, "triplets.jsonl": 120}.get(
        name, 120 if "by-name" in name else 0
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"query": "q", "pos": []}', "line 3, has an empty list of pos"),
        ('{"query": "q", "pos": ["a", ""]}', "line 3, has an empty pos"),
        ('{"query": "\\ud800", "pos": ["a"]}', "line 3, has a query with half a character"),
        ('{"query": "q", "pos": ["a"], "neg": ["\\udfff"]}', "line 3, has a neg with half"),
        ('{"query": "q"', "line 3, is not JSON"),
    ],
)
def test_a_bad_line_is_named_or_passed_over(own_cache, tmp_path, capsys, line, words):
    lines = [json.dumps({"query": q, "pos": [p]}) for q, p in PAIRS]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]))
    command = ["init", str(tmp_path / "study"), "--pairs", str(path), "--flop", "1e12"]
    assert cli.main(command) == 2
    said = capsys.readouterr().err
    assert str(path) in said and words in said
    assert not (tmp_path / "study").exists()
    assert cli.main([*command, "--skip-bad", "0.02"]) == 0
    assert "1 of 121 rows are bad and passed over" in capsys.readouterr().out
    assert read_plan(tmp_path / "study").configs[0].skip_bad == 0.02


def test_what_is_odd_is_found(own_cache, tmp_path):
    path = tmp_path / "pairs.jsonl"
    odd = [
        ("why is the sky blue", "bananas ripen quickly"),
        ("why is the sky blue", "It scatters."),
    ]
    rows = [*PAIRS, PAIRS[0], *odd]
    path.write_text("".join(json.dumps(plain(q, p)) + "\n" for q, p in rows))
    found = seen(path)
    assert found.facts.repeated == 1 and found.facts.shared_queries == 1
    assert Pair("why is the sky blue", "bananas ripen quickly") in found.apart
    assert found.lengths.shape == (len(rows), 2) and found.leaks == 0


def test_a_leak_between_the_sides_is_found(own_cache, tmp_path):
    held_out = next(q for q, p in PAIRS if Pair(q, p).held_out)
    path = tmp_path / "pairs.jsonl"
    # The query of a held-out pair is what a training pair answers.
    rows = [*PAIRS, *((f"another question number {i} of all", held_out) for i in range(1, 4))]
    path.write_text("".join(json.dumps(plain(q, p)) + "\n" for q, p in rows))
    found = seen(path)
    assert found.leaks == 1 and held_out in found.leaked


def test_words_in_common_by_the_rule():
    assert content("Fitting the 42 curves, 東京都") == {
        "fitti",
        "the",
        "42",
        "curve",
        "東京",
        "京都",
    }
    pairs = [Pair("red apples", "an apple is red"), Pair("red", "blue"), Pair("?", "blue")]
    np.testing.assert_equal(overlaps(pairs), [1, 0, np.nan])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The cat sat on the mat and it was happy", "English"),
        ("Der Hund und die Katze sind nicht im Haus", "German"),
        ("Le chat est sur la table avec les enfants", "French"),
        ("El perro no está en la casa con los niños", "Spanish"),
        ("Кошка сидит на ковре", "Cyrillic"),
        ("猫はマットの上に座った", "Japanese"),
        ("猫坐在垫子上", "Chinese"),
        ("x = f(y)", "not told"),
        ("", "not told"),
    ],
)
def test_the_language_by_the_rule(text, name):
    assert language(text) == name


def test_one_decoder_becomes_three_sizes_and_several_stand_by_size():
    assert sizes(["smollm2-135m"]) == ["smollm2-135m@7", "smollm2-135m@15", "smollm2-135m"]
    assert sizes(["small-15k", "small-7k", "small-15k"]) == ["small-7k", "small-15k"]
    assert sizes(["small-7k"]) == ["small-7k"]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_proposal_spends_its_share(share):
    proposal = propose(
        ["small-7k", "small-15k", "small-38k"], {"batch_pairs": 32}, flop=1e13, share=share
    )
    assert proposal.flop == pytest.approx(share * 1e13, rel=0.05)
    budgets = {entry["budget_flop"] for entry in proposal.grid}
    assert len(budgets) == 3 and max(budgets) == proposal.largest


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--flop", "1e7"], "is too little for a study of small-7k"),
        (["--flop", "many"], "is not a positive number"),
        (["--flop", "1e11", "--share", "2"], "is a share of --flop"),
        (["--flop", "1e11", "--decoders", "small-8k"], "unknown decoder 'small-8k'"),
        (["--flop", "1e11", "--query", "ask"], "needed: ask/positive"),
        (["--flop", "1e11", "--pairs", "none.jsonl"], "none.jsonl does not exist"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_made(own_cache, tmp_path, capsys, options, words):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(FILES["plain.jsonl"])
    assert cli.main(["init", str(tmp_path / "study"), "--pairs", str(path), *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.main(["init", str(tmp_path), "--pairs", "x.jsonl", "--flop", "1e11"]) == 2
    assert "is not empty; name another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_from_a_file_of_pairs_to_an_encoder_that_searches(own_cache, tmp_path, capsys):
    pytest.importorskip("sentence_transformers")
    path, study = tmp_path / "pairs.csv", tmp_path / "study"
    path.write_text(csv_text())
    command = ["init", str(study), "--pairs", str(path), "--query", "question"]
    command += ["--positive", "reply", "--decoders", "small-7k,small-15k", "--flop", "8e10"]
    assert cli.main(command) == 0
    for name in ("README.md", "data.md", "lengths.png", "overlap.png", "sweep.yaml"):
        assert (study / name).stat().st_size > 100
    assert cli.main(["sweep", str(study)]) == 0
    capsys.readouterr()
    assert cli.main(["recipe", str(study), "--flop", "8e10"]) == 0
    assert "How large a model?" in capsys.readouterr().out
    best = yaml.safe_load((study / "sweep.yaml").read_text())["base"]
    config = {**best, "decoder": "small-7k", "budget_flop": 8e9, "query_column": "question"}
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps(config))
    assert cli.main(["train", str(run), "--keep"]) == 0
    assert cli.main(["export", str(run), str(tmp_path / "encoder")]) == 0
    encoder = toolkit.load(tmp_path / "encoder")
    replies = [reply for _, reply in PAIRS]
    queries = [query for query, _ in PAIRS]
    similar = encoder.encode(queries) @ encoder.encode(replies).T
    places = (similar > similar.diagonal()[:, None]).sum(1)
    assert np.median(places) < 20  # of 120; 60 is chance
    capsys.readouterr()
    corpus = tmp_path / "replies.txt"
    corpus.write_text("".join(f"{reply}\n" for reply in replies))
    search = ["search", str(tmp_path / "encoder"), str(corpus), *queries[:3], "-k", "4", "--json"]
    assert cli.main(search) == 0
    answers = json.loads(capsys.readouterr().out)
    for place, answer in enumerate(answers):
        rows = [hit["row"] - 1 for hit in answer["found"]]
        assert [hit["text"] for hit in answer["found"]] == [replies[row] for row in rows]
        assert answer["question"] == queries[place]
        cosines = [hit["similarity"] for hit in answer["found"]]
        np.testing.assert_allclose(cosines, np.sort(similar[place])[::-1][:4], atol=1e-5)
    assert len(answers) == 3

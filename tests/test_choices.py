"""Today's choices, each exact: attention, prefixes, hard negatives, Matryoshka, false negatives."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.few import few
from tests.tiny import SHAPE, method, neox, texts, tuned
from toolkit.contrast.loss import Criterion, equal_texts
from toolkit.contrast.step import ContrastiveStep, embed
from toolkit.encoder.export import export
from toolkit.encoder.loading import trained
from toolkit.errors import ToolkitError
from toolkit.flops import step_flops
from toolkit.methods import METHODS
from toolkit.pairs.ragged import Ragged, TokenColumn
from toolkit.pairs.store import TokenisedPairs
from toolkit.pairs.tokens import prefixes_of, tokenise
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.sweep.plan import expand
from toolkit.sweep.preflight import check_run
from toolkit.training.mining import mine, mining_flops
from toolkit.training.preparation import prepare
from toolkit.training.run import train, train_encoder

QUERIES, POSITIVES, NEGATIVES = texts(7, 3, 9, 1), texts(7, 4, 15, 2), texts(5, 4, 17, 3)
# Two pairs share a query; the first negative is the right answer to both, after all.
QUERIES = QUERIES.take(np.array([0, 1, 2, 3, 4, 5, 0]))
NEGATIVES = Ragged.joined([POSITIVES.take(np.array([6])), NEGATIVES])


def model_of(name="full", *, bidirectional=False, double=True):
    model = tuned(neox(attention="sdpa", double=double), method(name))
    model.config.is_causal = not bidirectional
    return model


def alone(model, batch):
    """Each text's embedding by the model's own forward pass, prefixes left out of the mean."""
    rows = []
    skipped = np.zeros(len(batch), int) if batch.skipped is None else batch.skipped
    for start, stop, skip in zip(batch.offsets[:-1], batch.offsets[1:], skipped, strict=True):
        ids = torch.from_numpy(batch.ids[start:stop].astype(np.int64))[None]
        states = model(ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
        rows.append(states[0, skip:].mean(0))
    return torch.stack(rows)


def plain_loss(model, sides, temperature, dimensions=(), margin=None):
    """The loss written out, pair by pair, candidate by candidate; and what the margin masks."""
    queries, positives, *rest = (alone(model, side) for side in sides)
    keys = [side.keys() for side in sides]
    candidates = torch.cat((positives, *rest))
    candidate_keys = np.concatenate(keys[1:])
    cosine = torch.nn.functional.cosine_similarity
    whole = cosine(queries[:, None], candidates[None], dim=-1).detach()
    masked, total = 0, 0.0
    for width in (queries.shape[1], *dimensions):
        scores = cosine(queries[:, None, :width], candidates[None, :, :width], dim=-1)
        masked = 0
        for i in range(len(queries)):
            right = {keys[1][k] for k in range(len(queries)) if keys[0][k] == keys[0][i]}
            there, back = [], []
            for j in range(len(candidates)):
                same = candidate_keys[j] in right or (
                    j < len(queries) and (keys[0][j] == keys[0][i] or keys[1][j] == keys[1][i])
                )
                high = margin is not None and whole[i, j] > whole[i, i] + margin
                masked += int(high and not same)
                if j == i or not (same or high):
                    there.append(scores[i, j])
            for j in range(len(queries)):
                same = keys[0][j] == keys[0][i] or keys[1][j] == keys[1][i]
                high = margin is not None and whole[j, i] > whole[i, i] + margin
                masked += int(high and not same)
                if j == i or not (same or high):
                    back.append(scores[j, i])
            for row in (there, back):
                logits = torch.stack(row) / temperature
                total = total + torch.logsumexp(logits, 0) - scores[i, i] / temperature
    return total / (2 * len(queries) * (1 + len(dimensions))), masked


CASES = {
    "bidirectional": {"bidirectional": True},
    "negatives": {"negatives": True},
    "matryoshka": {"dimensions": (8, 4)},
    "margin": {"margin": 0.0},
    "prefix out of the mean": {"skip": (2, 3)},
    "all at once": {
        "bidirectional": True,
        "negatives": True,
        "dimensions": (8, 4),
        "margin": 0.0,
        "skip": (2, 1),
    },
}


@pytest.mark.parametrize("name", few(METHODS, ["full", "hybrid"]))
@pytest.mark.parametrize("chunk_tokens", [None, 40], ids=["whole", "cached"])
@pytest.mark.parametrize("case", CASES)
def test_loss_gradients_and_flops_are_those_of_the_loss_written_out(case, chunk_tokens, name):
    chosen = {"bidirectional": False, "negatives": False, "dimensions": (), "margin": None}
    chosen |= CASES[case]
    sides = [QUERIES, POSITIVES, *([NEGATIVES] if chosen["negatives"] else [])]
    if "skip" in chosen:
        first, second = chosen["skip"]
        skips = (first, second, second)
        sides = [
            replace(side, skipped=np.full(len(side), skip, np.int32))
            for side, skip in zip(sides, skips, strict=False)
        ]
    model = model_of(name, bidirectional=chosen["bidirectional"])
    step = ContrastiveStep(
        model,
        temperature=0.05,
        dimensions=chosen["dimensions"],
        false_negative_margin=chosen["margin"],
        chunk_tokens=chunk_tokens,
    )
    step.plan(np.concatenate([side.lengths for side in sides]))
    with FlopCounterMode(display=False) as referee:
        result = step(*sides)
    ours = {key: p.grad.clone() for key, p in model.named_parameters() if p.requires_grad}
    lengths = [side.lengths for side in sides]
    counted = step_flops(
        SHAPE,
        method(name),
        *lengths[:2],
        result.execution,
        negative_lengths=lengths[2] if len(lengths) > 2 else None,
        dimensions=chosen["dimensions"],
    )
    assert counted.hardware == referee.get_total_flops()
    model.zero_grad()
    loss, masked = plain_loss(model, sides, 0.05, chosen["dimensions"], chosen["margin"])
    loss.backward()
    assert result.loss == pytest.approx(loss.item(), rel=1e-9)
    assert result.masked == 2 + 2 * chosen["negatives"]
    assert result.masked_by_margin == masked and (masked > 0) == (chosen["margin"] is not None)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(ours[key], parameter.grad, rtol=1e-8, atol=1e-10, msg=key)


def test_a_negative_that_is_a_right_answer_is_masked_for_all_who_ask_the_same():
    equal = equal_texts(np.array([1, 2, 1]), np.array([7, 8, 9]), np.array([9, 5, 8]))
    assert equal[:, 3:].tolist() == [
        [True, False, False],
        [False, False, True],
        [True, False, False],
    ]
    assert equal_texts(np.array([1, 2]), np.array([7, 8]), np.array([5])) is None


def test_a_margin_masks_only_what_exceeds_the_positive_by_more():
    queries = torch.eye(3)
    candidates = torch.tensor(
        [[0.6, 0.8, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.7, 0.0, 0.714]]
    )
    masked = {m: Criterion(0.1, margin=m)(queries, candidates)[1] for m in (0.0, 0.05, 0.15, 0.3)}
    # 0.7 of the first query's negative, and 0.8 of its positive to the second query, against 0.6.
    assert masked == {0.0: 2, 0.05: 2, 0.15: 1, 0.3: 0}


def column(batch: Ragged) -> TokenColumn:
    return TokenColumn(batch.ids, batch.offsets)


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_mined_negatives_are_the_most_similar_ones_below_the_margin(margin, monkeypatch):
    monkeypatch.setattr("toolkit.training.mining.GROUP", 8)
    queries, positives = texts(20, 3, 9, 1), texts(20, 4, 12, 2)
    pairs = TokenisedPairs(column(queries), column(positives), np.arange(20, dtype=np.uint64))
    order = np.random.default_rng(0).permutation(20)[:18]
    model = model_of(double=False)
    with FlopCounterMode(display=False) as referee:
        found = mine(model, pairs, order, pooling="mean", per_query=2, margin=margin)
    flop = mining_flops(SHAPE, pairs, order, torch.empty(0))
    angles = 6 * 2 * 256  # of rotary positions, which are looked up: made once for each side
    assert flop.hardware + angles == referee.get_total_flops() and flop.model <= flop.hardware
    vectors = [
        torch.nn.functional.normalize(embed(model, batch), dim=-1) for batch in (queries, positives)
    ]
    scores = (vectors[0] @ vectors[1].T).numpy()
    for start in range(0, 18, 8):
        group = order[start : start + 8]
        for pair in group:
            below = [p for p in group if scores[pair, p] < scores[pair, pair] - margin]
            below.sort(key=lambda p: -scores[pair, p])
            span = slice(found.offsets[pair], found.offsets[pair + 1])
            assert found.places[span].tolist() == [p for p in below if p != pair][:2]
    rest = np.setdiff1d(np.arange(20), order)
    assert (found.offsets[rest + 1] == found.offsets[rest]).all()


@pytest.fixture
def wrong(pairs_file, tmp_path, easy):
    """The easy pairs with three negatives each, one of them the positive itself."""
    path = tmp_path / "wrong.jsonl"
    lines = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    with open(path, "w", encoding="utf-8") as file:
        for n, values in enumerate(lines):
            others = [lines[n - 1]["positive"], values["positive"], lines[n - 2]["positive"]]
            file.write(json.dumps({**values, "negatives": others}) + "\n")
    return {**easy, "data": str(path)}


def test_given_negatives_are_used_in_turn_counted_and_paid_for(wrong):
    without = train(RunConfig.from_dict(wrong))
    record = train(RunConfig.from_dict({**wrong, "negatives": "given", "negatives_per_query": 2}))
    assert without.negatives_seen == 0 and record.negatives_seen == 2 * record.pairs
    assert record.steps < without.steps and record.flop_model <= 4e8
    assert record.tokens / record.pairs > 1.5 * without.tokens / without.pairs
    assert record.masked >= record.pairs // 2  # the positive is among them, two in three times
    pairs = prepare(RunConfig.from_dict({**wrong, "negatives": "given"})).train
    some = np.arange(5)
    turns = [pairs.negatives.take(some, epoch) for epoch in range(4)]
    assert (turns[1].keys() == pairs.positives.take(some).keys()).all()
    assert (turns[0].keys() == turns[3].keys()).all()


def test_mining_is_paid_by_the_budget_and_found_again(easy):
    config = RunConfig.from_dict({**easy, "budget_flop": 1e9, "negatives": "mined"})
    run, again = prepare(config), prepare(config)
    assert (run.train.negatives.places == again.train.negatives.places).all()
    record = train(config)
    plain = train(RunConfig.from_dict({**easy, "budget_flop": 1e9}))
    assert 0 < record.mining_flop < 0.5e9 and record.flop_model <= 1e9
    assert record.steps < plain.steps and record.negatives_seen > 0.5 * record.pairs


def test_the_record_tells_what_truncation_costs_and_what_was_masked(easy, tmp_path):
    config = RunConfig.from_dict({**easy, "matryoshka": [4, 8], "false_negative_margin": 0.0})
    train(config, tmp_path / "run")
    record = read_record(tmp_path / "run" / "record.json", config)
    assert list(record.loss_by_dimension) == ["8", "4"] and record.masked_by_margin > 0
    assert all(loss > 0 for loss in record.loss_by_dimension.values())
    plain = train(RunConfig.from_dict(easy))
    assert list(plain.loss_by_dimension) == ["8"] and plain.masked_by_margin == 0


def test_prefixes_are_tokens_like_any_others(easy):
    plain = prepare(RunConfig.from_dict(easy))
    config = RunConfig.from_dict({**easy, "query_prefix": "find the code:"})
    run = prepare(config)
    longer, shorter = (each.held_out.queries.lengths for each in (run, plain))
    (more,) = set((longer - shorter).tolist())
    assert more > 2 and run.held_out.queries.skipped is None
    assert (run.held_out.positives.lengths == plain.held_out.positives.lengths).all()
    out = prepare(replace(config, prefix_in_pooling=False))
    assert set(out.held_out.queries.skipped.tolist()) == {more}
    assert out.held_out.positives.skipped is None


TEXTS = ["return item 00042", "def get_00042(self): # 3", "a much longer text " * 30]


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_the_exported_encoder_embeds_equally(easy, tmp_path, pooling, pooled):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    config = RunConfig.from_dict(
        {
            **easy,
            "pooling": pooling,
            "attention": "bidirectional",
            "query_prefix": "find the code:",
            "positive_prefix": "code:\n",
            "prefix_in_pooling": pooled,
        }
    )
    _, model = train_encoder(config)
    ours = trained(model, config)
    folder = export(ours, tmp_path / "encoder")
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    by_side = {
        "query": (theirs.encode_query(TEXTS), ours.encode(TEXTS, side="query")),
        "positive": (theirs.encode_document(TEXTS), ours.encode(TEXTS, side="positive")),
        "none": (theirs.encode(TEXTS), ours.encode(TEXTS)),
    }
    for given, expected in by_side.values():
        np.testing.assert_allclose(given, expected, atol=3e-6)
    assert np.abs(by_side["query"][1] - by_side["none"][1]).max() > 1e-3
    with pytest.raises(ToolkitError, match="side is query or positive"):
        ours.encode(TEXTS, side="document")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"attention": "both"}, "unknown attention 'both'"),
        ({"negatives": "hard"}, "unknown negatives 'hard'"),
        (
            {"negatives_per_query": 2},
            "belongs to negatives given or mined, but this run's are none",
        ),
        ({"negatives": "given", "negative_margin": 0.1}, "belongs to negatives mined"),
        ({"negatives": "mined", "negative_margin": -0.1}, "from 0 to 2, not -0.1"),
        ({"negatives": "mined", "negatives_per_query": 0}, "at least 1"),
        ({"false_negative_margin": 3.0}, "from 0 to 2"),
        ({"matryoshka": [64, 16, 32]}, "must fall .or rise. from one to the next, not 64, 16, 32"),
        ({"matryoshka": [8, 8]}, "must fall"),
        ({"matryoshka": [8, 0]}, "at least 1"),
        ({"matryoshka": ["a"]}, "matryoshka must be a whole number"),
        ({"matryoshka": []}, "bad value"),
        ({"prefix_in_pooling": False}, "leaves out a query_prefix or positive_prefix; give one"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(values, words):
    with pytest.raises(ToolkitError, match=words):
        RunConfig.from_dict({"decoder": "small-7k", "budget_flop": 1e11, **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"matryoshka": [32, 8]}, "dimension 32 is above the width 16 of small-7k"),
        ({"negatives": "given"}, "names no negatives; give a column"),
        ({"query_prefix": "many words " * 40}, "query_prefix takes all of max_tokens"),
        ({"positive_prefix": "words " * 9, "max_tokens": 8}, "positive_prefix takes all of max_to"),
        (
            {"query_prefix": "query: ", "prefix_in_pooling": False},
            "does not end where a token does",
        ),
    ],
)
def test_choices_that_do_not_fit_decoder_or_data_are_refused_before_a_run(easy, values, words):
    config = RunConfig.from_dict({**easy, **values})
    for how in (check_run, prepare):
        with pytest.raises(ToolkitError, match=words.replace("; give a column", "")) as caught:
            how(config)
        assert "\n" not in str(caught.value)


def test_named_data_without_negatives_say_so_at_once():
    config = RunConfig(decoder="small-7k", budget_flop=1e11, negatives="given")
    with pytest.raises(ToolkitError, match="data 'docstrings' names no negatives"):
        check_run(config)


def test_a_sweep_varies_them_and_each_is_a_run_of_its_own():
    base = {"decoder": "small-7k", "budget_flop": 1e11}
    whole = expand(base, [{"matryoshka": [8, 4], "attention": ["causal", "bidirectional"]}])
    assert [c.matryoshka for c in whole] == [(8, 4), (8, 4)]
    several = expand(base, [{"matryoshka": [None, [8, 4], [8]]}])
    assert [c.matryoshka for c in several] == [None, (8, 4), (8,)]
    assert len({c.run_id for c in (*whole, *several)}) == 4  # one is in both
    assert several[0].run_id == RunConfig.from_dict(base).run_id


def test_a_prefix_is_part_of_what_the_cache_knows_tokens_by(easy):
    from toolkit.decoders import find, load_tokenizer

    tokenizer = load_tokenizer(find("small-7k"))
    configs = [RunConfig.from_dict({**easy, "query_prefix": p}) for p in (None, "a:", "b:")]
    found = {tokenise(c.source, tokenizer, prefixes=prefixes_of(c)).identity for c in configs}
    assert len(found) == 3


def test_the_recipe_tells_apart_what_a_sweep_varied_and_names_the_better():
    import pandas as pd

    from toolkit import synthetic
    from toolkit.recipe.recommendation import recommend_from
    from toolkit.recipe.study import Study

    causal = synthetic.run_table()
    causal = causal[causal["method"] == "full"].assign(attention="causal", seed=0)
    better = causal.assign(attention="bidirectional", loss=causal["loss"] * 0.9)
    study = Study.of(pd.concat([causal, better], ignore_index=True), draws=50)
    assert set(study.best["attention"]) == {"bidirectional"}
    notes = [
        note.values
        for note in recommend_from(study, budget_flop=1e12).notes
        if note.kind == "option"
    ]
    assert notes[0]["value"] == "bidirectional"
    assert notes[0]["wins"] == notes[0]["places"] > 3

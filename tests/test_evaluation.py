"""Evaluation: a fixed set, chance where nothing is known, and no reward for collapse."""

import math

import numpy as np
import pytest
import torch

from tests.tiny import neox, texts
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import TokenColumn
from toolkit.pairs.store import TokenisedPairs
from toolkit.training import evaluation
from toolkit.training.evaluation import HeldOut, evaluate, held_out_set

PAIRS = HeldOut(texts(40, 3, 12, seed=1), texts(40, 3, 12, seed=2))


def measured(monkeypatch, queries, positives):
    given = iter([queries, positives])
    monkeypatch.setattr(evaluation, "embed", lambda *args, **kwargs: next(given))
    return evaluate(torch.nn.Identity(), PAIRS, temperature=0.025, pooling="mean")


def test_a_perfect_encoder_finds_everything(monkeypatch):
    result = measured(monkeypatch, torch.eye(40), torch.eye(40))
    assert result.loss < 1e-6
    assert (result.recall_at_1, result.recall_at_10, result.mrr) == (1, 1, 1)


def test_a_collapsed_encoder_is_at_chance_and_finds_nothing(monkeypatch):
    result = measured(monkeypatch, torch.ones(40, 8), torch.ones(40, 8))
    assert result.loss == pytest.approx(math.log(40))
    assert (result.recall_at_1, result.recall_at_10) == (0, 0)
    assert result.mrr == pytest.approx(1 / 40)


def test_ranks_count_from_the_best_candidate(monkeypatch):
    positives = torch.eye(40)
    queries = torch.eye(40) + 2 * torch.eye(40).roll(1, dims=1)  # the next one is always better
    result = measured(monkeypatch, queries, positives)
    assert (result.recall_at_1, result.recall_at_10, result.mrr) == (0, 1, 0.5)


def test_the_measure_does_not_depend_on_how_texts_are_batched():
    model = neox(double=False)
    whole = evaluate(model, PAIRS, temperature=0.5, pooling="mean")
    part = HeldOut(PAIRS.queries.take(np.arange(40)), PAIRS.positives)
    assert evaluate(model, part, temperature=0.5, pooling="mean").loss == pytest.approx(whole.loss)


def test_too_few_held_out_pairs_are_refused_with_the_number_there_is():
    column = TokenColumn(np.arange(9, dtype=np.int32), np.arange(10))
    pairs = TokenisedPairs(column, column, np.arange(9, dtype=np.uint64))
    with pytest.raises(ToolkitError, match="only 9 pairs"):
        held_out_set(pairs, 1024)

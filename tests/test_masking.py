"""Equal texts in a batch are no wrong answers to each other, in training and in evaluation."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.tiny import method, neox, texts, tuned
from toolkit.contrast.loss import equal_texts, info_nce
from toolkit.contrast.step import ContrastiveStep, embed
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import Ragged, TokenColumn
from toolkit.pairs.split import Facts
from toolkit.pairs.store import TokenisedPairs
from toolkit.training import evaluation
from toolkit.training.evaluation import HeldOut, evaluate, held_out_set


def repeated(batch: Ragged, *order: int) -> Ragged:
    return batch.take(np.array(order))


def test_equal_texts_have_equal_keys_and_others_do_not():
    batch = texts(300, 1, 9)
    again = batch.take(np.arange(300)[::-1])
    assert (again.keys()[::-1] == batch.keys()).all()
    different = {tuple(batch.ids[a:b]) for a, b in pairwise(batch.offsets)}
    assert len(np.unique(batch.keys())) == len(different)
    swapped = Ragged(np.array([1, 2, 2, 1], np.int32), np.array([2, 2], np.int32))
    assert len(np.unique(swapped.keys())) == 2


def test_what_is_equal_is_symmetric_and_not_oneself():
    equal = equal_texts(np.array([1, 1, 2, 3]), np.array([7, 8, 9, 8]))
    expected = np.zeros((4, 4), bool)
    for one, other in ((0, 1), (1, 3)):  # by the query; by the positive
        expected[one, other] = expected[other, one] = True
    assert (equal == expected).all()
    assert equal_texts(np.arange(4), np.arange(4)) is None


def test_an_ideal_encoder_has_no_loss_however_many_answers_are_shared():
    groups = np.repeat(np.arange(51), 5)
    vectors = torch.eye(51)[groups]
    without = info_nce(vectors, vectors, 0.025).item()
    equal = torch.from_numpy(equal_texts(groups, np.arange(255)))
    assert without == pytest.approx(math.log(5), abs=1e-3)
    assert info_nce(vectors, vectors, 0.025, equal).item() < 1e-3


@pytest.mark.parametrize("chunk_tokens", [None, 20])
def test_the_step_masks_equal_texts_and_its_gradients_are_exact(chunk_tokens):
    queries = repeated(texts(6, 2, 8, seed=1), 0, 1, 2, 0, 3, 4, 5)
    positives = repeated(texts(6, 3, 9, seed=2), 0, 1, 2, 3, 4, 2, 5)
    model = tuned(neox(attention="sdpa"), method("full"))
    result = ContrastiveStep(model, temperature=0.05, chunk_tokens=chunk_tokens)(queries, positives)
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert result.masked == 4  # pairs 0 and 3 by their query, 2 and 5 by their positive
    model.zero_grad()
    vectors = [rows(model, batch) for batch in (queries, positives)]
    scores = torch.nn.functional.cosine_similarity(vectors[0][:, None], vectors[1][None], dim=-1)
    kept = torch.ones(7, 7, dtype=torch.bool)
    for one, other in ((0, 3), (2, 5)):
        kept[one, other] = kept[other, one] = False
    scores = torch.exp(scores / 0.05) * kept
    shares = scores.diagonal() / scores.sum(1), scores.diagonal() / scores.sum(0)
    loss = -sum(share.log().mean() for share in shares) / 2
    loss.backward()
    assert result.loss == pytest.approx(loss.item(), rel=1e-10)
    for name, gradient in ours.items():
        plain = dict(model.named_parameters())[name].grad
        torch.testing.assert_close(gradient, plain, rtol=1e-9, atol=1e-10, msg=name)


def rows(model, batch: Ragged) -> torch.Tensor:
    found = []
    for start, stop in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        ids = torch.from_numpy(batch.ids[start:stop].astype(np.int64))[None]
        found.append(model(ids, use_cache=False).last_hidden_state[0].mean(0))
    return torch.stack(found)


def test_evaluation_masks_equal_texts_in_loss_and_ranks(monkeypatch):
    queries = repeated(texts(4, 2, 6, seed=1), 0, 0, 1, 2)
    pairs = HeldOut(queries, texts(4, 3, 9, seed=2))
    ideal = torch.eye(4)[[0, 0, 1, 2]]
    given = iter([ideal, ideal])
    monkeypatch.setattr(evaluation, "embed", lambda *args, **kwargs: next(given))
    result = evaluate(torch.nn.Identity(), pairs, temperature=0.025, pooling="mean")
    assert result.loss < 1e-6 and result.recall_at_1 == result.mrr == 1
    assert result.masked == 2


def test_the_loss_is_told_by_origin():
    model = neox(double=False)
    origins = np.array([0] * 10 + [1] * 30, np.uint8)
    pairs = HeldOut(texts(40, 3, 12, seed=1), texts(40, 3, 12, seed=2), origins, ("b", "a"))
    result = evaluate(model, pairs, temperature=0.5, pooling="mean")
    assert list(result.loss_by_origin) == ["a", "b"]
    mean = (10 * result.loss_by_origin["b"] + 30 * result.loss_by_origin["a"]) / 40
    assert mean == pytest.approx(result.loss, rel=1e-5)
    assert embed(model, pairs.queries).shape[0] == 40


def column(*ids: int) -> TokenColumn:
    return TokenColumn(np.array(ids, np.int32), np.arange(len(ids) + 1))


def test_texts_that_are_equal_once_cut_are_not_held_out_together():
    keys = np.arange(5, dtype=np.uint64)
    pairs = TokenisedPairs(column(1, 2, 1, 3, 4), column(5, 6, 7, 6, 8), keys)
    chosen = held_out_set(pairs, 3)
    assert chosen.queries.ids.tolist() == [1, 2, 4]
    assert chosen.positives.ids.tolist() == [5, 6, 8]
    with pytest.raises(ToolkitError, match="only 3 pairs"):
        held_out_set(pairs, 4)


def facts(pairs: int, clusters: int) -> Facts:
    return Facts("", pairs, 0, 0, 0, 0, clusters, 0, 0, 0, 0, 0, 0)


def test_pairs_that_all_share_a_query_are_refused_with_the_reason():
    pairs = TokenisedPairs(column(1), column(2), np.zeros(1, np.uint64))
    with pytest.raises(ToolkitError, match="the 900 pairs all belong together, since they share"):
        held_out_set(pairs, 2, facts(900, 1))
    with pytest.raises(ToolkitError, match=r"only 1 pair .* of the 30 clusters into which"):
        held_out_set(pairs, 2, facts(900, 30))

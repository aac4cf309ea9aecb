"""The contrastive step: its loss, and gradients exactly those of one plain pass."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from tests.few import few
from tests.tiny import method, neox, texts, tuned
from toolkit.contrast.loss import info_nce
from toolkit.contrast.step import ContrastiveStep, embed
from toolkit.methods import Method
from toolkit.pairs.ragged import Ragged

METHODS = [
    method("full"),
    method("freeze"),
    method("freeze", trained_blocks=2),
    method("lora"),
    method("lora", lora_targets=("dense_4h_to_h", "query_key_value")),
    method("bias"),
    method("rslora"),
    method("dora"),
    method("hybrid"),
]
QUERIES, POSITIVES = texts(9, 1, 6), texts(9, 2, 13, seed=1)


def plain_embeddings(model: PreTrainedModel, batch: Ragged, pooling: str) -> torch.Tensor:
    """Each text alone through the model: no packing, no padding, no chunks."""
    rows = []
    for start, stop in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        ids = torch.from_numpy(batch.ids[start:stop].astype(np.int64))[None]
        hidden = model(ids, use_cache=False).last_hidden_state[0]
        rows.append(hidden.mean(0) if pooling == "mean" else hidden[-1])
    return torch.stack(rows)


def plain_step(model: PreTrainedModel, pooling: str = "mean") -> tuple[float, dict]:
    queries, positives = (plain_embeddings(model, x, pooling) for x in (QUERIES, POSITIVES))
    similarities = 40 * F.cosine_similarity(queries[:, None], positives[None], dim=-1)
    own = torch.arange(len(similarities))
    loss = (F.cross_entropy(similarities, own) + F.cross_entropy(similarities.T, own)) / 2
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model: PreTrainedModel) -> dict:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_equal_gradients(ours: dict, plain: dict) -> None:
    assert ours.keys() == plain.keys()
    for name, expected in plain.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("attention", few(["eager", "sdpa"], ["sdpa"]))
@pytest.mark.parametrize("pooling", few(["mean", "last"], ["mean"]))
@pytest.mark.parametrize("how", METHODS, ids=str)
def test_gradients_equal_the_plain_steps_for_any_chunk_size(
    how: Method, pooling: str, attention: str
) -> None:
    model = tuned(neox(attention="sdpa"), how)
    loss, expected = plain_step(model, pooling)  # its eager attention is never exact: float32
    model.config._attn_implementation = attention
    for chunk_tokens in (None, 1, 7, 30, 60, 10_000):
        for checkpointing in (False, True):
            step = ContrastiveStep(
                model,
                temperature=1 / 40,
                pooling=pooling,
                chunk_tokens=chunk_tokens,
                checkpointing=checkpointing,
            )
            result = step(QUERIES, POSITIVES)
            assert result.loss == pytest.approx(loss, rel=1e-12)
            assert_equal_gradients(gradients(model), expected)


def test_the_model_is_left_as_it_was_found() -> None:
    model = neox(attention="sdpa")
    forwards = [module.forward for module in model.modules()]
    ContrastiveStep(model, temperature=1 / 40, chunk_tokens=20)(QUERIES, POSITIVES)
    assert model.config._attn_implementation == "sdpa"
    assert [module.forward for module in model.modules()] == forwards


def test_the_loss_of_embeddings_that_tell_nothing_apart_is_the_log_of_their_number() -> None:
    same = torch.ones(8, 4, dtype=torch.float64)
    assert info_nce(same, same, 0.025).item() == pytest.approx(math.log(8))


def test_the_loss_is_symmetric_and_blind_to_length() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, positives = torch.randn(2, 8, 4, generator=generator, dtype=torch.float64)
    loss = info_nce(queries, positives, 0.1)
    torch.testing.assert_close(info_nce(positives, queries, 0.1), loss)
    torch.testing.assert_close(info_nce(3 * queries, positives / 7, 0.1), loss)


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("chunk_tokens", [None, 1, 20, 16_384])
def test_embeddings_come_in_the_order_of_the_texts(pooling: str, chunk_tokens: int | None) -> None:
    model = neox(attention="sdpa")
    batch = texts(17, 1, 12)
    ours = embed(model, batch, pooling=pooling, chunk_tokens=chunk_tokens)
    assert not ours.requires_grad
    torch.testing.assert_close(ours, plain_embeddings(model, batch, pooling).detach())

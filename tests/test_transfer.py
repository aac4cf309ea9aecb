"""What a GPU changes: packed attention, and steps that do not wait; what a CPU can tell of it."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.tiny import VOCABULARY, method, neox, texts, tuned
from toolkit.contrast import attention, bodies, transfer
from toolkit.contrast.step import ContrastiveStep, embed

QUERIES, POSITIVES = texts(9, 1, 6), texts(9, 2, 40, seed=1)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def kernel_for(causal=True):
    return partial(kernel, causal=causal)


def kernel(query, key, value, bounds, bounds_again, longest, longest_again, *, causal=True):
    """What torch's kernel is to do: each text by itself; shape [tokens, heads, size]."""
    assert bounds.dtype == torch.int32 and bounds is bounds_again
    assert longest == longest_again == int(bounds.diff().max())
    parts = []
    for a, b in pairwise(bounds):
        q, k, v = (x[a:b].transpose(0, 1) for x in (query, key, value))
        parts.append(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("seen", ["causal", "bidirectional"])
@pytest.mark.parametrize("chunk_tokens", [None, 30])
@pytest.mark.parametrize("name", ["full", "freeze", "lora", "bias"])
def test_packed_attention_gives_the_gradients_of_windows(monkeypatch, name, chunk_tokens, seen):
    def gradients():
        model = tuned(neox(), method(name))
        model.config.is_causal = seen == "causal"
        step = ContrastiveStep(model, temperature=0.05, chunk_tokens=chunk_tokens)
        loss = step(QUERIES, POSITIVES).loss
        return loss, {key: p.grad for key, p in model.named_parameters() if p.grad is not None}

    loss, expected = gradients()
    called = []
    monkeypatch.setattr(attention, "_kernel", lambda c: called.append(c) or kernel_for(c))
    for module in (attention, bodies):
        monkeypatch.setattr(module, "is_packed", lambda *_: True)
    packed_loss, packed = gradients()
    assert set(called) == {seen == "causal"}
    assert packed_loss == pytest.approx(loss, rel=1e-12)
    assert packed.keys() == expected.keys()
    for key, gradient in packed.items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-9, atol=1e-10, msg=key)


def test_packed_attention_scales_as_it_is_asked(monkeypatch):
    mixed = torch.randn(10, 2 * 3 * 8, dtype=torch.float64)
    layout = attention.lay_out(np.zeros(10), np.array([3, 7]), np.array([16, 16]), mixed)
    expected = attention.attend(mixed, layout, 2, 0.7)
    monkeypatch.setattr(attention, "_kernel", kernel_for)
    torch.testing.assert_close(attention._packed(mixed, layout, 2, 0.7, None, True), expected)


def test_attention_is_packed_on_a_gpu_alone():
    assert not attention.is_packed(torch.device("cpu"), torch.bfloat16, 64)
    assert not attention.is_packed(torch.device("cuda"), torch.float32, 64)
    assert not attention.is_packed(torch.device("cuda"), torch.bfloat16, 12)


def test_this_torch_has_the_kernel_and_takes_its_arguments():
    kept = attention._kernel()
    assert kept is not None
    assert kept.keywords in ({"window_size": (-1, 0)}, {"is_causal": True})
    fake = [torch.empty(10, 2, 8, dtype=torch.bfloat16, device="meta") for _ in range(3)]
    bounds = torch.empty(3, dtype=torch.int32, device="meta")
    assert kept(*fake, bounds, bounds, 7, 7).shape == (10, 2, 8)


def test_what_is_sent_arrives_whole():
    arrays = [np.arange(5), np.array([[True, False], [False, True]]), np.array([2**40])]
    numbers, flags, large = transfer.send(arrays, torch.device("cpu"))
    assert numbers.tolist() == [0, 1, 2, 3, 4] and large.item() == 2**40
    assert flags.bool().tolist() == arrays[1].tolist()
    assert transfer.Later(torch.tensor(0.5, requires_grad=True)).item() == 0.5


@GPU
@pytest.mark.parametrize("name", ["full", "freeze", "lora", "bias"])
def test_a_step_on_a_gpu_waits_for_nothing(name):
    model = tuned(neox(double=False), method(name)).cuda()
    step = ContrastiveStep(model, temperature=0.05, precision="bfloat16")
    optimizer = torch.optim.AdamW(step.trained, lr=1e-3, fused=True)
    for _ in range(2):  # its kernels are loaded and its memory measured
        step(QUERIES, POSITIVES), optimizer.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = step(QUERIES, POSITIVES)
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(result.loss)


@GPU
def test_packed_attention_on_a_gpu_gives_the_embeddings_of_a_processor():
    batch = texts(20, 1, 60)
    assert batch.ids.max() < VOCABULARY
    model = neox(double=False)
    expected = embed(model, batch, precision="float32")
    found = embed(model.cuda(), batch, precision="bfloat16").cpu()
    assert F.cosine_similarity(found, expected).min() > 0.999

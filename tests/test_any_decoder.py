"""Any decoder is counted right and run exactly, or refused in one sentence before a plan."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from tests.families import COUNTED, ONLY_CAUSAL, REFUSED, config_of
from tests.few import few
from tests.tiny import SHAPE, method, neox, texts, tuned
from toolkit.contrast.attention import attend
from toolkit.contrast.bodies import HubBody
from toolkit.contrast.loss import info_nce
from toolkit.contrast.step import ContrastiveStep
from toolkit.decoders import (
    Decoder,
    Shape,
    check_attention,
    config_shape,
    find,
    llama_shape,
    load,
    neox_shape,
)
from toolkit.errors import ToolkitError
from toolkit.flops import step_flops
from toolkit.methods import METHODS
from toolkit.training.guard import try_out

QUERIES, POSITIVES = texts(5, 1, 7), texts(5, 2, 11, seed=1)
LENGTHS = np.concatenate((QUERIES.lengths, POSITIVES.lengths))


def build(name, attention="eager", *, bidirectional=False):
    """A decoder of the family with random weights, none of them zero or one throughout."""
    config = config_of(name)
    if bidirectional:
        config.is_causal = False
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(
            config, attn_implementation=attention, dtype=torch.float32
        ).eval()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
    return model


def plain(model, queries, positives, pooling):
    """Loss and gradients by one padded forward pass of each side, with a mask."""

    def embedded(batch):
        longest = int(batch.lengths.max())
        real = torch.arange(longest)[None] < torch.from_numpy(batch.lengths)[:, None]
        ids = torch.zeros(real.shape, dtype=torch.int64)
        ids[real] = torch.from_numpy(batch.ids).long()
        states = model(input_ids=ids, attention_mask=real.long(), use_cache=False).last_hidden_state
        if pooling == "last":
            return states[torch.arange(len(batch)), real.sum(1) - 1]
        return (states * real[..., None]).sum(1) / real.sum(1)[:, None]

    model.zero_grad()
    loss = info_nce(embedded(queries), embedded(positives), 1 / 20)
    loss.backward()
    return loss.item(), {k: p.grad for k, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_are_counted(name):
    shape, model = config_shape(config_of(name), name), build(name)
    positions = [
        k
        for k in dict(model.named_parameters())
        if any(x in k for x in ("wpe", "positions_embed", "embed_positions"))
    ]
    counted = sum(p.numel() for k, p in model.named_parameters() if k not in positions)
    assert shape.encoder_params == counted


BOTH = [(name, False) for name in COUNTED] + [(n, True) for n in COUNTED if n not in ONLY_CAUSAL]
# Learned positions and transposed layers; ALiBi; padded; packed, with shared keys; soft caps.
KINDS = [("gpt2", False), ("bloom", False), ("codegen", True), ("llama", True), ("gemma2", False)]


@pytest.mark.parametrize(
    ("name", "bidirectional"),
    few(BOTH, KINDS),
    ids=[f"{n}{' bidirectional' * b}" for n, b in BOTH],
)
def test_flops_loss_and_gradients_are_those_of_a_plain_masked_pass(name, bidirectional):
    shape = config_shape(config_of(name), name)
    for how in METHODS:
        if how == "bias" and not shape.biases:
            continue
        with warnings.catch_warnings(action="ignore"):  # peft's, of GPT-2's transposed layers
            model = tuned(build(name, bidirectional=bidirectional), method(how, shape))
        described = method(how, shape)
        for pooling in ("mean", "last"):
            step = ContrastiveStep(model, temperature=1 / 20, pooling=pooling)
            step.plan(LENGTHS)  # which tries out what memory it takes
            with FlopCounterMode(display=False) as referee:
                result = step(QUERIES, POSITIVES)
            ours = {k: p.grad for k, p in model.named_parameters() if p.requires_grad}
            flop = step_flops(
                shape, described, QUERIES.lengths, POSITIVES.lengths, result.execution
            )
            # The angles of rotary positions are a product too, of some hundred FLOP.
            assert flop.hardware == pytest.approx(referee.get_total_flops(), rel=2e-3)
            loss, theirs = plain(model, QUERIES, POSITIVES, pooling)
            assert result.loss == pytest.approx(loss, rel=1e-4), how
            for key, expected in theirs.items():
                if expected is None:  # a layer that this family leaves out of its forward pass
                    assert ours[key] is None or not ours[key].any()
                    continue
                near = 2e-3 * float(expected.abs().max()) + 1e-6
                torch.testing.assert_close(ours[key], expected, rtol=0, atol=near)


@pytest.mark.parametrize(
    "name", few(["gemma2", "bloom", "phi3", "glm4", "gpt2"], ["bloom", "gpt2"])
)
@pytest.mark.parametrize("how", METHODS)
@pytest.mark.parametrize("settings", [{"checkpointing": True}, {"chunk_tokens": 30}], ids=str)
def test_recomputation_is_counted_too(name, how, settings):
    shape = config_shape(config_of(name), name)
    if how == "bias" and not shape.biases:
        pytest.skip("no biases")
    with warnings.catch_warnings(action="ignore"):
        model = tuned(build(name), method(how, shape))
    step = ContrastiveStep(model, temperature=1 / 20, **settings)
    step.plan(LENGTHS)
    with FlopCounterMode(display=False) as referee:
        result = step(QUERIES, POSITIVES)
    flop = step_flops(
        shape, method(how, shape), QUERIES.lengths, POSITIVES.lengths, result.execution
    )
    assert flop.hardware == pytest.approx(referee.get_total_flops(), rel=5e-3)


@pytest.mark.parametrize("name", COUNTED)
def test_bidirectional_attention_is_exact_or_refused_before_a_plan(name, tmp_path):
    config_of(name).save_pretrained(tmp_path)
    check_attention(str(tmp_path), "causal", 75)
    if name not in ONLY_CAUSAL:
        check_attention(str(tmp_path), "bidirectional", 75)
        return
    with pytest.raises(ToolkitError, match=ONLY_CAUSAL[name]) as caught:
        check_attention(str(tmp_path), "bidirectional", 75)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mistral", "gemma2"])
def test_texts_longer_than_a_sliding_window_are_not_bidirectional(name, tmp_path):
    config = config_of(name)
    config.sliding_window = 48
    config.save_pretrained(tmp_path)
    check_attention(str(tmp_path), "bidirectional", 48)
    with pytest.raises(ToolkitError, match="texts of 49 tokens are longer than its attention win"):
        check_attention(str(tmp_path), "bidirectional", 49)


@pytest.mark.parametrize("name", ["llama", "gpt-neox", "gemma2", "gptj"])
def test_a_bidirectional_decoder_is_saved_and_loaded_as_one(name, tmp_path):
    build(name).save_pretrained(tmp_path / "decoder")
    decoder = find(str(tmp_path / "decoder"))
    model = load(decoder, bidirectional=True)
    model.save_pretrained(tmp_path / "encoder")
    again = AutoModel.from_pretrained(tmp_path / "encoder", dtype=torch.float32)
    ids = torch.arange(9)[None]
    states = [m(ids, use_cache=False).last_hidden_state for m in (model, again, load(decoder))]
    torch.testing.assert_close(states[0], states[1])
    assert (states[0] - states[2]).abs().max() > 1e-3
    full = method("full", decoder.shape)
    try_out(tuned(model, full), decoder, full)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_counted_right_is_refused_before_a_plan(name, tmp_path):
    config_of(name).save_pretrained(tmp_path)
    with pytest.raises(ToolkitError, match=REFUSED[name][2]) as caught:
        find(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_shape_written_down_is_what_is_seen():
    sizes = {"vocabulary": 97, "hidden": 32, "layers": 2, "heads": 4}
    assert config_shape(config_of("gpt-neox sequential"), "x") != neox_shape(**sizes)
    assert config_shape(neox(neox_shape(**sizes)).config, "x") == neox_shape(**sizes)
    llama = llama_shape(**sizes, key_value_heads=2, intermediate=48)
    assert config_shape(config_of("llama"), "x") == llama


def test_a_norm_before_the_blocks_is_no_final_one():
    shape = config_shape(config_of("bloom"), "bloom")
    assert (shape.first_norm_weights, shape.final_norm_weights) == (32, 32)
    model = tuned(build("bloom"), method("freeze", shape, trained_blocks=1))
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    assert "ln_f.weight" in trained and "word_embeddings_layernorm.weight" not in trained


@pytest.mark.parametrize("name", ["bloom", "gpt-neo", "gptj"])
def test_a_decoder_without_fused_attention_is_loaded_with_plain_one(name, tmp_path):
    build(name).save_pretrained(tmp_path)
    decoder = find(str(tmp_path))
    model = load(decoder)
    try_out(tuned(model, method("full", decoder.shape)), decoder, method("full", decoder.shape))


def guarded(shape: Shape):
    model = tuned(neox(double=False), method("full"))
    try_out(model, Decoder("tiny", shape, ""), method("full", shape))
    return model


def test_the_guard_lets_a_right_count_pass_and_leaves_no_gradients():
    model = guarded(neox_shape(vocabulary=97, hidden=16, layers=3, heads=2))
    assert all(p.grad is None for p in model.parameters())
    assert model.config._attn_implementation == "eager"


def test_the_guard_refuses_a_count_that_does_not_hold_with_both_numbers():
    shape = neox_shape(vocabulary=97, hidden=16, layers=3, heads=2)
    wrong = replace(shape, products=shape.products[1:])
    with pytest.raises(ToolkitError, match=r"[\d,]+ FLOP by count and [\d,]+ by torch's \(-\d"):
        guarded(wrong)


def test_the_guard_refuses_a_decoder_that_runs_otherwise_than_by_itself(monkeypatch):
    shape = config_shape(config_of("llama"), "llama")
    trunk = HubBody.trunk
    monkeypatch.setattr(HubBody, "trunk", lambda *a, **k: trunk(*a, **k) * 1.05)
    model = tuned(build("llama"), method("full", shape))
    with pytest.raises(ToolkitError, match=r"hidden states are 5\.0% of their size"):
        try_out(model, Decoder("llama", shape, ""), method("full", shape))


def test_the_guard_refuses_a_decoder_that_stays_causal(monkeypatch):
    model = tuned(neox(double=False), method("full"))
    model.config.is_causal = False
    monkeypatch.setattr("toolkit.contrast.bodies.attend", partial(_always_causal, attend))
    monkeypatch.setattr("toolkit.training.guard._masked", lambda model, texts: torch.zeros(1))
    monkeypatch.setattr("toolkit.training.guard.TOLERANCE", float("inf"))
    with pytest.raises(ToolkitError, match="is not bidirectional as transformers runs it"):
        try_out(model, Decoder("tiny", SHAPE, ""), method("full"))


def _always_causal(attend, *args, causal, **kwargs):
    return attend(*args, causal=True, **kwargs)


def test_the_guard_takes_less_than_a_step_of_a_run():
    import time

    shape = neox_shape(vocabulary=97, hidden=16, layers=3, heads=2)
    guarded(shape)
    started = time.perf_counter()
    guarded(shape)
    assert time.perf_counter() - started < 1.0


def test_a_shape_is_seen_once_for_a_configuration(monkeypatch):
    config = config_of("qwen2")
    first = config_shape(config, "x")
    monkeypatch.setattr("toolkit.decoders.tracing.trace", lambda *_: pytest.fail("seen again"))
    assert config_shape(config_of("qwen2"), "y") is first
    config.num_hidden_layers = 1
    with pytest.raises(pytest.fail.Exception):
        config_shape(config, "x")

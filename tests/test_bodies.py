"""Bodies: any decoder of transformers runs packed, or padded, exactly as it would alone."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from tests.tiny import method, neox, texts, tuned
from toolkit.contrast.bodies import Body, HubBody, LlamaBody, NeoxBody, body_of
from toolkit.contrast.families import RmsNorm
from toolkit.contrast.packing import plan_step
from toolkit.contrast.step import ContrastiveStep, lay_out_all
from toolkit.decoders import config_shape
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import Ragged

LLAMA = {
    "hidden_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 40,
    "vocab_size": 97,
}
CONFIGS = {
    "llama": LLAMA,
    "mistral": LLAMA | {"head_dim": 8, "sliding_window": None},
    "gpt2": {"n_embd": 24, "n_layer": 3, "n_head": 4, "vocab_size": 97},
    "qwen2": LLAMA,
    "bloom": {"hidden_size": 24, "n_layer": 3, "n_head": 4, "vocab_size": 97},
}
BATCH = texts(9, 1, 13)


def decoder(kind: str, **settings: object) -> PreTrainedModel:
    config = AutoConfig.for_model(kind, **CONFIGS[kind], **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config, attn_implementation="eager").eval()
        for parameter in model.parameters():
            if parameter.dim() == 1:  # biases of zero and norms of one would hide mistakes
                parameter.data += 0.1 * torch.randn_like(parameter)
        return model


def alone(model: PreTrainedModel, batch: Ragged) -> list[torch.Tensor]:
    """The states of each text by itself through the model's own forward."""
    bounds = zip(batch.offsets[:-1], batch.offsets[1:], strict=True)
    ids = [torch.from_numpy(batch.ids[a:b].astype(np.int64))[None] for a, b in bounds]
    return [model(x, use_cache=False).last_hidden_state[0] for x in ids]


def together(body: Body, batch: Ragged) -> list[torch.Tensor]:
    """The states of each text from one packed chunk, in the texts' order."""
    execution = plan_step(batch.lengths, packed=body.packed)
    with body.ready():
        (layout,) = lay_out_all(batch, execution, body.like)
        tokens = body.embedding(layout.ids)
        states = body.trunk(body.prefix(tokens, layout), layout)
    parts = states.split(layout.lengths.tolist())
    return [parts[place] for place in np.argsort(execution.order)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("trained_blocks", [None, 1, 3])
def test_a_decoder_in_a_packed_chunk_gives_each_text_its_own_states(
    kind: str, trained_blocks: int | None
) -> None:
    model = decoder(kind)
    shape = config_shape(model.config, kind)
    name = "full" if trained_blocks is None else "freeze"
    tuned(model, method(name, shape, trained_blocks=trained_blocks))
    body = body_of(model)
    for ours, expected in zip(together(body, BATCH), alone(model, BATCH), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_common_architectures_run_packed_and_two_families_by_bodies_of_their_own() -> None:
    assert isinstance(body_of(neox()), NeoxBody)
    assert all(type(body_of(decoder(k))) is LlamaBody for k in ("llama", "mistral", "qwen2"))
    assert body_of(decoder("gpt2")).packed


@pytest.mark.parametrize(
    "settings",
    [
        {"sliding_window": 64, "use_sliding_window": True, "max_window_layers": 1},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
    ],
)
def test_a_decoder_that_differs_from_its_family_runs_by_its_own_code(settings: dict) -> None:
    assert isinstance(body_of(decoder("qwen2", **settings)), HubBody)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", ["full", "freeze", "lora", "dora"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_familys_body_gives_the_gradients_of_the_general_one(
    kind: str, name: str, bidirectional: bool
) -> None:
    biased = {"attention_bias": True, "mlp_bias": True} if kind == "llama" else {}
    model = decoder(kind, **biased)
    model.config.is_causal = not bidirectional
    tuned(model, method(name, config_shape(model.config, kind)))
    batch = texts(7, 1, 6), texts(7, 2, 13, seed=1)
    step = ContrastiveStep(model, temperature=1 / 10)
    general = ContrastiveStep(model, temperature=1 / 10)
    general.body = HubBody(model)
    expected = general(*batch).loss
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert step(*batch).loss == pytest.approx(expected, rel=1e-5)
    for key, gradient in gradients.items():
        torch.testing.assert_close(
            model.get_parameter(key).grad, gradient, rtol=1e-3, atol=1e-4 * float(gradient.norm())
        )


def test_the_root_mean_square_norm_has_the_gradients_of_its_formula() -> None:
    states = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *x: RmsNorm.apply(*x, 1e-5), (states, weight))


def test_an_architecture_whose_positions_are_not_told_runs_padded() -> None:
    body = body_of(decoder("bloom"))  # ALiBi: positions follow from the mask alone
    assert not body.packed


@pytest.mark.parametrize("name", ["full", "freeze", "lora", "bias"])
@pytest.mark.parametrize("packed", [True, False])
def test_the_general_body_gives_pythias_gradients_too(name: str, packed: bool) -> None:
    model = tuned(neox(attention="sdpa"), method(name))
    queries, positives = texts(7, 1, 6), texts(7, 2, 13, seed=1)
    expected = ContrastiveStep(model, temperature=1 / 40)(queries, positives)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for chunk_tokens in (None, 25):
        for checkpointing in (False, True):
            step = ContrastiveStep(
                model,
                temperature=1 / 40,
                chunk_tokens=chunk_tokens,
                checkpointing=checkpointing,
            )
            step.body = HubBody(model)
            assert step.body.packed
            step.body.packed = packed
            assert step(queries, positives).loss == pytest.approx(expected.loss, rel=1e-9)
            for key, gradient in gradients.items():
                torch.testing.assert_close(
                    model.get_parameter(key).grad, gradient, rtol=1e-7, atol=1e-9
                )


def test_dropout_is_off_during_a_step_and_back_on_after_it() -> None:
    model = decoder("gpt2").train()  # its dropout is 0.1
    step = ContrastiveStep(model, temperature=1 / 40, chunk_tokens=20)
    losses = {step(texts(5, 1, 6), texts(5, 2, 13, seed=1)).loss for _ in range(3)}
    assert len(losses) == 1
    assert model.training


def test_a_text_longer_than_a_sliding_window_is_refused() -> None:
    config = AutoConfig.for_model("mistral", **CONFIGS["llama"], sliding_window=24)
    model = AutoModel.from_config(config)
    step = ContrastiveStep(model, temperature=1 / 40)
    step(texts(4, 1, 16), texts(4, 1, 16))
    with pytest.raises(ToolkitError, match="attention window of 24"):
        step(texts(4, 1, 16), texts(4, 40, 41))

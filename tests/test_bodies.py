"""Bodies: any decoder of transformers runs packed, or padded, exactly as it would alone."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from tests.tiny import method, neox, texts, tuned
from toolkit.contrast.bodies import Body, HubBody, NeoxBody, body_of
from toolkit.contrast.packing import plan_step
from toolkit.contrast.step import ContrastiveStep, lay_out_all
from toolkit.decoders import config_shape
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import Ragged

CONFIGS = {
    "llama": {
        "hidden_size": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 3,
        "intermediate_size": 40,
        "vocab_size": 97,
    },
    "gpt2": {"n_embd": 24, "n_layer": 3, "n_head": 4, "vocab_size": 97},
    "qwen2": {
        "hidden_size": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 3,
        "intermediate_size": 40,
        "vocab_size": 97,
    },
    "bloom": {"hidden_size": 24, "n_layer": 3, "n_head": 4, "vocab_size": 97},
}
BATCH = texts(9, 1, 13)


def decoder(kind: str) -> PreTrainedModel:
    config = AutoConfig.for_model(kind, **CONFIGS[kind])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(config, attn_implementation="eager").eval()


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


def test_common_architectures_run_packed_and_pythias_by_its_own_body() -> None:
    assert isinstance(body_of(neox()), NeoxBody)
    assert all(body_of(decoder(kind)).packed for kind in ("llama", "gpt2", "qwen2"))


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

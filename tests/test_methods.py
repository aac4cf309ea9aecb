"""Fine-tuning methods: what each trains, and what it refuses."""

import pytest
import torch

from tests.tiny import SHAPE, method, neox, texts, tuned
from toolkit.contrast.step import ContrastiveStep
from toolkit.decoders import neox_shape
from toolkit.errors import ToolkitError
from toolkit.methods import METHODS, Method
from toolkit.methods.lora import default_rank


def expected_to_move(how: Method, name: str) -> bool:
    block = int(name.split(".")[1]) if name.startswith("layers.") else None
    if how.name == "full":
        return True
    if how.name == "freeze":
        frozen = SHAPE.layers - how.trained_blocks
        return name.startswith("final_layer_norm") or (block is not None and block >= frozen)
    return ".lora_" in name if how.name == "lora" else name.endswith(".bias")


@pytest.mark.parametrize(
    "how",
    [
        method("full"),
        method("freeze"),
        method("freeze", trained_blocks=2),
        method("freeze", trained_blocks=3),
        method("lora"),
        method("lora", lora_targets=("query_key_value",)),
        method("bias"),
    ],
    ids=str,
)
def test_a_step_moves_the_methods_parameters_and_no_other(how: Method) -> None:
    model = tuned(neox(), how)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    ContrastiveStep(model, temperature=0.025)(texts(6, 1, 9), texts(6, 2, 12, seed=1))
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if expected_to_move(how, name)}
    assert any(name.startswith("layers.2.") for name in moved)


@pytest.mark.parametrize("name", METHODS)
def test_the_count_of_trainable_parameters_is_the_models_own_without_embeddings(name: str) -> None:
    how = method(name)
    model = how.apply(neox(), seed=0)
    counted = sum(
        p.numel() for key, p in model.named_parameters() if p.requires_grad and "emb" not in key
    )
    assert how.trainable_params(SHAPE) == counted


def test_defaults_are_half_the_blocks_and_a_low_rank_on_linears_and_embedding() -> None:
    shape = neox_shape(vocabulary=97, hidden=64, layers=6, heads=4)
    assert method("freeze", shape).trained_blocks == 3
    assert method("freeze", shape, trained_blocks=0.01).trained_blocks == 1
    lora = method("lora", shape, lora_rank=None)
    assert (lora.lora_rank, lora.lora_alpha) == (16, 16.0)
    assert lora.lora_targets == (
        "query_key_value",
        "dense",
        "dense_h_to_4h",
        "dense_4h_to_h",
        "embed_in",
    )


def test_the_default_rank_is_a_quarter_of_the_width_from_16_to_32() -> None:
    """32 at Pythia's widths, as the study found; 16 or the width below."""
    widths = (8, 16, 24, 64, 96, 128, 768)
    shapes = [neox_shape(vocabulary=97, hidden=h, layers=1, heads=1) for h in widths]
    assert [default_rank(shape) for shape in shapes] == [8, 16, 16, 16, 24, 32, 32]


def test_adapters_start_alike_for_the_same_seed_and_leave_the_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    weights = [method("lora").apply(neox(), seed=seed).state_dict() for seed in (3, 3, 4)]
    assert torch.equal(torch.random.get_rng_state(), state)
    key = "layers.0.attention.dense.lora_A.default.weight"
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], weights[2][key])


def test_a_fresh_adapter_changes_nothing() -> None:
    ids = torch.arange(7)[None]
    plain = neox()(ids).last_hidden_state
    assert torch.equal(method("lora").apply(neox(), seed=0)(ids).last_hidden_state, plain)


def test_a_rank_over_a_layers_width_is_refused_with_the_layers_name() -> None:
    with pytest.raises(ToolkitError, match=r"32 is over the width 16 .*query_key_value"):
        method("lora", lora_rank=32)
    assert method("lora", lora_rank=16).lora_rank == 16


def test_an_unknown_target_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ToolkitError, match="did you mean query_key_value"):
        method("lora", lora_targets=("query_key",))


def test_more_trained_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(ToolkitError, match="only 3 blocks"):
        method("freeze", trained_blocks=4)

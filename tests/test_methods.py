"""Fine-tuning methods: what each trains, and what it refuses."""

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny import SHAPE, method, neox, texts, tuned
from toolkit.contrast.step import ContrastiveStep
from toolkit.decoders import find, neox_shape
from toolkit.errors import ToolkitError
from toolkit.flops import step_flops
from toolkit.methods import METHODS, STUDIED, Method
from toolkit.methods.lora import default_rank
from toolkit.runs import RunConfig
from toolkit.synthetic import TRUTH, run_table
from toolkit.words import method_name

ROOT = Path(__file__).resolve().parent.parent


def expected_to_move(how: Method, name: str) -> bool:
    block = int(name.split(".")[1]) if name.startswith("layers.") else None
    if how.name == "full":
        return True
    if how.name == "freeze":
        frozen = SHAPE.layers - how.trained_blocks
        return name.startswith("final_layer_norm") or (block is not None and block >= frozen)
    if how.name == "hybrid":
        top = block is None or block >= SHAPE.layers - how.trained_blocks
        return ".lora_" in name or (top and not name.startswith("embed_in"))
    return name.endswith(".bias") if how.name == "bias" else ".lora_" in name


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
        method("rslora"),
        method("dora"),
        method("dora", lora_targets=("dense",)),
        method("hybrid"),
        method("hybrid", trained_blocks=2),
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


@pytest.mark.parametrize("name", METHODS)
def test_what_an_encoder_is_kept_as_is_all_that_is_trained(name: str) -> None:
    model = method(name).apply(neox(), seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert method(name).trained_values(SHAPE) == trained


def test_a_rank_stabilised_scale_falls_with_the_root_of_the_rank() -> None:
    for name, scale in (("lora", 6 / 4), ("rslora", 6 / 2)):
        model = method(name, lora_alpha=6).apply(neox(), seed=0)
        assert model.layers[0].attention.dense.scaling["default"] == scale


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_dora_is_a_length_times_the_direction_of_the_adapted_weight(bias: bool) -> None:
    """m (W + s B A) / |W + s B A|, by rows: written out, without peft."""
    model = tuned(neox(), method("dora", lora_alpha=2))
    layer = model.layers[1].attention.dense
    layer.lora_magnitude_vector["default"].weight.mul_(1.7)
    if not bias:
        layer.base_layer.bias = None
    low = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    weight = layer.base_layer.weight + 2 / 4 * low
    weight = layer.lora_magnitude_vector["default"].weight[:, None] * weight
    weight /= (layer.base_layer.weight + 2 / 4 * low).norm(dim=1, keepdim=True)
    states = torch.randn(5, SHAPE.hidden, dtype=torch.float64)
    expected = torch.nn.functional.linear(states, weight, layer.base_layer.bias)
    torch.testing.assert_close(layer(states), expected)


def test_the_hybrid_adapts_no_block_that_it_trains() -> None:
    model = method("hybrid", trained_blocks=2).apply(neox(), seed=0)
    adapted = {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    assert adapted == {
        "embed_in",
        *(f"layers.0.{linear.name}" for linear in SHAPE.block),
    }


def test_a_hybrid_without_a_block_to_adapt_is_refused() -> None:
    with pytest.raises(ToolkitError, match="trained_blocks is 3, all that the decoder has"):
        method("hybrid", trained_blocks=3)


@pytest.mark.parametrize("name", ["lora", "rslora", "dora", "hybrid"])
def test_adapters_on_layers_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(ToolkitError, match="has no layer 'q_proj'"):
        method(name, lora_targets=("q_proj",))


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(ToolkitError, match="unknown method 'qdora'; did you mean dora"):
        RunConfig("small-7k", 1e9, method="qdora")


def test_a_setting_of_other_methods_is_refused_with_their_names() -> None:
    with pytest.raises(ToolkitError, match="trained_blocks belongs to method freeze or hybrid"):
        RunConfig("small-7k", 1e9, method="dora", trained_blocks=1)


def test_a_method_is_one_class_and_a_name_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Norms(Method):
        """The gains of norms are trained."""

        name, title, colour, marker, spellings = "norms", "norm tuning", "#777777", "x", "norms"

        def trains(self, parameter: str, above: int) -> bool:
            return "norm" in parameter and parameter.endswith(".weight")

    monkeypatch.setitem(METHODS, "norms", Norms)
    how = method("norms")
    model = how.apply(neox(double=False), seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert how.trainable_params(SHAPE) == trained == 7 * SHAPE.hidden
    step = ContrastiveStep(model, temperature=0.025)
    sides = texts(4, 2, 9), texts(4, 2, 9, seed=1)
    execution = step.plan(np.concatenate([side.lengths for side in sides]))
    counted = step_flops(SHAPE, how, sides[0].lengths, sides[1].lengths, execution)
    with FlopCounterMode(display=False) as referee:
        step(*sides)
    assert counted.hardware == referee.get_total_flops()
    assert method_name("norms") == "norm tuning"


def test_the_parameter_cell_of_a_run_has_the_defaults_of_its_configuration() -> None:
    cells = json.loads((ROOT / "notebooks" / "train.ipynb").read_text())["cells"]
    (cell,) = (c for c in cells if "parameters" in c["metadata"].get("tags", ()))
    given: dict = {}
    exec("".join(cell["source"]), given)
    defaults = {f.name: f.default for f in fields(RunConfig) if f.default is not MISSING}
    assert {name: given[name] for name in defaults} == defaults


def test_made_up_runs_have_the_studys_methods_and_any_others_settings() -> None:
    assert tuple(TRUTH) == STUDIED
    table = run_table(
        truth={name: TRUTH["lora"] for name in ("full", "rslora", "hybrid")},
        decoders=("small-7k",), budgets=(1e11,), ranks=(4, 8), shares=(0.25, 0.5),
    )  # fmt: skip
    assert table["run"].is_unique
    assert dict(table["method"].value_counts()) == {"hybrid": 4, "rslora": 2, "full": 1}
    assert set(table.loc[table.method == "rslora", "lora_rank"]) == {4, 8}
    assert table.loc[table.method == "hybrid", "trained_blocks"].notna().all()


def test_rank_stabilised_lora_learns_at_a_quarter_of_loras_rate():
    decoder = find("small-38k")
    rates = [METHODS[name].learning_rate(decoder) for name in ("rslora", "lora")]
    assert 4 * rates[0] == pytest.approx(rates[1])

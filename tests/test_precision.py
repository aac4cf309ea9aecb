"""bfloat16 products around float32 sums: gradients to within rounding, and nothing that stalls."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedModel

from tests.sweeps import record
from tests.test_bodies import decoder
from tests.tiny import method, neox, texts, tuned
from toolkit import machine, runs
from toolkit.contrast import memory, precision
from toolkit.contrast.attention import lay_out
from toolkit.contrast.bodies import body_of
from toolkit.contrast.loss import info_nce
from toolkit.contrast.step import ContrastiveStep, embed
from toolkit.decoders import config_shape, neox_shape
from toolkit.errors import ToolkitError
from toolkit.methods import METHODS
from toolkit.pairs.ragged import Ragged
from toolkit.recipe.comparable import Comparable
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.training.loop import Progress
from toolkit.training.preparation import make_optimizer, prepare
from toolkit.training.run import train

CPU = torch.device("cpu")
ROUNDING = 2**-8  # of one bfloat16 operand, relative
BATCHES = [(texts(12, 2, 9, seed=2 * i), texts(12, 5, 40, seed=2 * i + 1)) for i in range(6)]
QUERIES, POSITIVES = BATCHES[0]
pytestmark = pytest.mark.filterwarnings("ignore:.*has no faster products in bfloat16")


def tuned_model(kind: str, name: str) -> PreTrainedModel:
    if kind == "neox":
        shape = neox_shape(vocabulary=97, hidden=32, layers=3, heads=2)
        return tuned(neox(shape, attention="sdpa", double=False), method(name, shape))
    model = decoder(kind)
    return tuned(model, method(name, config_shape(model.config, kind)))


def gradients(
    model: PreTrainedModel, how: str, batch: tuple[Ragged, Ragged] = BATCHES[0], **settings: object
) -> dict[str, torch.Tensor]:
    ContrastiveStep(model, temperature=0.1, precision=how, **settings)(*batch)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def autocast_gradients(
    model: PreTrainedModel, batch: tuple[Ragged, Ragged]
) -> dict[str, torch.Tensor]:
    """By torch's own means: each text alone through the model's own forward, under autocast."""
    queries, positives = (
        torch.stack([autocast_embedding(model, texts, row) for row in range(len(texts))])
        for texts in batch
    )
    model.zero_grad()
    info_nce(queries, positives, 0.1).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def autocast_embedding(model: PreTrainedModel, batch: Ragged, row: int) -> torch.Tensor:
    ids = torch.from_numpy(batch.ids[batch.offsets[row] : batch.offsets[row + 1]].astype(np.int64))
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.eval()(ids[None], use_cache=False).last_hidden_state[0]
    return hidden.float().mean(0)


def pooled(ours: list[dict], exact: list[dict]) -> dict[str, float]:
    """By parameter, the size of the errors over all batches; of one alone it is luck."""
    assert all(mine.keys() == theirs.keys() for mine, theirs in zip(ours, exact, strict=True))
    assert {gradient.dtype for each in ours for gradient in each.values()} == {torch.float32}
    return {
        key: math.hypot(
            *(float((a[key] - b[key]).norm()) for a, b in zip(ours, exact, strict=True))
        )
        for key in exact[0]
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [("bloom", "full"), *itertools.product(("neox", "gpt2", "qwen2"), METHODS)],
)
def test_gradients_are_as_near_to_float32s_as_torchs_own_autocast_comes(
    kind: str, name: str
) -> None:
    model = tuned_model(kind, name)
    exact = [gradients(model, "float32", batch=batch) for batch in BATCHES]
    allowed = pooled([autocast_gradients(model, batch) for batch in BATCHES], exact)
    size = pooled([{k: torch.zeros_like(g) for k, g in each.items()} for each in exact], exact)
    negligible = 1e-6 * max(size.values())
    for chunk_tokens in (None, 50):
        for checkpointing in (False, True):
            settings = {"chunk_tokens": chunk_tokens, "checkpointing": checkpointing}
            ours = [gradients(model, "bfloat16", batch=batch, **settings) for batch in BATCHES]
            found = pooled(ours, exact)
            assert math.hypot(*found.values()) < 1.5 * math.hypot(*allowed.values())
            for key in size:
                assert found[key] < 2 * allowed[key] + negligible, key


@pytest.mark.parametrize("kind", ["neox", "llama"])
def test_no_bias_and_no_norm_stops_moving_at_a_rate_that_bfloat16_cannot_hold(kind: str) -> None:
    model = tuned_model(kind, "full")
    optimizer = make_optimizer(model, lr=1e-5, weight_decay=0.0)  # 1 + 1e-5 is 1 in bfloat16
    step = ContrastiveStep(model, temperature=0.1, precision="bfloat16")
    for _ in range(3):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        step(QUERIES, POSITIVES)
        optimizer.step()
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                assert (parameter != before[name]).double().mean() > 0.9, name
    state = [value for s in optimizer.state.values() for value in s.values()]
    assert {x.dtype for x in [*state, *model.parameters()]} == {torch.float32}


def test_the_model_has_its_own_weights_back_after_a_step() -> None:
    model = tuned_model("llama", "lora")
    gradients(model, "bfloat16")
    assert not any("weight" in module.__dict__ for module in model.modules())
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert all(isinstance(weight, torch.nn.Parameter) for weight in weights)


def test_bfloat16_does_not_turn_packing_off() -> None:
    packed = [body_of(decoder(k), "bfloat16").packed for k in ("llama", "gpt2", "qwen2", "bloom")]
    assert packed == [True, True, True, False]


@pytest.mark.parametrize("kind", ["neox", "llama", "bloom"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_embeddings_are_float32s_to_within_rounding(kind: str, pooling: str) -> None:
    model = tuned_model(kind, "full")
    exact, ours = (
        embed(model, POSITIVES, pooling=pooling, precision=p) for p in ("float32", "bfloat16")
    )
    assert ours.dtype == torch.float32
    assert not torch.equal(ours, exact)
    assert (ours - exact).norm() < 2 * ROUNDING * exact.norm()


def test_a_step_keeps_less_memory_for_its_graph_in_bfloat16() -> None:
    shape = neox_shape(vocabulary=97, hidden=128, layers=4, heads=4)
    model = neox(shape, double=False)
    assert graph_bytes(model, "bfloat16") < 0.75 * graph_bytes(model, "float32")


def graph_bytes(model: PreTrainedModel, how: str) -> int:
    body, one = body_of(model, how), np.array([64])
    layout = lay_out(np.zeros(64, np.int64), one, one, body.like)
    with body.ready():
        tokens = body.embedding(layout.ids).detach().requires_grad_()
        return memory.graph_bytes(lambda: body.trunk(tokens, layout), body.weights)


def test_auto_takes_bfloat16_for_wide_decoders_on_a_processor_that_is_fast_in_it(monkeypatch):
    widths = (precision.LEAST_WIDTH - 1, precision.LEAST_WIDTH)
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: True)
    assert [precision.resolve("auto", w, CPU) for w in widths] == ["float32", "bfloat16"]
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: False)
    assert [precision.resolve("auto", w, CPU) for w in widths] == ["float32", "float32"]


def test_bfloat16_on_a_processor_without_it_is_done_and_warned_of(monkeypatch):
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: False)
    with pytest.warns(UserWarning, match="has no faster products in bfloat16.*slow"):
        assert precision.resolve("bfloat16", 512, CPU) == "bfloat16"


def test_an_unknown_precision_is_refused():
    with pytest.raises(ToolkitError, match="bfloat16"):
        RunConfig("small-7k", 1e11, precision="bfloat")
    with pytest.raises(ToolkitError, match="auto, float32 or bfloat16"):
        precision.resolve("float16", 512, CPU)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """This machine with bfloat16 instructions and an empty cache; counts how often it is timed."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset({"avx512_bf16"}))
    machine.multiplies_bfloat16.cache_clear()
    timed = []

    def answers(speedup: float) -> list:
        monkeypatch.setattr(machine, "_time_bfloat16", lambda: timed.append(1) or speedup)
        return timed

    yield answers
    machine.multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize(("speedup", "fast"), [(2.1, True), (0.3, False)])
def test_a_processor_with_the_instructions_is_timed_once_and_remembered(asked, speedup, fast):
    timed = asked(speedup)
    for _ in range(2):
        machine.multiplies_bfloat16.cache_clear()  # as in another process
        assert machine.multiplies_bfloat16() is fast
    assert len(timed) == 1


def test_a_processor_without_the_instructions_is_not_even_timed(asked, monkeypatch):
    timed = asked(5.0)
    monkeypatch.setattr(machine, "processor_flags", lambda: frozenset({"avx2"}))
    assert not machine.multiplies_bfloat16()
    assert not timed


def test_a_damaged_memory_is_timed_anew(asked, tmp_path):
    (tmp_path / "bfloat16.json").write_text('{"x": ')
    asked(2.0)
    assert machine.bfloat16_speedup() == 2.0
    assert list(json.loads((tmp_path / "bfloat16.json").read_text()).values()) == [2.0]


def test_a_library_held_to_older_instructions_is_remembered_apart(asked, monkeypatch):
    timed = asked(2.0)
    machine.bfloat16_speedup()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    machine.bfloat16_speedup()
    assert len(timed) == 2


def test_the_timing_of_this_machine_is_a_plausible_ratio():
    assert 1e-3 < machine._time_bfloat16(64, 3) < 100


def test_a_run_in_bfloat16_learns_repeats_itself_and_says_so(easy):
    config = RunConfig.from_dict({**easy, "precision": "bfloat16"})
    first, second = train(config), train(config)
    assert replace(first, seconds=0.0) == replace(second, seconds=0.0)
    exact = train(replace(config, precision="float32"))
    assert (first.precision, exact.precision) == ("bfloat16", "float32")
    assert first.loss == pytest.approx(exact.loss, rel=0.01) and first.loss != exact.loss


def test_a_run_goes_on_in_the_precision_that_it_began_in(easy, tmp_path, monkeypatch):
    config = RunConfig.from_dict(easy)
    resolved = iter(["bfloat16", "bfloat16", "float32"])
    monkeypatch.setattr(precision, "resolve", lambda *_: next(resolved))
    monkeypatch.setattr("toolkit.contrast.bodies.resolve", lambda asked, *_: asked)
    undisturbed = train(config)

    def kill(point: Progress) -> None:
        if point.step == undisturbed.steps // 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(config, tmp_path, progress=kill, checkpoint_seconds=0)
    resumed = train(config, tmp_path)
    assert replace(resumed, seconds=0.0) == replace(undisturbed, seconds=0.0)
    assert resumed.precision == "bfloat16"


def test_a_small_decoder_is_run_in_float32_by_itself(easy):
    assert prepare(RunConfig.from_dict(easy)).precision == "float32"


def test_records_older_than_the_field_were_made_in_float32():
    kept = record(RunConfig("small-7k", 1e11))
    body = json.loads(kept.to_json())
    del body["result"]["precision"], body["config"]["precision"], body["sha256"]
    text = runs.canonical(body)
    body["sha256"] = runs.hashlib.sha256(text.encode()).hexdigest()
    read = RunRecord.from_json(json.dumps(body))
    assert read == kept and read.precision == "float32"
    assert read.config.run_id == kept.config.run_id


def test_runs_of_one_decoder_in_another_precision_are_no_seeds_of_the_others():
    rows = [
        {"method": "full", "params": size, "budget_flop": 1e9, "seed": seed, "loss": 1 + seed / 10,
         "precision": precision, "run": f"{size}-{precision}-{seed}"}
        for size, kinds in ((100, ["float32"] * 3), (900, ["bfloat16"] * 2 + ["float32"]))
        for seed, precision in enumerate(kinds)
    ]  # fmt: skip
    found = Comparable.of(pd.DataFrame(rows))
    assert sorted(found.runs["run"]) == [
        "100-float32-0", "100-float32-1", "100-float32-2", "900-bfloat16-0", "900-bfloat16-1",
    ]  # fmt: skip
    (left_out,) = found.excluded
    assert left_out.runs == ("900-float32-2",) and "precision" in left_out.reason
    assert math.isclose(found.best["loss"].max(), 1.2)

"""FLOP accounting: hardware FLOPs are torch's own count, to the integer."""

import json
import time

import numpy as np
import pytest
from torch.utils.flop_counter import FlopCounterMode

from tests.few import few
from tests.tiny import SHAPE, method, neox, texts, tuned
from toolkit.cli import main
from toolkit.contrast.packing import plan_step, spread
from toolkit.contrast.step import ContrastiveStep
from toolkit.decoders import PYTHIA, Shape, neox_shape
from toolkit.flops import pass_costs, step_flops
from toolkit.methods import METHODS, Method
from toolkit.methods.lora import LORA_RANK

DEEP = neox_shape(vocabulary=97, hidden=24, layers=5, heads=3)
VARIANTS = [
    *[(SHAPE, method(name)) for name in METHODS],
    *[(DEEP, method(name, DEEP)) for name in METHODS],
    *[(DEEP, method("freeze", DEEP, trained_blocks=k)) for k in (1, 4, 5)],
    *[(DEEP, method("hybrid", DEEP, trained_blocks=k)) for k in (1, 4)],
    (DEEP, method("hybrid", DEEP, lora_targets=("dense",))),
    (SHAPE, method("dora", lora_targets=("query_key_value", "dense_h_to_4h"))),
    *[
        (SHAPE, method("lora", lora_rank=3, lora_targets=targets))
        for targets in (
            ("query_key_value",),
            ("dense",),
            ("dense_h_to_4h",),
            ("dense_4h_to_h",),
            ("embed_in",),
            ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
            ("attention.dense", "embed_in"),
        )
    ],
]


def name_of(value: Shape | Method) -> str:
    """A short name for a test's parameter."""
    if isinstance(value, Shape):
        return f"{value.layers}x{value.hidden}"
    return str(value)


RUNS = {
    "plain": {},
    "cached gradients": {"chunk_tokens": 40},
    "checkpointing": {"checkpointing": True},
    "cached gradients and checkpointing": {"chunk_tokens": 40, "checkpointing": True},
}


def assert_counted(shape: Shape, how: Method, settings: dict, pairs: int = 6) -> None:
    model = tuned(neox(shape, double=False), how)
    step = ContrastiveStep(model, temperature=1 / 40, **settings)
    for seed in (0, 1):
        queries, positives = texts(pairs, 1, 9, seed), texts(pairs, 3, 14, seed + 10)
        planned = step.plan(np.concatenate((queries.lengths, positives.lengths)))
        known = step_flops(shape, how, queries.lengths, positives.lengths, planned)
        with FlopCounterMode(display=False) as counter:
            step(queries, positives)
        assert known.hardware == counter.get_total_flops()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("shape", "how"), few(VARIANTS, VARIANTS[: len(METHODS)]), ids=name_of)
def test_hardware_flops_are_torchs_count_to_the_integer(
    shape: Shape, how: Method, run: str
) -> None:
    assert_counted(shape, how, RUNS[run])


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", METHODS)
def test_so_they_are_at_the_shape_of_pythia_14m(name: str, run: str) -> None:
    pythia = PYTHIA["pythia-14m"].shape
    shape = neox_shape(vocabulary=97, hidden=pythia.hidden, layers=6, heads=pythia.heads)
    assert shape.block == pythia.block and shape.params == pythia.params
    assert_counted(
        shape,
        method(name, shape, **({"lora_rank": 32} if LORA_RANK in METHODS[name].settings else {})),
        RUNS[run],
        pairs=4,
    )


@pytest.mark.parametrize("name", METHODS)
def test_model_flops_are_what_a_step_without_padding_or_recomputation_runs(name: str) -> None:
    queries, positives = np.full(8, 16), np.full(8, 64)
    one_by_one = plan_step(np.concatenate((queries, positives)), chunk_tokens=1, kept_tokens=10**9)
    flops = step_flops(SHAPE, method(name), queries, positives, one_by_one)
    again = pass_costs(SHAPE, method(name)).whole.call  # DoRA's norms, once a forward pass
    assert flops.hardware == flops.model + 15 * again


def test_model_flops_follow_the_derivation_for_each_method() -> None:
    """FIELD NOTES: per token full 6M + 12Sh, freeze 2M + 4Mk/L, with attention in proportion."""
    shape = PYTHIA["pythia-160m"].shape
    h, layers, s = shape.hidden, shape.layers, 64
    matrices, attention = 12 * h * h * layers, 4 * s * h * layers
    lengths = np.full(2, s)
    loss, tokens = 6 * 4 * h, 4 * s

    def per_token(how: Method) -> float:
        plan = plan_step(np.concatenate((lengths, lengths)))
        return (step_flops(shape, how, lengths, lengths, plan).model - loss) / tokens

    assert per_token(method("full", shape)) == 6 * matrices + 3 * attention
    frozen = method("freeze", shape, trained_blocks=3)
    assert per_token(frozen) == 2 * matrices + attention + (4 * matrices + 2 * attention) * 3 / 12
    assert per_token(method("bias", shape)) == 4 * matrices + 3 * attention
    lora = method("lora", shape, lora_rank=8)
    adapters = 6 * 8 * (layers * (4 + 2 + 5 + 5) * h + h)
    assert per_token(lora) == 4 * matrices + 3 * attention + adapters


def test_the_papers_convention_counts_parameters_the_method_trains() -> None:
    shape = PYTHIA["pythia-70m"].shape
    n = {name: method(name, shape).trainable_params(shape) for name in METHODS}
    everything = shape.params
    assert everything == n["full"] == 18_915_328
    assert method("full", shape).paper_flops_per_token(shape) == 6 * everything
    assert method("freeze", shape).paper_flops_per_token(shape) == 2 * everything + 4 * n["freeze"]
    assert method("bias", shape).paper_flops_per_token(shape) == 4 * everything + 2 * n["bias"]
    with_adapters = everything + n["lora"]
    assert method("lora", shape).paper_flops_per_token(shape) == 4 * with_adapters + 2 * n["lora"]


def test_counting_a_step_of_64_pairs_takes_under_100_microseconds() -> None:
    queries, positives = texts(64, 5, 30).lengths, texts(64, 30, 75).lengths
    plan = plan_step(np.concatenate((queries, positives)), chunk_tokens=2048)
    how = method("lora")
    step_flops(SHAPE, how, queries, positives, plan)
    seconds = []
    for _ in range(200):
        start = time.perf_counter()
        step_flops(SHAPE, how, queries, positives, plan)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 100e-6


def test_the_command_prints_all_three_for_a_pythia_without_any_download(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["flops", "pythia-14m", "--method", "lora", "--rank", "32", "--pairs", "1024"]
    assert main([*arguments, "--query-tokens", "14", "--positive-tokens", "64", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    shape = PYTHIA["pythia-14m"].shape
    how = method("lora", shape, lora_rank=32)
    queries, positives = spread(14, 1024), spread(64, 1024)
    plan = plan_step(np.concatenate((queries, positives)))
    flops = step_flops(shape, how, queries, positives, plan)
    assert answer["per_step"] == vars(flops)
    assert answer["per_pair"]["model"] == pytest.approx(flops.model / 1024)
    assert main(arguments) == 0
    assert "hardware" in capsys.readouterr().out


def test_the_command_counts_every_method_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["flops", "pythia-14m", "--pairs", "64", "--json"]
    assert main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    for name in METHODS:
        assert main([*command, "--method", name]) == 0
        alone = json.loads(capsys.readouterr().out)
        assert answer["methods"][name]["per_step"] == alone["per_step"]
        assert answer["methods"][name]["trainable"] == alone["trainable"]
    assert main(["flops", "smollm2-135m", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["methods"]["bias"] is None  # Llama has none
    assert all(answer["methods"][name] for name in METHODS if name != "bias")
    assert answer["params"] == answer["methods"]["full"]["trainable"] == 106_203_456


@pytest.mark.parametrize(
    "arguments",
    [
        ["pythia-1"],
        ["pythia-14m", "--method", "prefix"],
        ["pythia-14m", "--method", "lora", "--rank", "4096"],
        ["pythia-14m", "--method", "freeze", "--trained-blocks", "7"],
        ["pythia-14m", "--query-tokens", "0.5"],
        ["pythia-14m", "--pairs", "1"],
        ["pythia-14m", "--rank", "8"],
    ],
    ids=" ".join,
)
def test_a_mistake_on_the_command_line_is_one_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flops", *arguments]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("option", [("--query-tokens", "0"), ("--pairs", "-3"), ("--rank", "x")])
def test_a_number_that_is_none_is_refused_in_words(
    option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["flops", "pythia-14m", *option])
    assert f"{option[0]}: must be a " in capsys.readouterr().err


def test_the_command_counts_prefixes_negatives_and_dimensions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["flops", "pythia-14m", "--pairs", "64", "--json"]

    def answer(*more: str) -> dict:
        assert main([*command, *more]) == 0
        return json.loads(capsys.readouterr().out)

    plain, shape = answer(), PYTHIA["pythia-14m"].shape
    prefixed = answer("--query-prefix-tokens", "6", "--positive-prefix-tokens", "3")
    longer = answer("--query-tokens", "20", "--positive-tokens", "67")
    assert prefixed["per_step"] == longer["per_step"] != plain["per_step"]
    assert prefixed["tokens"] == 64 * 87
    many = answer("--negatives-per-query", "2")
    queries, positives, negatives = spread(14, 64), spread(64, 64), spread(64, 128)
    flops = step_flops(
        shape, method("full", shape), queries, positives,
        plan_step(np.concatenate((queries, positives, negatives))), negative_lengths=negatives,
    )  # fmt: skip
    assert many["per_step"] == vars(flops) and many["tokens"] == 64 * (14 + 3 * 64)
    nested = answer("--matryoshka", "64", "32")
    difference = nested["per_step"]["model"] - plain["per_step"]["model"]
    assert difference == 6 * 64 * 64 * (64 + 32)
    assert answer("--attention", "bidirectional")["per_step"] == plain["per_step"]
    assert main([*command, "--matryoshka", "4096"]) == 2
    assert "above the width" in capsys.readouterr().err

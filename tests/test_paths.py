"""What is planned is the path that will run: packed, or padded where a decoder takes no stream."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from tests.families import COUNTED, config_of
from tests.tiny import texts
from toolkit.cli import main
from toolkit.contrast.bodies import body_of
from toolkit.contrast.packing import plan_ahead, plan_step
from toolkit.contrast.paths import packs
from toolkit.contrast.step import ContrastiveStep
from toolkit.decoders import KNOWN, find
from toolkit.flops import step_flops
from toolkit.methods import resolve
from toolkit.runs import RunConfig
from toolkit.sweep.footprint import peak_bytes
from toolkit.sweep.plan import cost
from toolkit.sweep.throughput import Seen, Throughput
from toolkit.training.preparation import step_cost

PADS, PACKS = "gemma2", "llama"


def model_of(name: str):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(config_of(name), attn_implementation="eager").eval()


@pytest.fixture
def folder(tmp_path):
    """A function that makes the folder of a tiny decoder of a family: its configuration alone."""

    def make(name: str) -> str:
        config_of(name).save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    return make


@pytest.mark.parametrize("name", COUNTED)
def test_one_block_at_random_tells_how_the_whole_decoder_will_run(name, folder):
    assert packs(find(folder(name))) == body_of(model_of(name)).packed


def test_both_ways_to_run_are_among_them(folder):
    assert packs(find(folder(PACKS))) and not packs(find(folder(PADS)))
    assert packs(KNOWN["small-3k"])


@pytest.mark.parametrize("name", [PACKS, PADS])
def test_the_cost_that_a_run_plans_with_is_what_its_step_executes(name, folder):
    """Also with the texts of a step in several chunks."""
    decoder = find(folder(name))
    config = RunConfig(decoder.name, 1e9, flop_convention="hardware", batch_pairs=60)
    method = resolve(config, decoder.shape)
    queries, positives = texts(60, 1, 20), texts(60, 20, 60, seed=1)
    planned = step_cost(config, decoder, method, queries.lengths, positives.lengths)
    model = model_of(name)
    step = ContrastiveStep(model, temperature=0.05)
    step.plan(np.concatenate((queries.lengths, positives.lengths)))
    with FlopCounterMode(display=False) as referee:
        result = step(queries, positives)
    assert len(result.execution.recomputed) > 1
    assert planned.hardware == pytest.approx(referee.get_total_flops(), rel=2e-3)


def planned(decoder: str, **settings):
    return cost(RunConfig(decoder, 1e10, batch_pairs=64, **settings))


def test_a_plan_has_the_tokens_flop_and_hours_of_padded_texts(folder, monkeypatch):
    known = {75: 2 * ((14, 64),)}  # Means that tell.
    monkeypatch.setattr("toolkit.pairs.docstrings.TOKENS", known)
    pads, packed = folder(PADS), folder(PACKS)
    slots = 64 * (14 + 64)
    assert planned(packed).tokens == slots and planned(packed).padding == 1
    price = planned(pads)
    assert price.tokens > 1.05 * slots and price.padding > 1.05
    assert "padded" in price.note and not planned(packed).note
    assert planned(pads, flop_convention="hardware").flop < price.flop / 1.05
    alike = replace(price, padding=1.0)
    assert price.seconds(Throughput()) > alike.seconds(Throughput())
    shape = find(pads).shape
    config = RunConfig(pads, 1e10, batch_pairs=64)
    peaks = [peak_bytes(config, shape, tokens, 1e12) for tokens in (slots, price.tokens)]
    assert peaks[0] < peaks[1]


def test_what_is_known_of_packed_runs_is_slowed_by_the_padding_and_of_padded_ones_is_not():
    packed = Seen(10_000, "full", "float32", 32, 4e9)
    padded = replace(packed, rate=1e9, padded=True)
    run = (10_000, "full", "float32", 32)
    assert Throughput((packed,)).rate(*run, padding=1.6) == 2.5e9
    assert Throughput((packed, padded)).rate(*run, padding=1.6) == 1e9
    assert Throughput((packed, padded)).rate(*run) == 4e9


def test_the_flops_of_a_step_are_those_of_its_path_and_the_answer_says_which(folder, capsys):
    for name, packed in ((PACKS, True), (PADS, False)):
        decoder = find(folder(name))
        assert main(["flops", decoder.name, "--pairs", "64", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        queries, positives = np.full(64, 14), np.full(64, 64)
        lengths = np.concatenate((queries, positives))
        method = resolve(RunConfig(decoder.name, 1), decoder.shape)
        execution = plan_ahead(lengths, packed=packed)
        flops = step_flops(decoder.shape, method, queries, positives, execution)
        assert answer["packed"] is packed and answer["per_step"]["hardware"] == flops.hardware
        without = step_flops(decoder.shape, method, queries, positives, plan_step(lengths))
        assert (flops.hardware > without.hardware) is not packed
        assert flops.model == without.model

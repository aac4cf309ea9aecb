"""Decoders: published counts, any architecture's shape from its configuration, safe loading."""

import json
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig

from toolkit import decoders
from toolkit.errors import ToolkitError
from toolkit.pairs.pair import normalise
from toolkit.pairs.sources import read_pairs

# Total and non-embedding parameters as published (README of EleutherAI/pythia).
PUBLISHED = {
    "14m": (14_067_712, 1_189_888),
    "31m": (30_494_720, 4_739_072),
    "70m": (70_426_624, 18_915_328),
    "160m": (162_322_944, 85_056_000),
    "410m": (405_334_016, 302_311_424),
    "1b": (1_011_781_632, 805_736_448),
    "1.4b": (1_414_647_808, 1_208_602_624),
    "2.8b": (2_775_208_960, 2_517_652_480),
    "6.9b": (6_857_302_016, 6_444_163_072),
    "12b": (11_846_072_320, 11_327_027_200),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_pythia_has_its_published_parameters(name):
    decoder = decoders.find(f"pythia-{name}")
    head = decoder.shape.vocabulary * decoder.shape.hidden
    assert (decoder.shape.encoder_params + head, decoder.params) == PUBLISHED[name]
    assert decoders.find(f"EleutherAI/pythia-{name}") == decoder


def test_the_small_suite_spans_2_thousand_to_3_million_in_even_steps():
    params = [decoder.params for decoder in decoders.SMALL.values()]
    assert params[0] < 7_000 and 2_500_000 < params[-1] < 3_500_000
    steps = [large / small for small, large in pairwise(params)]
    assert all(1.8 < step < 3 for step in steps)


@pytest.mark.parametrize("decoder", decoders.SMALL.values(), ids=decoders.SMALL)
def test_every_small_decoder_has_weights_of_its_shape_and_a_record(decoder):
    model = decoders.load(decoder)
    assert sum(p.numel() for p in model.parameters()) == decoder.shape.encoder_params
    assert all(p.dtype == torch.float32 for p in model.parameters())
    record = json.loads((decoders.SUITE_FOLDER / decoder.name / "record.json").read_text())
    assert record["params"] == decoder.params
    assert record["tokens"] >= 2_900_000 and record["seconds"] > 0
    assert record["held_out_loss"] < 5.5  # ln 4096 = 8.3 is chance


def test_larger_small_decoders_predict_text_better():
    losses = [record["held_out_loss"] for record in decoders.suite_records()]
    assert len(losses) == len(decoders.SMALL)
    assert losses == sorted(losses, reverse=True)


def test_the_suite_fits_into_16_megabytes():
    files = [path for path in decoders.SUITE_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 16e6


@pytest.mark.slow
def test_no_held_out_pair_is_in_the_pretraining_text():
    from toolkit.training.pretraining import document, documents

    text = {normalise(line) for line in documents()}
    held_out = [pair for pair in read_pairs("docstrings") if pair.held_out]
    assert len(held_out) > 1024
    assert not text & {normalise(document(pair)) for pair in held_out}
    answers = {normalise(pair.positive) for pair in held_out}
    assert not any(normalise(line.partition("\n")[2]) in answers for line in documents())


CONFIGS = {
    "gpt-neox": GPTNeoXConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    ),
    "llama": LlamaConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=40,
    ),
    "gpt2": GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32),
}  # fmt: skip


@pytest.fixture(params=CONFIGS)
def folder(request, tmp_path):
    AutoModelForCausalLM.from_config(CONFIGS[request.param]).save_pretrained(tmp_path)
    return tmp_path


def test_any_causal_decoder_in_a_folder_has_the_shape_of_its_weights(folder):
    decoder = decoders.find(str(folder))
    model = decoders.load(decoder)
    positions = sum(p.numel() for name, p in model.named_parameters() if "wpe" in name)
    counted = sum(p.numel() for p in model.parameters()) - positions
    assert decoder.shape.encoder_params == counted
    assert model.dtype == torch.float32


def test_half_precision_weights_are_loaded_as_float32(tmp_path):
    AutoModelForCausalLM.from_config(CONFIGS["gpt-neox"]).half().save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["gpt_neox.embed_in.weight"].dtype == torch.half
    assert decoders.load(decoders.find(str(tmp_path))).dtype == torch.float32


def test_pickled_weights_are_refused(tmp_path):
    model = AutoModelForCausalLM.from_config(CONFIGS["gpt-neox"])
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ToolkitError, match="cannot load decoder"):
        decoders.load(decoders.find(str(tmp_path)))


def test_a_decoder_that_wants_its_own_code_is_refused(tmp_path):
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "code.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('executed')")
    with pytest.raises(ToolkitError, match="cannot read the configuration"):
        decoders.find(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("pythia-71m", "unknown decoder 'pythia-71m'; did you mean pythia-"),
        ("zzz", "unknown decoder 'zzz'; known: small-2k"),
    ],
)
def test_an_unknown_name_offers_the_nearest(name, complaint):
    with pytest.raises(ToolkitError, match=complaint):
        decoders.find(name)


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match=r"has no config\.json"):
        decoders.find(str(tmp_path))


def without(folder, *removed, shapes=()):
    """The checkpoint in the folder, its weights with these endings removed or given a new shape."""
    path = folder / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if not k.endswith(removed or "nothing")}
    for key in weights:
        if key.endswith(tuple(shapes)):
            weights[key] = torch.zeros(3, 3)
    save_file(weights, path, {"format": "pt"})
    return decoders.find(str(folder))


def test_a_checkpoint_that_lacks_weights_is_refused_with_their_names(tmp_path):
    AutoModelForCausalLM.from_config(CONFIGS["llama"]).save_pretrained(tmp_path)
    lacking = without(tmp_path, "layers.2.mlp.up_proj.weight", "layers.1.input_layernorm.weight")
    with pytest.raises(ToolkitError, match=r"lacks the weights .*s\.1\.input_.*s\.2\.mlp"):
        decoders.load(lacking)
    assert decoders.load(decoders.find(f"{tmp_path}@1")) is not None  # whose blocks are all there


def test_weights_of_another_shape_are_refused_with_their_names(tmp_path):
    AutoModelForCausalLM.from_config(CONFIGS["llama"]).save_pretrained(tmp_path)
    with pytest.raises(ToolkitError, match=r"of another shape are the weights .*up_proj\.weight"):
        decoders.load(without(tmp_path, shapes=["layers.0.mlp.up_proj.weight"]))


def test_of_many_missing_weights_a_few_are_named(tmp_path):
    AutoModelForCausalLM.from_config(CONFIGS["llama"]).save_pretrained(tmp_path)
    with pytest.raises(ToolkitError, match=r"and \d+ more; give the checkpoint whole"):
        decoders.load(without(tmp_path, "proj.weight"))


@pytest.mark.parametrize("architecture", CONFIGS)
def test_a_decoder_without_its_head_is_whole(architecture, tmp_path):
    AutoModel.from_config(CONFIGS[architecture]).save_pretrained(tmp_path)
    assert decoders.load(decoders.find(str(tmp_path))) is not None


def test_an_adapter_given_as_a_decoder_is_to_be_merged(tmp_path):
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "owner/model"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(ToolkitError, match=r"is an adapter of owner/model, not .*: merge it first"):
        decoders.find(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ToolkitError, match=r"is an adapter, not a decoder: merge it first"):
        decoders.find(str(tmp_path))

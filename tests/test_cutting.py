"""Cut decoders: `name@k` is the first k blocks with the final norm, whatever the architecture."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from toolkit import decoders, methods
from toolkit.encoder.export import export
from toolkit.encoder.loading import trained
from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig

TINY = {"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 4}
CONFIGS = {
    "gpt_neox": {**TINY, "intermediate_size": 48},
    "llama": {**TINY, "intermediate_size": 40, "num_key_value_heads": 2},
    "qwen3": {**TINY, "intermediate_size": 40, "num_key_value_heads": 2, "head_dim": 8},
    "gemma3_text": {
        **TINY,
        "intermediate_size": 40,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "gpt2": {"vocab_size": 97, "n_embd": 24, "n_layer": 4, "n_head": 4},
    "gpt_neo": {
        "vocab_size": 97,
        "hidden_size": 24,
        "num_layers": 4,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 2]],
    },
}
IDS = torch.arange(11)[None] * 7 % 97


@pytest.fixture(params=CONFIGS)
def folder(request, tmp_path):
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(request.param, **CONFIGS[request.param])
    )
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    model.save_pretrained(tmp_path / "whole")
    return str(tmp_path / "whole")


def states(model, blocks=None):
    """What a decoder puts out, or its final norm of what its first blocks do."""
    model.eval()
    if blocks is None:
        return model(IDS, use_cache=False).last_hidden_state
    stack, last = decoders.find_blocks(model, "whole"), []
    stack[blocks - 1].register_forward_hook(lambda *inside: last.append(inside[-1]))
    for block in stack[blocks:]:
        block.forward = lambda *_, **__: last[0]
    return model(IDS, use_cache=False).last_hidden_state


@pytest.mark.parametrize("blocks", [1, 3, 4])
def test_a_cut_decoder_gives_what_the_first_blocks_of_the_whole_give(folder, blocks):
    attention = "eager"  # GPT-Neo has no other
    whole = decoders.load(decoders.find(folder), attention=attention)
    cut = decoders.find(f"{folder}@{blocks}")
    model = decoders.load(cut, attention=attention)
    torch.testing.assert_close(states(model), states(whole, blocks))
    assert cut.shape.layers == len(decoders.find_blocks(model, "cut")) == blocks
    assert cut.shape == decoders.config_shape(model.config, "cut")


def test_a_cut_decoder_can_be_saved_and_read_back_as_a_whole_one(folder, tmp_path):
    model = decoders.load(decoders.find(f"{folder}@2"), attention="eager")
    model.save_pretrained(tmp_path / "cut")
    again = decoders.find(str(tmp_path / "cut"))
    assert again.shape.layers == 2
    torch.testing.assert_close(states(decoders.load(again, attention="eager")), states(model))


def test_a_cut_decoder_of_the_catalogue_is_of_its_family_and_costs_less():
    cut, whole = decoders.find("pythia-410m@6"), decoders.find("pythia-410m")
    assert (cut.family, cut.source) == ("pythia", whole.source)
    final = whole.shape.final_norm_weights + whole.shape.final_norm_biases
    assert cut.params == final + 6 * whole.shape.block_params
    assert decoders.find("EleutherAI/pythia-410m@6") == cut == decoders.catalogued(cut.name)
    assert decoders.find("pythia-410m@24").shape == whole.shape


def test_freezing_and_lora_of_a_cut_decoder_count_its_own_blocks():
    cut = decoders.find("small-200k@3")
    model = decoders.load(cut)
    config = RunConfig(decoder=cut.name, budget_flop=1e9, method="freeze", trained_blocks=2)
    method = methods.resolve(config, cut.shape)
    method.apply(model, seed=0)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == method.trainable_params(cut.shape)
    four = RunConfig(decoder=cut.name, budget_flop=1e9, method="freeze", trained_blocks=4)
    with pytest.raises(ToolkitError, match="only 3 blocks"):
        methods.resolve(four, cut.shape)


def test_an_exported_cut_encoder_embeds_as_it_does_here(tmp_path):
    transformers = pytest.importorskip("sentence_transformers")
    from toolkit.contrast.step import embed
    from toolkit.pairs.ragged import Ragged

    cut = decoders.find("small-38k@2")
    config = RunConfig(decoder=cut.name, budget_flop=1e9)
    model = decoders.load(cut)
    text = "The first two blocks of three."
    ids = decoders.load_tokenizer(cut)(text)["input_ids"]
    ours = embed(model, Ragged(np.array(ids, np.int32), np.array([len(ids)], np.int32)))
    folder = export(trained(model, config), tmp_path / "encoder")
    theirs = transformers.SentenceTransformer(str(folder)).encode(text)
    ours = torch.nn.functional.normalize(ours)[0].numpy()
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("blocks", ["0", "999", "x", "-1", "1.5", "", "2 ", "٣", "1" * 30])
@pytest.mark.parametrize("name", ["small-38k", "smollm2-135m"])
def test_a_cut_that_makes_no_sense_is_one_sentence_with_the_range(name, blocks):
    last = decoders.KNOWN[name].shape.layers
    with pytest.raises(ToolkitError, match=f"give {name}@1 to {name}@{last}$"):
        decoders.find(f"{name}@{blocks}")
    assert decoders.catalogued(f"{name}@{blocks}") is None


def test_a_cut_of_an_unknown_decoder_offers_the_nearest():
    with pytest.raises(ToolkitError, match="unknown decoder 'small-38'; did you mean small-38k"):
        decoders.find("small-38@2")

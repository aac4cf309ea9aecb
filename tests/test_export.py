"""Export: other tools get the embeddings that the toolkit itself computes."""

import json

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModel

from tests.families import COUNTED, ONLY_CAUSAL
from tests.few import few
from tests.tiny import tuned
from toolkit import cli, decoders, load, methods
from toolkit.contrast.bodies import body_of
from toolkit.encoder.export import export
from toolkit.encoder.loading import trained
from toolkit.errors import ToolkitError
from toolkit.methods import METHODS
from toolkit.runs import RunConfig
from toolkit.text import scientific
from toolkit.training.run import train

sentence_transformers = pytest.importorskip("sentence_transformers")
TEXTS = ["return item 00042", "", "def get_00042(self): # 3", "a much longer text " * 30, "x"]

# Of each body one that runs so: GPT-NeoX's own, transformers' on a packed stream, and padded.
BODIES = {"gpt-neox": ("NeoxBody", True), "qwen2": ("HubBody", True), "codegen": ("HubBody", False)}


def family(name, folder):
    """A decoder of a family in a folder, with the small suite's tokenizer."""
    kind, settings = COUNTED[name]
    config = AutoConfig.for_model(kind, **{**settings, "vocab_size": 4096})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
    model.save_pretrained(folder)
    decoders.load_tokenizer(decoders.find("small-7k")).save_pretrained(folder)
    return str(folder)


def encoder_of(name, **settings):
    """An encoder as a run leaves it, with adapters that do something, but without the run."""
    config = RunConfig.from_dict({"budget_flop": 1, "max_tokens": 40, **settings, "decoder": name})
    decoder = decoders.find(name)
    model = decoders.load(decoder, bidirectional=config.attention == "bidirectional")
    tuned(model, methods.resolve(config, decoder.shape))
    return trained(model, config)


def theirs(folder, texts):
    """sentence-transformers' embeddings of texts together, and of each by itself."""
    encoder = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    return encoder.encode(texts), np.concatenate([encoder.encode([text]) for text in texts])


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("method", few(METHODS, ["lora"]))
def test_sentence_transformers_gives_the_same_embeddings(tmp_path, body, method):
    name = family(body, tmp_path / "decoder")
    for pooling in ("mean", "last"):
        for attention in ("causal", "bidirectional"):
            encoder = encoder_of(name, method=method, pooling=pooling, attention=attention)
            running = body_of(encoder.model)
            assert (type(running).__name__, running.packed) == BODIES[body]
            folder = export(encoder, tmp_path / f"{pooling}-{attention}")
            for vectors in (*theirs(folder, TEXTS), load(folder).encode(TEXTS)):
                np.testing.assert_allclose(vectors, encoder.encode(TEXTS), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(COUNTED) - set(BODIES)))
def test_every_architecture_is_exported_as_it_is(tmp_path, name):
    folder = family(name, tmp_path / "decoder")
    for attention in ("causal", "bidirectional")[: 1 if name in ONLY_CAUSAL else 2]:
        encoder = encoder_of(folder, method="lora", attention=attention)
        for vectors in theirs(export(encoder, tmp_path / attention), TEXTS):
            np.testing.assert_allclose(vectors, encoder.encode(TEXTS), atol=1e-5)


def test_the_card_says_what_the_encoder_is(easy, tmp_path, capsys):
    config = RunConfig.from_dict({**easy, "method": "lora", "lora_rank": 4})
    record = train(config, tmp_path / "run", keep=True)
    assert cli.main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0
    assert "toolkit.load(" in capsys.readouterr().out
    _, head, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "mit"
    facts = ("LoRA", record.fingerprint, f"{record.loss:.4f}", "small-7k")
    for fact in (*facts, f"{record.pairs:,} pairs", "75 tokens", scientific(record.flop_model, 3)):
        assert fact in text
    assert load(tmp_path / "out").record == record


def test_half_the_size_in_bfloat16_and_nearly_the_same_vectors(tmp_path):
    encoder = load("small-7k")
    whole = export(encoder, tmp_path / "whole")
    half = export(encoder, tmp_path / "half", precision="bfloat16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.52 * sizes[0]
    np.testing.assert_allclose(load(half).encode(TEXTS), encoder.encode(TEXTS), atol=0.02)
    assert encoder.model.dtype == torch.float32
    assert json.loads((half / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_tokenizer_pads_and_cuts_as_it_should(tmp_path):
    folder = export(load("small-7k", max_tokens=20), tmp_path / "out")
    encoder = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    assert encoder.max_seq_length == 20
    assert encoder.tokenizer.pad_token and encoder.tokenizer.padding_side == "right"


def test_an_exported_encoder_is_exported_again(tmp_path):
    first = export(encoder_of("small-7k", attention="bidirectional"), tmp_path / "first")
    second = export(load(first), tmp_path / "second")
    np.testing.assert_array_equal(load(second).encode(TEXTS), load(first).encode(TEXTS))


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ToolkitError, match="is not empty; name another one"):
        export(load("small-3k"), tmp_path)
    with pytest.raises(ToolkitError, match="is no folder"):
        export(load("small-3k"), tmp_path / "mine.txt")
    assert cli.main(["export", "small-3k", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_an_export_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("toolkit.encoder.export.card", broken)
    with pytest.raises(ToolkitError, match=r"cannot save the encoder in .* No space left"):
        export(load("small-3k"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_pad_token_that_no_row_stands_for_is_not_exported(tmp_path):
    folder = family("gpt-neox", tmp_path / "decoder")
    (tmp_path / "decoder" / "tokenizer_config.json").unlink()  # the family's own pad token is left
    encoder = encoder_of(folder)
    together, alone = theirs(export(encoder, tmp_path / "out"), TEXTS)
    np.testing.assert_allclose(together, encoder.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(alone, together, atol=1e-5)

"""An encoder comes back from a run, an exported folder or a decoder's name, and embeds texts."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import toolkit
from toolkit import cli, decoders
from toolkit.contrast.step import embed
from toolkit.encoder.export import export
from toolkit.encoder.loading import trained
from toolkit.errors import ToolkitError
from toolkit.pairs.ragged import Ragged
from toolkit.pairs.tokens import token_ids
from toolkit.runs import RunConfig
from toolkit.training.run import train, train_encoder

TEXTS = ["return item 00042", "", "a much longer text " * 30, " ", "def get_00042(self): # 3"]


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("method", ["full", "freeze", "lora", "bias"])
def test_a_kept_run_embeds_as_it_did_when_it_ended(easy, tmp_path, method, pooling):
    config = RunConfig.from_dict({**easy, "method": method, "pooling": pooling})
    _, model = train_encoder(config, tmp_path, keep=True)
    ours = toolkit.load(tmp_path)
    assert ours.width == 16 and ours.config == config
    np.testing.assert_array_equal(ours.encode(TEXTS), trained(model, config).encode(TEXTS))


def test_vectors_are_float32_of_length_one_in_the_order_of_the_texts(monkeypatch):
    monkeypatch.setattr("toolkit.encoder.encoder._AT_ONCE", 2)
    encoder = toolkit.load("small-3k")
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, 16) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(encoder.encode(text), vector, atol=2e-6)
    assert encoder.encode([]).shape == (0, 16)


def test_a_decoder_by_name_is_run_zero(tmp_path):
    decoder = decoders.find("small-7k")
    tokenizer = decoders.load_tokenizer(decoder)
    ids = Ragged.of(token_ids(["some words"], tokenizer))
    for pooling in ("mean", "last"):
        by_hand = embed(decoders.load(decoder), ids, pooling=pooling, precision="float32")
        by_hand = torch.nn.functional.normalize(by_hand, dim=-1)[0].numpy()
        ours = toolkit.load("small-7k", pooling=pooling).encode("some words")
        np.testing.assert_allclose(ours, by_hand, atol=1e-6)


def test_an_exported_folder_embeds_as_the_run(easy, tmp_path):
    config = RunConfig.from_dict({**easy, "method": "lora", "max_tokens": 20, "pooling": "last"})
    train(config, tmp_path / "run", keep=True)
    ours = toolkit.load(tmp_path / "run")
    exported = toolkit.load(export(ours, tmp_path / "encoder"))
    assert exported.config.max_tokens == 20
    np.testing.assert_allclose(exported.encode(TEXTS), ours.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize("bad", [["fine", "half \ud800"], ["fine", 3], ["fine", None]])
def test_what_no_tokenizer_reads_is_named(bad):
    with pytest.raises(ToolkitError, match=r"text 2 of 2 (is no text|has half a character)"):
        toolkit.load("small-3k").encode(bad)


def test_without_an_encoder_it_says_which_runs_have_one_and_how_to_keep(easy, tmp_path):
    runs = tmp_path / "sweep" / "runs"
    for name, budget, keep in (("a", 4e8, True), ("b", 8e8, True), ("c", 4e8, False)):
        config = RunConfig.from_dict({**easy, "budget_flop": budget})
        train(config, runs / name, keep=keep)
    (tmp_path / "sweep" / "sweep.yaml").write_text("")
    with pytest.raises(ToolkitError, match=r"kept no encoder; keep it by doing .* --keep") as told:
        toolkit.load(runs / "c")
    assert f"those kept, best first: {runs / 'b'}, {runs / 'a'}" in str(told.value)
    with pytest.raises(ToolkitError, match="is a sweep; name one of its runs; these kept theirs"):
        toolkit.load(tmp_path / "sweep")
    (runs / "c" / "record.json").unlink()
    (runs / "c" / "config.json").write_text(json.dumps(config.to_dict()))
    with pytest.raises(ToolkitError, match="kept no encoder, as it has not ended"):
        toolkit.load(runs / "c")


def test_a_trained_one_is_read_as_it_was_trained(easy, tmp_path):
    train(RunConfig.from_dict(easy), tmp_path, keep=True)
    with pytest.raises(ToolkitError, match="it takes no pooling"):
        toolkit.load(tmp_path, pooling="last")


@pytest.mark.parametrize(
    ("source", "words"),
    [("small-8k", "unknown decoder 'small-8k'; did you mean"), ("./nothing", "does not exist")],
)
def test_what_is_not_there_is_one_sentence(source, words):
    with pytest.raises(ToolkitError, match=words):
        toolkit.load(source)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"config": null}', '{"config": {"pooling": "max"}}']
)
def test_an_export_that_no_longer_says_how_it_reads_is_no_untuned_decoder(tmp_path, damage):
    folder = export(toolkit.load("small-3k", pooling="last"), tmp_path / "out")
    (folder / "toolkit.json").write_text(damage)
    with pytest.raises(ToolkitError, match=r"toolkit\.json (is damaged|holds no configuration)"):
        toolkit.load(folder)


def test_a_model_of_sentence_transformers_is_no_untuned_decoder(tmp_path):
    folder = export(toolkit.load("small-3k", pooling="last"), tmp_path / "out")
    (folder / "toolkit.json").unlink()
    with pytest.raises(ToolkitError, match="is a model of sentence-transformers"):
        toolkit.load(folder)
    assert toolkit.load(folder, pooling="last").width == 16
    assert cli.main(["export", str(folder), str(tmp_path / "again")]) == 2


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("record.json", "{", r"record\.json is not a whole run record"),
        ("config.json", '{"budget_flop": 1}', r"config\.json holds no configuration .* decoder"),
        ("config.json", '{"budget_flop": "x", "decoder": "small-3k"}', r"config\.json .*number"),
    ],
)
def test_a_run_s_damaged_file_is_named(tmp_path, file, text, complaint):
    (tmp_path / file).write_text(text)
    with pytest.raises(ToolkitError, match=complaint):
        toolkit.load(tmp_path)


@pytest.mark.parametrize("source", [None, 3, b"small-3k"])
def test_what_names_no_encoder_is_told(source):
    with pytest.raises(ToolkitError, match="is named by a text or a path"):
        toolkit.load(source)


def test_texts_come_in_any_order_that_python_has_and_in_no_other():
    encoder = toolkit.load("small-3k")
    expected = encoder.encode(["a", "b"])
    for texts in (
        ("a", "b"),
        (t for t in "ab"),
        np.array(["a", "b"]),
        pd.Series(["a", "b"], [5, 6]),
    ):
        np.testing.assert_array_equal(encoder.encode(texts), expected)
    for texts in (None, 3, {"a": "b"}, {"a", "b"}, pd.DataFrame({"text": ["a", "b"]})):
        with pytest.raises(ToolkitError, match="texts are a list, an array or a column of texts"):
            encoder.encode(texts)

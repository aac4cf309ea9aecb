"""A folder of sentence-transformers', damaged or strange: embedded as that library does, or told.

Whatever is wrong is one sentence and status 2 from every command, before anything is written.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from tests.retrieval.conftest import write_jsonl
from toolkit import cli, load
from toolkit.encoder.export import export
from toolkit.errors import ToolkitError
from toolkit.retrieval.encoders import find_encoder

sentence_transformers = pytest.importorskip("sentence_transformers")
from safetensors.torch import load_file, save_file  # noqa: E402
from sentence_transformers.sentence_transformer import modules  # noqa: E402

TEXTS = ["a cat sat", "the dog ran down the long road", "x"]
WEIGHTS, POOLING, ABOUT = (
    "model.safetensors", "1_Pooling/config.json", "config_sentence_transformers.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small decoder as sentence-transformers' own, without a word of ours."""
    folder = tmp_path_factory.mktemp("models") / "whole"
    export(load("small-3k", pooling="last"), folder)
    (folder / "toolkit.json").unlink()
    return folder


@pytest.fixture
def model(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def put(name, text):
    """A file that says something else."""
    return lambda folder: (folder / name).write_text(text)


def change(name, **values):
    """A JSON file with other values."""

    def changed(folder):
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return changed


def without(*names):
    """A folder that lost some of its files."""

    def lost(folder):
        for name in names:
            shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()

    return lost


def named(old, new):
    """Modules of another name."""
    return lambda folder: (folder / "modules.json").write_text(
        (folder / "modules.json").read_text().replace(old, new)
    )


def weights(alter):
    """Weights in which something is other than it was."""

    def altered(folder):
        tensors = load_file(folder / WEIGHTS)
        alter(tensors, "layers.0.attention.dense.bias")
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return altered


def saved(*parts):
    """Another model in the place of this one, of these modules after the first two."""

    def made(folder):
        first = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        shutil.rmtree(folder)
        sentence_transformers.SentenceTransformer(
            modules=[first[0], first[1], *(part() for part in parts)], device="cpu"
        ).save(str(folder))

    return made


def static(folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    shutil.rmtree(folder)
    table = modules.StaticEmbedding(tokenizer, embedding_dim=8)
    sentence_transformers.SentenceTransformer(modules=[table], device="cpu").save(str(folder))


def bert(folder, *, head=False):
    """An encoder-only model with a vocabulary of letters."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    shutil.rmtree(folder)
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=1,
    )
    made = (
        BertForSequenceClassification(config)
        if head
        else BertModel(config, add_pooling_layer=False)
    )
    made.save_pretrained(folder)


def bert_pooled(folder):
    """BERT without its pooler, as many are shared: nobody uses that."""
    bert(folder)
    body = modules.Transformer(str(folder))
    own = sentence_transformers.SentenceTransformer(modules=[body, modules.Pooling(16)])
    shutil.rmtree(folder)
    own.save(str(folder))


def crossed(folder):
    bert(folder, head=True)
    both = sentence_transformers.CrossEncoder(str(folder), device="cpu")
    shutil.rmtree(folder)
    both.save_pretrained(str(folder))


def plain(folder):
    without("modules.json", ABOUT, "sentence_bert_config.json", "1_Pooling", "2_Normalize")(folder)


def halved(folder):
    tensors = {k: v.half() for k, v in load_file(folder / WEIGHTS).items()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    change("config.json", dtype="float16")(folder)


RIGHT = {
    "as it was saved": lambda folder: None,
    "its empty folder lost": without("2_Normalize"),
    "two poolings in one": change(POOLING, pooling_mode=["mean", "lasttoken"]),
    "pooled at the first token": change(POOLING, pooling_mode="cls"),
    "of older names": put(
        POOLING, '{"word_embedding_dimension": 16, "pooling_mode_max_tokens": true}'
    ),
    "a width that nobody uses": change(POOLING, embedding_dimension=7),
    "a dense module after pooling": saved(lambda: modules.Dense(16, 5)),
    "not normalised": saved(),
    "weights of half the width": halved,
    "a table of words, no transformer": static,
    "BERT without a pooler": bert_pooled,
    "no model but transformers'": plain,
}
WRONG = {
    "no modules": (without("modules.json"), r"without its modules\.json, so that nobody knows"),
    "modules no JSON": (put("modules.json", "{"), r"modules\.json cannot be read: JSONDecode"),
    "modules empty": (put("modules.json", "[]"), r"modules\.json is no list of modules"),
    "modules no list": (put("modules.json", "{}"), r"modules\.json is no list of modules"),
    "modules no modules": (put("modules.json", "[3]"), r"modules\.json is no list of modules"),
    "an unknown module": (named("pooling.Pooling", "pooling.Puling"), r"not define a .Puling"),
    "a module with code of its own": (
        named("sentence_transformers.sentence_transformer.modules.pooling", "evil"),
        r"evil\.Pooling', which is not part of",
    ),
    "a module's folder lost": (without("1_Pooling"), r"names 1_Pooling, which is not there"),
    "pooling no JSON": (put(POOLING, "{"), r"1_Pooling/config\.json cannot be read"),
    "an unknown pooling": (change(POOLING, pooling_mode="median"), r"Invalid pooling mode"),
    "no weights": (without(WEIGHTS), r"no file named model\.safetensors"),
    "half the weights": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]),
        r"SafetensorError",
    ),
    "a weight lost": (
        weights(lambda tensors, name: tensors.pop(name)),
        r"lacks the weights layers\.0\.attention\.dense\.bias; copy",
    ),
    "weights of another shape": (
        change("config.json", intermediate_size=32), r"of another shape are .*mlp\.dense_h_to_4h"),
    "weights that are no numbers": (
        weights(lambda tensors, name: tensors[name].fill_(torch.nan)), r"no vectors of finite"),
    "a type that nobody has": (change("config.json", dtype="float17"), r"float17"),
    "an unknown architecture": (change("config.json", model_type="new"), r"model type `new`"),
    "config no JSON": (put("config.json", "{"), r"/config\.json cannot be read"),
    "no config": (without("config.json"), r"Unrecognized model"),
    "no tokenizer": (without("tokenizer.json", "tokenizer_config.json"), r"is its tokenizer whole"),
    "tokenizer damaged": (put("tokenizer.json", "{}"), r"cannot be loaded by sentence-tr"),
    "no pad token": (change("tokenizer_config.json", pad_token=None), r"with a pad token\?\)"),
    "a cross-encoder": (crossed, r"is a CrossEncoder, not an encoder of texts by one vector"),
    "a sparse encoder": (change(ABOUT, model_type="SparseEncoder"), r"is a SparseEncoder, not"),
    "about nothing": (put(ABOUT, "[]"), r"is a thing of no known kind"),
    "BERT alone": (bert, r"is not a causal decoder"),
    "BERT with a head": (lambda folder: bert(folder, head=True), r"is not a causal decoder"),
    "an empty folder": (lambda f: (shutil.rmtree(f), f.mkdir()), r"has no config\.json"),
    "a file": (lambda f: (shutil.rmtree(f), f.write_text("x")), r"is a file; an encoder is"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_strange_is_embedded_as_sentence_transformers_does(model, kind):
    RIGHT[kind](model)
    ours = find_encoder(str(model)).encode(TEXTS)
    peer = sentence_transformers.SentenceTransformer(str(model), device="cpu")
    theirs = peer.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_one_sentence_before_anything_is_paid(model, tmp_path, capfd, kind):
    damage, complaint = WRONG[kind]
    damage(model)
    texts, collection = tmp_path / "texts.txt", tmp_path / "mine"
    texts.write_text("\n".join(TEXTS))
    (collection / "qrels").mkdir(parents=True)
    write_jsonl(collection / "corpus.jsonl", [{"_id": "d", "text": "a cat"}])
    write_jsonl(collection / "queries.jsonl", [{"_id": "q", "text": "cat"}])
    (collection / "qrels" / "test.tsv").write_text("q\td\t1\n")
    with pytest.raises(ToolkitError):
        load(model)
    before = sorted(tmp_path.rglob("*"))
    for command in (
        ["embed", str(model), str(texts), "--out", str(tmp_path / "out.npy")],
        ["search", str(model), str(texts), "cat"],
        ["evaluate", str(model), str(collection)],
        ["export", str(model), str(tmp_path / "out")],
    ):
        capfd.readouterr()
        assert cli.main(command) == 2
        said = capfd.readouterr().err.strip()
        assert "LOAD REPORT" not in said and "Traceback" not in said
        *_, last = said.splitlines()
        assert last.startswith("error: ") and len(last) < 700
    with pytest.raises(ToolkitError, match=complaint):
        find_encoder(str(model))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_read_is_told(model, monkeypatch):
    """As another user's is; who runs the tests may be let in everywhere."""
    from pathlib import Path

    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    for door in (load, find_encoder):
        with pytest.raises(ToolkitError, match=r"model cannot be read: Permission denied"):
            door(str(model))


def test_a_pooling_named_by_hand_opens_a_folder_that_lost_its_modules(whole, model):
    without("modules.json")(model)
    peer = sentence_transformers.SentenceTransformer(str(whole), device="cpu")
    ours = load(model, pooling="last").encode(TEXTS)
    np.testing.assert_allclose(ours, peer.encode(TEXTS), atol=1e-5)

"""Special tokens: the same in training, evaluation and export, and a setting of the run."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.few import few
from tests.field.decoders import BEGIN, STOP, decoder
from toolkit import decoders
from toolkit.encoder.export import check_export, export
from toolkit.encoder.loading import trained
from toolkit.errors import ToolkitError
from toolkit.pairs.tokens import token_ids, tokenise
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.training.preparation import prepare
from toolkit.training.run import train_encoder

RUNS = Path(__file__).resolve().parents[2] / "runs"
TEXTS = ["", " ", "return item 00042", " two  blanks\n", "def get_00042(self): # 3", "long " * 90]


def config_of(easy: dict, folder: Path, **settings: object) -> RunConfig:
    return RunConfig.from_dict({**easy, "decoder": str(folder), "budget_flop": 2e8, **settings})


@pytest.mark.parametrize("pooling", few(["mean", "last"], ["last"]))
@pytest.mark.parametrize(
    ("adds", "special_tokens", "settings"),
    [
        ("none", True, {}),
        ("bos", True, {}),
        ("bos", False, {}),
        ("eos", True, {"padding_side": "left"}),
        ("both", True, {"padding_side": "left", "pad_token": STOP}),
        ("both", False, {"chat_template": "{{ messages[0]['content'] }}!"}),
        ("bos", True, {"chat_template": "<u>{{ messages[0]['content'] }}</u>"}),
        ("none", True, {"kind": "gpt2", "padding_side": "left"}),
        ("both", True, {"kind": "gpt2"}),
        ("none", True, {"bos_token": None, "eos_token": None}),
    ],
)
def test_sentence_transformers_embeds_as_the_run_did(
    easy, tmp_path, adds, special_tokens, settings, pooling
):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder = decoder(tmp_path / "decoder", adds=adds, **settings)
    config = config_of(easy, folder, pooling=pooling, special_tokens=special_tokens)
    _, model = train_encoder(config)
    ours = trained(model, config).encode(TEXTS)
    exported = export(trained(model, config), tmp_path / "encoder")
    encoder = sentence_transformers.SentenceTransformer(str(exported), device="cpu")
    np.testing.assert_allclose(encoder.encode(TEXTS), ours, atol=1e-5)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, ours, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)


def test_a_run_counts_the_special_tokens_that_its_tokenizer_adds(easy, tmp_path):
    folder = decoder(tmp_path / "decoder", adds="both")
    with_them, without = (
        prepare(config_of(easy, folder, special_tokens=used)) for used in (True, False)
    )
    batch = easy["batch_pairs"]
    assert with_them.schedule.tokens[0] - without.schedule.tokens[0] == 2 * 2 * batch
    assert (with_them.schedule.spent[0] > without.schedule.spent[0]).all()
    begin = decoders.load_tokenizer(decoders.find(str(folder))).convert_tokens_to_ids(BEGIN)
    assert set(with_them.held_out.queries.ids[with_them.held_out.queries.offsets[:-1]]) == {begin}


def test_tokens_with_and_without_special_ones_are_two_stores(easy, tmp_path):
    tokenizer = decoders.load_tokenizer(decoders.find(str(decoder(tmp_path / "d", adds="bos"))))
    with_them, without = (
        tokenise(easy["data"], tokenizer, special_tokens=used).train for used in (True, False)
    )
    rows = np.arange(len(without))
    assert (with_them.queries.lengths(rows) == without.queries.lengths(rows) + 1).all()


def test_a_tokenizer_that_adds_none_keeps_its_store(easy, tmp_path, monkeypatch):
    tokenizer = decoders.load_tokenizer(decoders.find("small-7k"))
    tokenise(easy["data"], tokenizer, special_tokens=False)
    monkeypatch.setattr("toolkit.pairs.tokens.read_pairs", lambda source: pytest.fail("read again"))
    tokenise(easy["data"], tokenizer)


def test_texts_are_cut_with_their_special_tokens_in_place(tmp_path):
    tokenizer = decoders.load_tokenizer(decoders.find(str(decoder(tmp_path / "d", adds="both"))))
    (ids,) = token_ids(["long " * 90], tokenizer, max_tokens=10)
    assert len(ids) == 10
    assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == [BEGIN, STOP]


def test_a_cut_without_room_for_text_is_refused(tmp_path):
    tokenizer = decoders.load_tokenizer(decoders.find(str(decoder(tmp_path / "d", adds="both"))))
    with pytest.raises(ToolkitError, match="max_tokens 2 leaves no room"):
        token_ids(["a text"], tokenizer, max_tokens=2)


def test_runs_from_before_the_setting_keep_their_names():
    folders = sorted((RUNS / "reference" / "runs").iterdir())
    assert len(folders) > 200
    for folder in folders[::20]:
        record = RunRecord.from_json((folder / "record.json").read_text())
        assert record.config.run_id == folder.name and record.config.special_tokens


def test_an_old_record_says_that_no_special_tokens_were_used_where_that_is_not_sure():
    (folder, *_) = sorted((RUNS / "reference" / "runs").iterdir())
    record = RunRecord.from_json((folder / "record.json").read_text())
    old = replace(record, config=replace(record.config, decoder="own/llama"))
    body = json.loads(old.to_json())
    del body["config"]["special_tokens"], body["sha256"]
    read = RunRecord.from_json(_signed(body))
    assert not read.config.special_tokens


def _signed(body: dict) -> str:
    import hashlib

    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return json.dumps({**body, "sha256": hashlib.sha256(text.encode()).hexdigest()})


def test_a_folder_that_holds_something_is_refused_before_the_run(easy, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ToolkitError, match="is not empty"):
        check_export(RunConfig.from_dict(easy), tmp_path)

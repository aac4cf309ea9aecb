"""A folder that holds something is never overwritten by something else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sweeps import record
from toolkit.decoders import find
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.runs import RunConfig
from toolkit.training.folder import check_own
from toolkit.training.pretraining import documents, make_tokenizer, pretrain
from toolkit.training.run import train
from toolkit.writing import check_file, check_folder

CONFIG = RunConfig("small-7k", 1e9, lr=0.01)
OTHER = replace(CONFIG, lr=0.02, seed=1)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("record.json", record(CONFIG).to_json()),
        ("config.json", json.dumps(CONFIG.to_dict())),
        ("checkpoint-000000010/state.json", json.dumps({"config": CONFIG.to_dict(), "step": 10})),
    ],
)
def test_another_runs_folder_is_refused_and_its_own_is_not(tmp_path, file, text):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    check_own(tmp_path, CONFIG)
    with pytest.raises(ToolkitError, match=r"another run .*lr 0.01, not 0.02, seed 0, not 1"):
        check_own(tmp_path, OTHER)
    with pytest.raises(ToolkitError, match="another run"):  # Before data or decoder are looked at.
        train(replace(OTHER, decoder="no-such"), tmp_path)
    assert path.read_text() == text


def test_a_record_that_cannot_be_read_is_not_overwritten(tmp_path):
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(ToolkitError, match="move that file away"):
        check_own(tmp_path, CONFIG)


def test_an_empty_or_new_folder_will_do(tmp_path):
    check_own(tmp_path, CONFIG)
    check_own(tmp_path / "new" / "run", CONFIG)
    assert not list(tmp_path.iterdir())


def test_the_same_run_again_gives_the_same_record(easy, tmp_path):
    config = RunConfig.from_dict(easy)
    assert train(config, tmp_path).loss == train(config, tmp_path).loss


@pytest.mark.parametrize(("name", "tokens"), [("small-7k", 2_998_272), ("small-3k", 40_000)])
def test_a_decoder_is_not_pretrained_over_another(name, tokens):
    suite = find("small-3k")
    with pytest.raises(ToolkitError, match="holds small-3k after 2,998,272 tokens"):
        pretrain(replace(find(name), source=suite.source), tokens=tokens)


def test_the_suites_tokenizer_can_be_made_again(tmp_path, monkeypatch):
    texts = ["".join(chr(97 + (i * j) % 26) for j in range(40)) for i in range(200)]
    monkeypatch.setattr(f"{documents.__module__}.documents", lambda: iter(texts))
    make_tokenizer(tmp_path)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(tokenizer(texts[7])["input_ids"]) == texts[7]
    assert tokenizer.eos_token_id == 0 and tokenizer.num_special_tokens_to_add() == 0


@pytest.mark.parametrize("place", ["file/below", "/proc/nowhere", "/dev/null/below", "a\0b"])
def test_a_place_where_nothing_can_be_written_is_known_before(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(SurroundingsError, match="cannot write"):
        check_folder(tmp_path / place)
    with pytest.raises(SurroundingsError):
        check_file(tmp_path / place / "page.html")


def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(SurroundingsError, match="no plain file"):
        check_file(Path("/dev/null"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SurroundingsError, match="is a folder"):
        check_file(tmp_path)
    check_file(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())

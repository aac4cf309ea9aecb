"""Configurations are validated when made; records show damage; the table keeps every digit."""

import hashlib
import json
import math
import os
from dataclasses import fields, replace

import pytest

from tests.sweeps import record
from toolkit.errors import ToolkitError
from toolkit.recipe.comparable import Comparable
from toolkit.records import RunRecord, read_record, run_table, table_csv
from toolkit.runs import PARTS, RunConfig, fields_that
from toolkit.tables import read_table
from toolkit.writing import write_atomically

CONFIG = RunConfig("small-7k", 1e11)


def test_numbers_that_yaml_reads_as_text_are_numbers():
    config = RunConfig.from_dict({"decoder": "small-7k", "budget_flop": "1e12", "lr": "4e-3"})
    assert (config.budget_flop, config.lr) == (1e12, 4e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"budget_flop": 0}, "budget_flop must be a positive"),
        ({"budget_flop": "many"}, "budget_flop must be a number, not 'many'"),
        ({"budget_flop": math.inf}, "positive finite"),
        ({"budget_flop": math.nan}, "positive finite"),
        ({"budget_flop": True}, "bad value"),
        ({"batch_pairs": 2.5}, "batch_pairs must be a whole number"),
        ({"method": "lorra"}, "did you mean lora"),
        ({"bugdet": 1}, "did you mean budget_flop"),
        ({"lora_rank": 8}, "lora_rank belongs to method lora"),
        ({"candidates": 1}, "at least 2"),
        ({"warmup": 1.0}, "warmup is a share"),
        ({"trained_blocks": 1.5, "method": "freeze"}, "fraction below 1"),
        ({"decoder": None}, "a run needs decoder"),
        ({"decoder": "\ud800"}, "bad value"),
        ({"data": ["a"] * 10_000}, "bad value"),
    ],
)
def test_a_mistake_is_refused_in_one_short_sentence(values, words):
    with pytest.raises(ToolkitError, match=words) as caught:
        RunConfig.from_dict({"decoder": "small-7k", "budget_flop": 1e11, **values})
    assert len(str(caught.value)) < 200


def test_a_configuration_survives_json_exactly():
    config = RunConfig("dir/ü 'q'\n", 1e-300, "lora", lora_targets=("a", "b"), lr=0.1 + 0.2)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


OF_MINED = ("negatives_per_query", "negative_margin")


def test_every_field_changes_the_run_id():
    config = RunConfig("small-7k", 1e11, "lora")
    changed = {
        **{"decoder": "small-15k", "budget_flop": 1.0000001e11, "data": "x", "lr": 1e-3},
        **{"flop_convention": "paper", "batch_pairs": 8, "max_pairs": 9, "max_tokens": 10},
        **{"temperature": 0.1, "pooling": "last", "lora_rank": 2, "lora_alpha": 2.0, "seed": 1},
        **{"lora_targets": ("dense",), "weight_decay": 0.0, "warmup": 0.0, "candidates": 4},
        **{"checkpointing": True, "chunk_tokens": 64, "special_tokens": False},
        **{"precision": "bfloat16", "query_column": "q", "positive_column": "p"},
        **{"negative_column": "n", "skip_bad": 0.1, "attention": "bidirectional"},
        **{"without": "see-also", "tracking": "wandb"},
        **{"query_prefix": "q:", "positive_prefix": "p:", "matryoshka": (8,)},
        **{"negatives": "mined", "false_negative_margin": 0.1},
    }
    ids = {replace(config, **{name: value}).run_id for name, value in changed.items()}
    changed["schedule"] = "trunk"
    ids.add(replace(config, schedule="trunk").run_id)
    of_trunk = ("cooldown", "warmup_flop")
    alone = {"method", "trained_blocks", "prefix_in_pooling", *OF_MINED, *of_trunk}
    assert set(changed) == {f.name for f in fields(RunConfig)} - alone
    assert len(ids | {config.run_id}) == len(changed) + 1
    mined = replace(config, negatives="mined", query_prefix="q:")
    others = {"negatives_per_query": 2, "negative_margin": 0.1, "prefix_in_pooling": False}
    ids = {replace(mined, **{name: value}).run_id for name, value in others.items()}
    assert len(ids | {mined.run_id}) == 4
    trunk = replace(config, schedule="trunk")
    ids = {replace(trunk, **{name: 0.3}).run_id for name in of_trunk}
    assert len(ids | {trunk.run_id}) == 3


def test_a_run_id_is_a_plain_file_name():
    for decoder in ("../../etc/passwd", "a/b", "..", "x" * 300, "ü *?\n"):
        run_id = RunConfig(decoder, 1e11).run_id
        assert "/" not in run_id and "\n" not in run_id and len(run_id) < 100
        assert run_id.startswith("full-")


def test_a_record_survives_its_text_exactly():
    kept = record(CONFIG, loss=0.1 + 0.2, seconds=1e-300)
    assert RunRecord.from_json(kept.to_json()) == kept


def test_a_diverged_record_keeps_its_nan():
    kept = record(CONFIG, status="diverged", reason="loss became NaN", loss=math.nan)
    read = RunRecord.from_json(kept.to_json())
    assert read.status == "diverged" and math.isnan(read.loss)


def test_one_changed_character_anywhere_is_noticed(tmp_path):
    text = record(CONFIG).to_json()
    path = tmp_path / "record.json"
    for place in range(0, len(text), 7):
        other = "7" if text[place] != "7" else "8"
        path.write_text(text[:place] + other + text[place + 1 :])
        try:
            assert read_record(path) == record(CONFIG)  # A change of blanks alone means nothing.
            assert text[place] in " \n"
        except ToolkitError as error:
            assert str(path) in str(error)


def test_a_record_cut_anywhere_is_noticed(tmp_path):
    text = record(CONFIG).to_json().rstrip()
    path = tmp_path / "record.json"
    for length in range(0, len(text), 11):
        path.write_text(text[:length])
        with pytest.raises(ToolkitError):
            read_record(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "failed"}, "has status 'failed'"),
        ({"loss": math.nan}, "without a finite loss"),
        ({"loss": "low"}, "no sensible loss"),
        ({"steps": -1}, "no sensible steps"),
        ({"lora_rank": True}, "no sensible lora_rank"),
        ({"seconds": None}, "no sensible seconds"),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_even_with_a_right_checksum(changes, words):
    with pytest.raises(ToolkitError, match=words):
        RunRecord.from_json(record(CONFIG, **changes).to_json())


def test_a_record_of_another_configuration_is_refused(tmp_path):
    path = tmp_path / "record.json"
    write_atomically(path, record(CONFIG).to_json())
    with pytest.raises(ToolkitError, match="another configuration"):
        read_record(path, replace(CONFIG, seed=1))


def test_the_table_has_every_digit_and_a_stable_order(tmp_path):
    records = [record(replace(CONFIG, seed=seed), loss=seed / 3) for seed in range(5)]
    text = table_csv(records)
    assert text == table_csv(records[::-1])
    (tmp_path / "runs.csv").write_text(text)
    read = read_table(tmp_path)
    assert sorted(read["loss"]) == [seed / 3 for seed in range(5)]
    assert read.equals(run_table(records))


def test_the_table_shows_hyperparameters_as_resolved():
    table = run_table([record(CONFIG, lr=4e-3, batch_pairs=32)])
    assert (table["lr"][0], table["batch_pairs"][0], table["decoder"][0]) == (4e-3, 32, "small-7k")
    assert "curve" not in table and "config" not in table


def test_an_empty_table_still_has_its_columns():
    assert {"run", "method", "loss", "flop_paper"} <= set(run_table([]).columns)


def test_a_table_that_was_cut_off_is_refused_with_its_line(tmp_path):
    text = table_csv([record(replace(CONFIG, seed=seed)) for seed in range(3)])
    (tmp_path / "runs.csv").write_text(text[: text.index("small-7k") + 60])
    columns = text.splitlines()[0].count(",") + 1
    with pytest.raises(ToolkitError, match=rf"line 2 has \d+ cells, the header {columns}"):
        read_table(tmp_path)


def test_a_missing_table_says_which_command_makes_it(tmp_path):
    with pytest.raises(ToolkitError, match="python -m toolkit sweep"):
        read_table(tmp_path)


def test_a_write_that_fails_leaves_the_old_text_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_atomically(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["record.json"]


def test_every_field_of_a_configuration_declares_its_part():
    undeclared = [f.name for f in fields(RunConfig) if f.metadata.get("part") not in PARTS]
    assert not undeclared
    listed = [name for part in PARTS for name in fields_that(part)]
    assert sorted(listed) == sorted(f.name for f in fields(RunConfig))


def test_a_field_added_later_leaves_the_names_of_older_runs_as_they_are():
    assert RunConfig("small-3k", 1e9).run_id == "full-small-3k-1e+09-s0-fb023124"


def test_a_record_keeps_what_it_was_made_with_and_an_older_one_is_read_without():
    config = RunConfig("small-7k", 1e11)
    made = {"fingerprint": "abc", "masked": 3, "loss_by_origin": {"aws": 1.5}}
    made |= {"revision": "0123456789ab+", "libraries": "torch 2.11.0"}
    kept = record(config, **made)
    assert RunRecord.from_json(kept.to_json()) == kept
    assert json.loads(run_table([kept])["loss_by_origin"][0]) == {"aws": 1.5}
    body = json.loads(kept.to_json())
    for name in made:
        del body["result"][name]
    del body["sha256"]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    body["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    old = RunRecord.from_json(json.dumps(body))
    assert (old.fingerprint, old.masked, old.loss_by_origin) == ("", None, {})


def test_runs_on_other_pairs_are_not_compared():
    runs = [record(RunConfig("small-7k", 1e11 * i), fingerprint="one") for i in (1, 2, 3)]
    runs += [record(RunConfig("small-7k", 4e11), fingerprint="two")]
    sorted_out = Comparable.of(run_table(runs))
    assert len(sorted_out.runs) == 3
    assert any("fingerprint is two, not one" in each.reason for each in sorted_out.excluded)
    older = [replace(each, fingerprint="") for each in runs[:3]]
    assert len(Comparable.of(run_table(older)).runs) == 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_pairs", "30k", 30_000),
        ("max_pairs", "30,000", 30_000),
        ("budget_flop", "1.5B", 1.5e9),
        ("budget_flop", "3×10¹²", 3e12),
        ("weight_decay", "0", 0.0),
        ("seed", "0", 0),
    ],
)
def test_numbers_are_read_as_people_write_them(name, text, value):
    values = {"decoder": "d", "budget_flop": 1, name: text}
    assert getattr(RunConfig.from_dict(values), name) == value


@pytest.mark.parametrize("text", ["lots", "1,5", "30 k pairs", "nan", "inf"])
def test_what_is_no_number_is_refused_in_a_sentence(text):
    with pytest.raises(ToolkitError, match="max_pairs must be a whole number, not"):
        RunConfig.from_dict({"decoder": "d", "budget_flop": 1, "max_pairs": text})


def test_a_whole_number_of_blocks_may_come_as_text():
    freeze = {"decoder": "d", "budget_flop": 1, "method": "freeze"}
    configs = [RunConfig.from_dict({**freeze, "trained_blocks": text}) for text in ("2", ".5")]
    assert [config.trained_blocks for config in configs] == [2, 0.5]

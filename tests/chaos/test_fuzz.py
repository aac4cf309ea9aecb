"""Damaged input is accepted for what it is or refused in one clear sentence; never a traceback."""

import gzip
import io
import json
import math
import string
from collections import Counter
from contextlib import contextmanager
from dataclasses import fields

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sweeps import record
from toolkit.errors import ToolkitError
from toolkit.laws.table import check
from toolkit.pairs.sources import read_pairs
from toolkit.recipe.comparable import Comparable
from toolkit.records import RunRecord, read_record, table_csv
from toolkit.runs import RunConfig
from toolkit.sweep.plan import Plan, read_plan
from toolkit.tables import read_table

CONFIG = RunConfig("small-7k", 1e11, "lora", lora_rank=4, lora_targets=("dense",))
RECORD = record(CONFIG).to_json()
TABLE = table_csv([record(RunConfig("small-7k", 10.0**i), params=3 + i) for i in range(5)])
SWEEP = """title: a study
base: {decoder: small-7k, lr: 1e-3}
grid:
  - {method: [full, bias], budget_flop: [1e9, 2e9], seed: [0, 1]}
  - method: lora
    lora_rank: 4
    budget_flop: 1e10
"""
PAIRS = {
    ".jsonl": '{"query": "a b", "positive": "c"}\n{"query": "d", "positive": "é"}\n',
    ".csv": 'query,positive\n"a, b",c\nd,"é\nf"\n',
}
FRAME = pd.read_csv(io.StringIO(TABLE))
TABLES = {
    "csv": TABLE,
    "semicolons": FRAME.to_csv(index=False, sep=";", decimal=","),
    "utf-16": TABLE.encode("utf-16"),
    "json lines": FRAME.to_json(orient="records", lines=True),
    "json": FRAME.to_json(orient="records"),
    "parquet": FRAME.to_parquet(),
    "gzip": gzip.compress(TABLE.encode()),
}
INPUTS = Counter()

# Damage as it happens: bytes cut out, put in, changed, doubled, blanked, the end lost.
damages = st.lists(
    st.tuples(
        st.sampled_from(["cut", "put", "change", "double", "blank", "end"]),
        st.floats(0, 1),
        st.integers(1, 40),
        st.one_of(st.binary(max_size=12), st.sampled_from([b"NaN", b"null", b"1e999", b'"', b","])),
    ),
    min_size=1,
    max_size=4,
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1e9", "inf", "nan", "full", "lora", "small-7k", "\ud800", "1_000"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
keys = st.sampled_from([field.name for field in fields(RunConfig)]) | st.text(max_size=12)


def damaged(text: str | bytes, blows) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    for kind, where, length, extra in blows:
        at = int(where * len(data))
        data = {
            "cut": data[:at] + data[at + length :],
            "put": data[:at] + extra + data[at:],
            "change": data[:at] + extra[:1] + data[at + 1 :],
            "double": data[:at] + data[at : at + length] * 2 + data[at + length :],
            "blank": data[:at] + bytes(min(length, len(data) - at)) + data[at + length :],
            "end": data[:at],
        }[kind]
    return data


@contextmanager
def clearly(kind: str):
    """Count an input; the one exception that may leave is a ToolkitError of one short line."""
    INPUTS[kind] += 1
    try:
        yield
    except ToolkitError as error:
        sentence = str(error)
        assert sentence.strip() and len(sentence) < 600, sentence
        assert all(c.isprintable() or c == " " for c in sentence), repr(sentence)


def drive(examples: int, check_one, *strategies) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*strategies))
    def each(drawn):
        check_one(*drawn)

    each()


def a_damaged_record(folder, blows):
    path = folder / "record.json"
    path.write_bytes(damaged(RECORD, blows))
    with clearly("records"):
        # Whatever is accepted says what it said before: only blanks between tokens may change.
        assert read_record(path, CONFIG) == RunRecord.from_json(RECORD)


def a_record_of_nonsense(values):
    body = json.loads(RECORD)
    body["result"].update(values)
    with clearly("records"):
        try:
            forged = RunRecord(config=CONFIG, **body["result"]).to_json()
        except (TypeError, ValueError):
            return
        read = RunRecord.from_json(forged)
        assert read.status == "diverged" or math.isfinite(read.loss)
        assert read.steps >= 0 and isinstance(read.reason, str)


def a_configuration(values):
    with clearly("configurations"):
        config = RunConfig.from_dict(values)
        assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        assert set(config.run_id) <= {*string.ascii_letters, *string.digits, *".-+_"} or (
            not config.decoder.isascii()
        )


def a_damaged_sweep_file(folder, blows):
    path = folder / "sweep.yaml"
    path.write_bytes(damaged(SWEEP, blows))
    with clearly("sweep files"):
        assert_whole(read_plan(folder))


def a_sweep_file_of_nonsense(folder, top):
    (folder / "sweep.yaml").write_text(yaml.safe_dump(top), encoding="utf-8")
    with clearly("sweep files"):
        assert_whole(read_plan(folder))


def assert_whole(plan: Plan):
    assert plan.configs and len(set(plan.configs)) == len(plan.configs)
    folders = {plan.run_folder(config).path for config in plan.configs}
    assert all(folder.parent == plan.folder / "runs" for folder in folders)


def a_damaged_table(folder, kind, blows):
    path = folder / "runs.csv"
    path.write_bytes(damaged(TABLES[kind], blows))
    with clearly("run tables"):
        table = read_table(path)
        checked = check(table, {"N": "params", "C": "budget_flop", "L": "loss"})
        assert all(math.isfinite(x) and x > 0 for x in checked.columns["L"])
        assert len(checked.rows) <= len(table)
        found = Comparable.of(table)
        assert set(found.best.index) <= set(found.runs.index)


def a_damaged_pair_file(folder, suffix, blows):
    path = folder / f"pairs{suffix}"
    path.write_bytes(damaged(PAIRS[suffix], blows))
    with clearly("pair files"):
        pairs = list(read_pairs(str(path)))
        assert all(pair.query.strip() and pair.positive.strip() for pair in pairs)


def fuzz(folder, examples: int) -> None:
    """So many inputs of each kind."""
    here = st.just(folder)
    runs = st.dictionaries(keys, values, max_size=4)
    sweep = {"grid": st.lists(runs, max_size=3) | values}
    optional = {"base": st.dictionaries(keys, values, max_size=3), "title": values}
    whole = runs.map(lambda values: {"decoder": "small-7k", "budget_flop": 1e9, **values})
    results = st.sampled_from([f.name for f in fields(RunRecord) if f.name != "config"])
    drive(examples, a_damaged_record, here, damages)
    drive(examples, a_record_of_nonsense, st.dictionaries(results, values, max_size=3))
    drive(examples, a_configuration, whole)
    drive(examples, a_damaged_sweep_file, here, damages)
    drive(examples, a_sweep_file_of_nonsense, here, st.fixed_dictionaries(sweep, optional=optional))
    drive(examples, a_damaged_table, here, st.sampled_from(list(TABLES)), damages)
    drive(examples, a_damaged_pair_file, here, st.sampled_from(list(PAIRS)), damages)


def test_hundreds_of_damaged_inputs_are_accepted_rightly_or_refused_clearly(tmp_path):
    fuzz(tmp_path, 100)


@pytest.mark.chaos
@pytest.mark.slow
def test_ten_thousand_damaged_inputs_are_accepted_rightly_or_refused_clearly(tmp_path):
    INPUTS.clear()
    fuzz(tmp_path, 1500)
    print(f"\n{INPUTS.total():,} damaged inputs: {dict(INPUTS)}")
    assert INPUTS.total() >= 10_000

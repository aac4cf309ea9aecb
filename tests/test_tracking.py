"""Tracking: off unless asked for, and then a run's losses are where the tracker keeps them."""

from dataclasses import replace

import pytest
from filelock import FileLock, Timeout

from toolkit.cache import cache_folder
from toolkit.errors import ToolkitError
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.tables import notes, read_table
from toolkit.training import tracking
from toolkit.training.run import train


def test_tensorboard_gets_the_losses_on_the_way_and_the_end(easy, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = RunConfig.from_dict({**easy, "tracking": "tensorboard"})
    record = train(config, tmp_path)
    events = EventAccumulator(str(tmp_path / "tracking"))
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == list(range(1, record.steps + 1))
    assert events.Scalars("result/loss")[0].value == pytest.approx(record.loss)


def test_it_changes_no_result_and_is_off_by_default(easy, tmp_path):
    pytest.importorskip("tensorboard")
    config = RunConfig.from_dict(easy)
    assert config.tracking == "none"
    plain = train(config, tmp_path / "plain")
    assert not (tmp_path / "plain" / "tracking").exists()
    assert train(replace(config, tracking="tensorboard"), tmp_path / "t").loss == plain.loss


def test_a_tracker_is_told_and_closed_even_when_the_run_dies(easy):
    told = []

    class Fake:
        def log(self, values, step):
            told.append((step, values))

        def finish(self):
            told.append("finished")

    config = RunConfig.from_dict({**easy, "tracking": "tensorboard"})
    pytest.importorskip("tensorboard")
    from toolkit.training.loop import Progress

    with (
        pytest.raises(KeyboardInterrupt),
        tracking.tracked(config, None, {}, lambda *_: Fake()) as t,
    ):
        t.step(Progress(1, 2, 10.0, 3.5, 3.0))
        raise KeyboardInterrupt
    assert told == [(1, {"train/loss": 3.5, "flop": 10.0, "held_out/loss": 3.0}), "finished"]


@pytest.mark.parametrize("fails", ["start", "log", "finish"])
def test_a_tracker_that_fails_is_warned_of_once_and_loses_no_run(
    easy, tmp_path, monkeypatch, fails
):
    class Fake:
        def log(self, values, step):
            if fails == "log":
                raise ConnectionError("no network")

        def finish(self):
            raise ConnectionError("no network")

    def start(*_):
        if fails == "start":
            raise ConnectionError("no network")
        return Fake()

    monkeypatch.setattr(tracking, "check", lambda name: None)
    monkeypatch.setattr(tracking, "_start", start)
    config = RunConfig.from_dict({**easy, "tracking": "mlflow"})
    with pytest.warns(UserWarning) as warned:
        record = train(config, tmp_path)
    (warning,) = (str(w.message) for w in warned if "tracking" in str(w.message))
    assert "mlflow failed, and this run goes on without it: ConnectionError: no network" in warning
    assert record.status == "finished" and read_record(tmp_path / "record.json") == record


def test_workers_begin_with_their_tracker_one_at_a_time(easy, tmp_path, monkeypatch):
    """Two at once would both make the tables of a fresh MLflow store, and one fail."""
    pytest.importorskip("accelerate")
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    begun = []

    class Fake:
        def __init__(self, **_):
            pass

        def start(self):
            with pytest.raises(Timeout):
                FileLock(cache_folder() / "tracking.lock").acquire(timeout=0)
            begun.append(self)

        def store_init_configuration(self, values):
            pass

        def log(self, values, step):
            pass

        def finish(self):
            pass

    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "mlflow", Fake)
    monkeypatch.setattr(tracking, "check", lambda name: None)
    config = RunConfig.from_dict({**easy, "tracking": "mlflow"})
    for _ in range(2):
        with tracking.tracked(config, tmp_path, {}):
            pass
    assert len(begun) == 2


# Laid out as the table of runs that W&B's page exports: every cell in quotes, what it knows of a
# run first, then settings and results by name; a run that did not end has no results.
WANDB = """\
"Name","State","Notes","User","Tags","Created","Runtime","Sweep","batch_pairs","budget_flop",\
"decoder","lr","matryoshka","method","prefix_in_pooling","tracking","flop","held_out/loss",\
"result/loss","result/params","result/tokens","result/flop_model","train/loss"
"full-a","finished","-","me","","2026-11-26T09:48:11.000Z","91","","16","10000000000","small-7k",\
"0.01","","full","true","wandb","10000000000","","2.5","6592","252000","9900000000","2.1"
"full-b","finished","-","me","","2026-11-26T09:50:11.000Z","88","","16","10000000000","small-15k",\
"0.01","","full","true","wandb","10000000000","","2.75","14496","115000","9900000000","2.3"
"full-c","crashed","-","me","","2026-11-26T09:52:11.000Z","3","","16","10000000000","small-38k",\
"0.01","","full","true","wandb","120000000","","","","","","3.9"
"""


def test_a_table_exported_from_wandb_s_page_is_a_run_table(tmp_path):
    path = tmp_path / "wandb_export.csv"
    path.write_text(WANDB)
    table = read_table(path)
    assert table["run"].tolist() == ["full-a", "full-b", "full-c"]
    assert table["status"].tolist() == ["finished", "finished", "crashed"]
    assert table["loss"].tolist()[:2] == [2.5, 2.75] and table["loss"].isna()[2]
    ended = table[table["status"] == "finished"]
    assert ended["budget_flop"].tolist() == [1e10, 1e10] and ended["lr"].tolist() == [0.01, 0.01]
    assert ended["params"].tolist() == [6592, 14496]
    assert ended["tokens"].tolist() == [252000, 115000]
    assert any("the loss is column 'result/loss', not 'held_out/loss'" in n for n in notes(table))


def mlflow_table(run):
    """Runs `run`; what `mlflow` then makes of its runs as a table, as a person exports it."""
    import mlflow

    run()
    table = mlflow.search_runs(experiment_names=[tracking.PROJECT])
    return table.rename(columns={"tags.mlflow.runName": "Name"})


@pytest.mark.slow
def test_what_a_run_told_mlflow_comes_back_as_its_row_of_a_run_table(easy, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    config = RunConfig.from_dict({**easy, "tracking": "mlflow"})
    table = mlflow_table(lambda: train(config, tmp_path / "run"))
    record = read_record(tmp_path / "run" / "record.json")
    assert table["Name"].tolist() == [config.run_id]
    (last,) = table.filter(regex="train/loss$").iloc[0]
    assert last == pytest.approx(record.curve[-1][2])
    table.to_csv(tmp_path / "export.csv", index=False)
    (row,) = read_table(tmp_path / "export.csv").to_dict("records")
    for column in ("method", "decoder", "budget_flop", "lr", "batch_pairs", "loss", "params",
                   "tokens", "flop_model"):  # fmt: skip
        same = record.row()[column]
        assert row[column] == (same if isinstance(same, str) else pytest.approx(same)), column


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_refused_with_its_remedy(monkeypatch, name):
    monkeypatch.setattr(tracking, "find_spec", lambda package: None if package == name else 1)
    with pytest.raises(ToolkitError, match=f"tracking: {name} needs `pip install {name}`"):
        tracking.check(name)
    with pytest.raises(ToolkitError, match="unknown tracking"):
        RunConfig("small-7k", 1e9, tracking="tensorbord")


@pytest.mark.parametrize(
    ("config", "measure"),
    [("config.{}", "summary.{}"), ("params.{}", "metrics.{}"), ("{}", "{}")],
)
def test_a_table_exported_from_a_tracker_is_a_run_table(tmp_path, config, measure):
    names = [config.format(n) for n in ("method", "params", "budget_flop", "lr")]
    rows = [",".join([*names, measure.format("loss"), measure.format("tokens")])]
    rows += [f"full,{n},{c},0.001,{2 + 1e3 / n:.3f},{c / 6 / n:.0f}"
             for c in (1e10, 1e11) for n in (1e4, 2e4, 4e4)]  # fmt: skip
    path = tmp_path / "export.csv"
    path.write_text("\n".join(rows))
    table = read_table(path)
    assert {"method", "params", "budget_flop", "lr", "loss", "tokens"} <= set(table.columns)
    assert table["lr"].tolist() == [0.001] * 6

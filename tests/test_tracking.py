"""Tracking: off unless asked for, and then a run's losses are where the tracker keeps them."""

from dataclasses import replace

import pytest

from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig
from toolkit.tables import read_table
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
    assert events.Scalars("final/loss")[0].value == pytest.approx(record.loss)


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
    from toolkit.training.run import Progress

    with pytest.raises(KeyboardInterrupt), tracking.tracked(config, None, lambda *_: Fake()) as t:
        t.step(Progress(1, 2, 10.0, 3.5, 3.0))
        raise KeyboardInterrupt
    assert told == [(1, {"train/loss": 3.5, "flop": 10.0, "held_out/loss": 3.0}), "finished"]


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

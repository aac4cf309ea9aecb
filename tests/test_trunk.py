"""One trunk for many budgets: a branch is the run that it would have been alone."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from tests.sweeps import WRITE, make_sweep
from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig
from toolkit.sweep import trunks
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.folders import RunFolder
from toolkit.sweep.plan import expand
from toolkit.training import checkpoints, trunk
from toolkit.training.run import train
from toolkit.training.schedule import affordable, cooldown_start, trunk_rate

BUDGETS = [2e8, 4e8, 8e8]


def test_the_rate_warms_up_stays_and_cools_down_as_one_minus_a_square_root():
    rates = [trunk_rate(step, 100, warming=10, start=80) for step in range(100)]
    assert rates[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert rates[10:81] == [1.0] * 71
    assert rates[85] == pytest.approx(1 - np.sqrt(5 / 20))
    assert 0 < rates[99] < 0.03


def test_up_to_the_cooldown_no_rate_depends_on_the_length():
    start = cooldown_start(50, None)
    assert start == 40
    short = [trunk_rate(step, 50, warming=5, start=start) for step in range(start)]
    long = [trunk_rate(step, 500, warming=5, start=400) for step in range(start)]
    assert short == long
    assert cooldown_start(1, 0.2) == 0 and cooldown_start(3, 1.0) == 0
    assert affordable(np.array([3, 6, 9]), 6) == 2


@pytest.fixture
def family(easy):
    """Runs of three budgets that may share a trunk, the largest last."""
    values = {**easy, "schedule": "trunk"}
    return expand({key: v for key, v in values.items() if key != "budget_flop"},
                  [{"budget_flop": BUDGETS}])  # fmt: skip


def folder(sweep, config):
    path = sweep / "runs" / config.run_id
    RunFolder(path, config).prepare()
    return path


def test_budgets_share_the_warm_up_of_the_smallest(family):
    assert {config.warmup_flop for config in family} == {0.1 * BUDGETS[0]}
    (found,) = trunks.families(family)
    assert [config.budget_flop for config in found.runs] == BUDGETS[::-1]
    assert trunks.shares(family) == dict.fromkeys(found.branches, 0.2)


def test_a_branch_comes_to_what_it_does_alone_bit_for_bit_and_pays_for_its_cooldown(
    family, tmp_path
):
    trunks.prepare(tmp_path, trunks.families(family))
    records = {}
    for config in sorted(family, key=lambda config: -config.budget_flop):
        records[config] = train(config, folder(tmp_path, config))
    for config, record in records.items():
        alone = train(config)
        assert (record.loss, record.steps) == (alone.loss, alone.steps)
        assert record.flop_model == alone.flop_model and alone.flop_inherited == 0
        if config.budget_flop < max(BUDGETS):
            start = cooldown_start(record.steps, None)
            share = record.flop_inherited / record.flop_model
            assert share == pytest.approx(start / record.steps, abs=0.1)
        else:
            assert record.flop_inherited == 0


def test_a_trunk_that_was_killed_goes_on_and_is_inherited_from_once(family, tmp_path):
    class Stop(Exception):
        pass

    def stop(point):
        if point.step > 0.6 * point.steps:
            raise Stop

    largest = max(family, key=lambda config: config.budget_flop)
    trunks.prepare(tmp_path, trunks.families(family))
    where = folder(tmp_path, largest)
    with pytest.raises(Stop):
        train(largest, where, progress=stop)
    place = trunk.place(tmp_path, largest, largest.batch_pairs)
    assert len(list(place.glob("checkpoint-*"))) == 2, "its branches can begin already"
    record = train(largest, where)
    assert record.flop_inherited == 0, "what it made itself is its own"
    assert record.loss == train(largest).loss


def test_a_damaged_checkpoint_costs_time_and_nothing_else(family, tmp_path):
    trunks.prepare(tmp_path, trunks.families(family))
    largest, middle = sorted(family, key=lambda config: -config.budget_flop)[:2]
    train(largest, folder(tmp_path, largest))
    place = trunk.place(tmp_path, largest, largest.batch_pairs)
    newest = max(place.glob("checkpoint-*"))
    content = bytearray((newest / "trained.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "trained.safetensors").write_bytes(content)
    with pytest.warns(UserWarning, match=f"{newest.name} is damaged: its steps are made again"):
        record = train(middle, folder(tmp_path, middle))
    assert record.loss == train(middle).loss
    first = min(place.glob("checkpoint-*"))
    inherited = checkpoints.read(first).step / record.steps
    assert record.flop_inherited / record.flop_model == pytest.approx(inherited, abs=0.1)
    assert not newest.exists(), "it is not stumbled over again"


def test_without_an_announcement_nothing_is_shared_or_written(family, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(family[0], folder(tmp_path, family[0]))
    assert not (tmp_path / "trunks").exists()


def test_what_keeps_a_grid_from_sharing_is_named(easy):
    plain = {**easy, "schedule": "trunk"}
    (first, second) = (
        RunConfig(**{**plain, "budget_flop": 1e9, "lr": 1e-3}),
        RunConfig(**{**plain, "budget_flop": 2e9, "lr": 2e-3}),
    )
    assert trunks.families([first, second]) == ()
    (line,) = trunks.left_alone([first, replace(second, warmup=0.2)])
    assert "differs in lr and warmup" in line
    free = {"decoder": "small-7k", "schedule": "trunk"}
    (line,) = trunks.left_alone([RunConfig(**free, budget_flop=x) for x in (1e9, 1e13)])
    assert "batch_pairs (its default follows the budget: give one)" in line
    (line,) = trunks.left_alone([first])
    assert line.endswith("shares no trunk: there is no run of another budget")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schedule": "linear"}, "schedule"),
        ({"cooldown": 0.3}, "cooldown belongs to schedule trunk, not cosine"),
        ({"schedule": "trunk", "cooldown": 0.0}, "cooldown is a share of the steps"),
        ({"warmup_flop": 1e8}, "warmup_flop belongs to schedule trunk"),
    ],
)
def test_settings_of_a_schedule_are_checked(values, words):
    with pytest.raises(ToolkitError, match=words):
        RunConfig("small-7k", 1e9, **values)


def test_a_budget_below_one_step_is_refused_on_a_trunk_too(family):
    with pytest.raises(ToolkitError, match="under one step"):
        train(replace(family[0], budget_flop=1e3, warmup_flop=None))


@pytest.mark.process
def test_a_sweep_makes_its_trunk_first_and_tells_both_costs(tmp_path, capsys):
    body = (
        "from dataclasses import replace\n"
        "from toolkit.training import trunk\n"
        "place = trunk.place(Path(folder).parent.parent, config, 16)\n"
        "assert (place / trunk.FILE).exists()\n"
        "record = replace(record, flop_model=100, flop_inherited=80 if budget_flop < 3e9 else 0)\n"
        + WRITE
    )
    grid = "  - {budget_flop: [1e9, 3e9, 2e9], batch_pairs: 16, schedule: trunk}\n"
    plan = make_sweep(tmp_path, grid, body)
    ended = []
    summary = run_sweep(plan, workers=2, ended=lambda state: ended.append(state))
    assert summary.ok, [state.reason for state in summary.states]
    assert ended[0].config.budget_flop == 3e9
    assert trunks.spent(summary.states) == (300, 140)
    assert not list((tmp_path / "trunks").iterdir()), "nothing needs them any more"
    assert main(["plan", str(tmp_path), "--template", str(tmp_path / "template.ipynb")]) == 0
    assert "budgets share trunks" in capsys.readouterr().out

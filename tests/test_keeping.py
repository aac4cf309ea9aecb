"""A sweep keeps the encoders that it is asked for, however it is stopped, and tells the disk."""

from dataclasses import replace

import pytest

from tests.sweeps import WRITE, make_sweep, write_template
from toolkit import cli
from toolkit.errors import ToolkitError
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.sweep import keeping
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.folders import RunFolder
from toolkit.sweep.plan import read_plan
from toolkit.sweep.templates import NOTEBOOKS, Template
from toolkit.training import kept
from toolkit.training.preparation import load_encoder, prepare
from toolkit.training.run import train, train_encoder

pytestmark = pytest.mark.process

GRID = """
  - {budget_flop: [1e9, 2e9], seed: [0, 1]}
  - {budget_flop: 1e9, method: bias}
"""
LEAVE = """
if keep:
    (Path(folder) / "encoder").mkdir()
    (Path(folder) / "encoder" / "encoder.json").write_text("{}")
"""


def sweep(folder, keep):
    plan = make_sweep(folder, GRID, LEAVE + WRITE)
    path = folder / "sweep.yaml"
    path.write_text(f"keep: {keep}\n" + path.read_text())
    names = [*plan.configs[0].to_dict(), "folder"]
    parameters = "\n".join(f"{name} = None" for name in names) + "\nkeep = False"
    return read_plan(folder, write_template(plan.template.path, LEAVE + WRITE, parameters))


def keepers(plan):
    """Of the runs that keep their encoder: method, budget, seed."""
    return {
        (config.method, config.budget_flop, config.seed)
        for config in plan.configs
        if kept.is_kept(plan.run_folder(config).path)
    }


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ("none", set()),
        ("best", {("full", 1e9, 0), ("full", 2e9, 0), ("bias", 1e9, 0)}),
        (
            "all",
            {(m, b, s) for m, b, s in [("full", 1e9, 0), ("full", 1e9, 1), ("bias", 1e9, 0)]}
            | {("full", 2e9, 0), ("full", 2e9, 1)},
        ),
    ],
)
def test_a_sweep_keeps_none_all_or_the_best_of_each_method_and_budget(tmp_path, keep, left):
    plan = sweep(tmp_path / "sweep", keep)  # its losses grow with the seed
    assert run_sweep(plan, workers=2).ok
    assert keepers(plan) == left


def test_what_was_beaten_when_the_sweep_was_killed_goes_when_it_is_run_again(tmp_path):
    plan = sweep(tmp_path / "sweep", "all")
    run_sweep(plan, workers=2)
    best = replace(plan, keep="best")
    assert run_sweep(best).started == 0
    assert len(keepers(best)) == 3


def test_runs_on_other_pairs_do_not_compete(tmp_path):
    one = RunConfig("small-7k", 1e9)
    assert keeping.rivals(one) == keeping.rivals(replace(one, lr=0.1, decoder="small-15k", seed=3))
    for other in (replace(one, data="manuals"), replace(one, candidates=64)):
        assert keeping.rivals(one) != keeping.rivals(other)


def test_the_disk_is_what_the_encoders_then_take(easy, tmp_path):
    for settings in ({"method": "full"}, {"method": "lora"}, {"method": "bias"}):
        config = RunConfig.from_dict({**easy, **settings})
        folder = tmp_path / config.method
        folder.mkdir()
        train(config, folder, keep=True)
        values = keeping.encoder_bytes(config)
        # Names and shapes, a few kilobytes, come on top.
        assert values <= kept.kept_bytes(folder) <= values + 10_000


def test_best_needs_no_more_disk_than_all_and_none_needs_none(tmp_path):
    plan = sweep(tmp_path / "sweep", "all")
    every = keeping.disk_left(plan, plan.states(), 2)
    best = keeping.disk_left(replace(plan, keep="best"), plan.states(), 1)
    size = keeping.encoder_bytes(plan.configs[0])
    bias = keeping.encoder_bytes(plan.configs[-1])
    assert every == (4 * size + bias,) * 2
    assert best == (2 * size + bias, 3 * size + bias)
    assert keeping.disk_left(replace(plan, keep="none"), plan.states(), 2) == (0, 0)


def test_the_plan_tells_the_disk_and_which_runs_came_too_early(tmp_path, capsys):
    plan = sweep(tmp_path / "sweep", "none")
    run_sweep(plan)
    path = plan.folder / "sweep.yaml"
    text = path.read_text().replace("keep: none", "keep: best")
    path.write_text(text + "  - {budget_flop: 3e9}\n")
    assert cli.main(["plan", str(plan.folder)]) == 0
    said = capsys.readouterr().out
    assert "3 runs ended before this was asked for and kept none" in said
    assert "that of the best run of each method at each budget is kept, about 289 kB" in said


def test_encoders_without_room_are_refused_before_anything_starts(tmp_path, monkeypatch):
    plan = sweep(tmp_path / "sweep", "all")
    monkeypatch.setattr(keeping, "BYTES", 10**12)
    with pytest.raises(ToolkitError, match=r"keep: all takes up to .* TB in .* are free"):
        run_sweep(plan)
    assert not any((plan.folder / "runs").glob("*/config.json"))


@pytest.mark.parametrize("keep", ["bets", "true", "[best]", "3"])
def test_another_keep_is_refused(tmp_path, keep):
    with pytest.raises(ToolkitError, match="unknown keep"):
        sweep(tmp_path / "sweep", keep)


def test_a_template_that_cannot_keep_is_refused_where_encoders_are_kept(tmp_path):
    template = Template(write_template(tmp_path / "old.ipynb"))
    template.check()
    with pytest.raises(ToolkitError, match="has no parameter keep"):
        template.check(keep=True)
    Template(NOTEBOOKS / "train.ipynb").check(keep=True)


@pytest.mark.parametrize("method", ["full", "freeze", "lora", "bias"])
def test_a_kept_encoder_comes_back_to_the_last_bit(easy, tmp_path, method):
    config = RunConfig.from_dict({**easy, "method": method})
    _, model = train_encoder(config, tmp_path, keep=True)
    again = load_encoder(prepare(config))
    kept.restore(tmp_path, config, again)
    ours, theirs = model.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)


@pytest.mark.parametrize("damaged", ["trained.safetensors", "encoder.json"])
def test_a_damaged_one_is_refused_with_the_way_out(easy, tmp_path, damaged):
    config = RunConfig.from_dict(easy)
    train(config, tmp_path, keep=True)
    path = tmp_path / "encoder" / damaged
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ToolkitError, match=r"damaged; do the run again: .* --keep"):
        kept.restore(tmp_path, config, load_encoder(prepare(config)))


def test_adapters_are_not_put_on_another_decoder(easy, tmp_path):
    config = RunConfig.from_dict({**easy, "method": "lora"})
    train(config, tmp_path, keep=True)
    model = load_encoder(prepare(config))
    model.embed_in.base_layer.weight.data += 0.1
    with pytest.raises(ToolkitError, match="are not those that the encoder in"):
        kept.restore(tmp_path, config, model)


def test_a_run_that_has_ended_without_its_encoder_is_done_again_on_request(easy, tmp_path, capsys):
    config = RunConfig.from_dict(easy)
    folder = RunFolder(tmp_path, config)
    folder.prepare()
    assert cli.main(["train", str(tmp_path)]) == 0
    first = read_record(folder.record)
    assert not kept.is_kept(tmp_path)
    assert cli.main(["train", str(tmp_path)]) == 2
    assert "--keep does it again" in capsys.readouterr().err
    assert cli.main(["train", str(tmp_path), "--keep"]) == 0
    assert kept.is_kept(tmp_path) and read_record(folder.record).loss == first.loss
    assert cli.main(["train", str(tmp_path), "--keep"]) == 2
    assert "keeps its encoder already" in capsys.readouterr().err


def test_a_run_killed_while_it_keeps_leaves_nothing_that_looks_whole(easy, tmp_path, monkeypatch):
    config = RunConfig.from_dict(easy)
    folder = RunFolder(tmp_path, config, keep=True)
    folder.prepare()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("toolkit.training.weights.digest", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, keep=True)
    assert not kept.is_kept(tmp_path) and not folder.state().ended
    (tmp_path / ".encoder.1.tmp").mkdir()  # as a process leaves it that had no time at all
    folder.prepare()
    train(config, tmp_path, keep=True)
    assert kept.is_kept(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "encoder", "record.json"]


def test_a_diverged_run_keeps_nothing(easy, tmp_path):
    record = train(RunConfig.from_dict({**easy, "lr": 1e30}), tmp_path, keep=True)
    assert record.status == "diverged" and not kept.is_kept(tmp_path)

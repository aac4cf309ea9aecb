"""A run: it learns, keeps to its budget, repeats itself, and goes on where it stopped."""

import math
from dataclasses import replace

import pytest
import torch

from toolkit import decoders
from toolkit.errors import ToolkitError
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.training import checkpoints
from toolkit.training.enough import check_candidates
from toolkit.training.evaluation import evaluate
from toolkit.training.loop import Progress
from toolkit.training.preparation import load_encoder, make_optimizer, prepare
from toolkit.training.run import train


def same(record):
    """What two equal runs share: everything but the seconds they took."""
    return replace(record, seconds=0.0)


@pytest.mark.parametrize("method", ["full", "freeze", "lora", "bias"])
def test_every_method_lowers_the_held_out_loss(easy, method):
    settings = {"lora_rank": 8, "lr": 1e-2} if method == "lora" else {"lr": 1e-2}
    config = RunConfig.from_dict({**easy, "method": method, "budget_flop": 2e9, **settings})
    run = prepare(config)
    before = evaluate(
        load_encoder(run), run.held_out, temperature=config.temperature, pooling=config.pooling
    )
    assert train(config).loss < before.loss - 0.1


def test_equal_runs_give_equal_records_to_the_bit(easy):
    config = RunConfig.from_dict(easy)
    first, second = train(config), train(config)
    assert same(first) == same(second)
    assert train(replace(config, seed=1)).loss != first.loss


@pytest.mark.parametrize("convention", ["paper", "model", "hardware"])
def test_the_budget_is_spent_to_within_one_step_and_never_exceeded(easy, convention):
    config = RunConfig.from_dict({**easy, "flop_convention": convention})
    record = train(config)
    spent = getattr(record, f"flop_{convention}")
    assert config.budget_flop * (1 - 2 / record.steps) < spent <= config.budget_flop
    assert record.pairs == record.steps * record.batch_pairs
    assert record.curve[-1][0] == record.steps


class Killed(Exception):
    pass


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_record(easy, tmp_path, method):
    config = RunConfig.from_dict({**easy, "method": method})
    undisturbed = train(config)

    def kill(point: Progress):
        if point.step == undisturbed.steps // 2:
            raise Killed

    with pytest.raises(Killed):
        train(config, tmp_path, progress=kill, checkpoint_seconds=0)
    assert not (tmp_path / "record.json").exists()
    steps = []
    resumed = train(config, tmp_path, progress=lambda point: steps.append(point.step))
    assert steps[0] >= undisturbed.steps // 2
    assert same(resumed) == same(undisturbed)
    assert same(read_record(tmp_path / "record.json", config)) == same(resumed)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("damaged", ["trained.safetensors", "optimizer.pt", "state.json"])
def test_a_damaged_checkpoint_is_not_used(easy, tmp_path, damaged):
    run = prepare(RunConfig.from_dict(easy))
    model = load_encoder(run)
    optimizer = make_optimizer(model, lr=run.lr, weight_decay=0.1)
    state = checkpoints.State(run.config.to_dict(), 3, 1.0, [])
    checkpoints.save(tmp_path, state, model, optimizer)
    assert checkpoints.newest(tmp_path, run.config.__eq__) == (tmp_path / state.name, state)
    assert checkpoints.restore(tmp_path / state.name, model, optimizer)
    file = tmp_path / state.name / damaged
    file.write_bytes(file.read_bytes()[:-20])
    assert checkpoints.newest(tmp_path, run.config.__eq__) is None


def test_a_checkpoint_of_another_configuration_is_not_used(easy, tmp_path):
    run = prepare(RunConfig.from_dict(easy))
    model = load_encoder(run)
    optimizer = make_optimizer(model, lr=run.lr, weight_decay=0.1)
    other = replace(run.config, seed=5).to_dict()
    checkpoints.save(tmp_path, checkpoints.State(other, 3, 1.0, []), model, optimizer)
    assert checkpoints.newest(tmp_path, run.config.__eq__) is None


def test_a_loss_that_is_no_number_is_recorded_as_diverged(easy, tmp_path):
    config = RunConfig.from_dict({**easy, "lr": 1e30})
    record = train(config, tmp_path)
    assert record.status == "diverged"
    assert "no number at step" in record.reason
    assert math.isnan(record.loss)
    assert read_record(tmp_path / "record.json").status == "diverged"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"batch_pairs": 4096}, "a batch needs 4,096 pairs but the training side has"),
        ({"max_pairs": 8}, "a batch needs 16 pairs but the training side has 8"),
        ({"budget_flop": 1e3}, "is under one step of 16 pairs, which costs"),
        ({"candidates": 1024}, "1,024 held-out candidates are asked for but the data hold out"),
        ({"method": "lora", "lora_rank": 4096}, "rank"),
        ({"method": "freeze", "trained_blocks": 9}, "block"),
        ({"decoder": "smal-15k"}, "unknown decoder 'smal-15k'; did you mean small-15k"),
        ({"data": "nowhere.csv"}, "data file nowhere.csv does not exist"),
    ],
)
def test_a_run_that_cannot_be_is_refused_in_one_sentence(easy, change, complaint):
    with pytest.raises(ToolkitError, match=complaint):
        train(RunConfig.from_dict({**easy, **change}))


@pytest.mark.parametrize(
    ("held_out", "advice"),
    [
        (40, "40 pairs (5 %); give more pairs or lower candidates to that"),
        (1, "1 pair (5 %); give more pairs"),
    ],
)
def test_fewer_candidates_are_advised_only_where_there_are_some(held_out, advice):
    with pytest.raises(ToolkitError) as refusal:
        check_candidates(held_out, 1024)
    assert str(refusal.value).endswith(advice)


def test_biases_and_norms_do_not_decay(easy):
    model = load_encoder(prepare(RunConfig.from_dict(easy)))
    optimizer = make_optimizer(model, lr=1e-3, weight_decay=0.1)
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in plain["params"]} == {1}


def test_distinct_pairs_are_counted_and_limited(easy):
    record = train(RunConfig.from_dict({**easy, "max_pairs": 64}))
    assert record.unique_pairs == 64
    assert record.pairs > 64


def test_the_learning_rate_follows_the_default_rule_where_none_is_given(easy):
    config = RunConfig.from_dict({**easy, "lr": None})
    run = prepare(config)
    assert run.lr == run.method.learning_rate(decoders.find("small-7k"))


def test_training_leaves_the_global_random_state_of_the_order_alone(easy):
    torch.manual_seed(123)
    first = train(RunConfig.from_dict(easy)).loss
    torch.manual_seed(456)
    assert train(RunConfig.from_dict(easy)).loss == first

"""Calibrate: a few cheap runs are chosen, made and read, and say what to do with a budget."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.sweeps import record
from toolkit import decoders
from toolkit.calibrate import campaign, words
from toolkit.calibrate.belief import believe, from_priors
from toolkit.calibrate.book import Asked, Book
from toolkit.calibrate.candidates import Candidates
from toolkit.calibrate.design import (
    OPENING,
    gains,
    may_be_made,
    next_runs,
    opening,
    outline,
)
from toolkit.calibrate.pool import Pool, Runs
from toolkit.calibrate.settings import Settings
from toolkit.calibrate.tuning import BATCH, RATE, Tried, Tuning
from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.laws.joint import JointLaw
from toolkit.laws.links import LINKS
from toolkit.training import defaults

CHANCE = math.log(1024)
NAMES = ("small-7k", "small-15k", "small-38k", "small-85k")
ASKED = Asked(1e12, 1e11, NAMES, ("full", "lora"), {"data": "docstrings"})


def law(params, pairs, rival=False):
    """A bounded law: what a run comes to without noise."""
    x = 0.45 * (params / 24000) ** -0.4 + (1.2 + 0.5 * rival) * (pairs / 60000) ** -0.8
    return 0.5 + (CHANCE - 0.5) * x / (1 + x)


def pool(target=1e13):
    params = np.array([6592.0, 14496.0, 38176.0, 84912.0, 200064.0])
    return Pool(
        target=target, methods=("full", "lora"), method=np.repeat([0, 1], 5), decoders=params,
        decoder=np.tile(np.arange(5), 2), single=np.zeros(5, bool),
        flop_per_pair=np.tile(600 * params, 2), unique=np.inf, chance=CHANCE,
    )  # fmt: skip


def made(of, *runs):
    choice, share = map(np.array, zip(*runs, strict=True))
    flop = share * of.target
    loss = law(of.params[choice], flop / of.flop_per_pair[choice], of.method[choice] == 1)
    return Runs(choice, flop, loss)


def truth(of):
    every = np.arange(len(of))
    return made(of, *((c, 1.0) for c in every)).loss


# What runs say


def test_more_money_on_the_leaders_lessens_the_expected_regret():
    few = made(pool(), (0, 0.005), (2, 0.005))
    more = few + made(pool(), *((c, 0.05) for c in range(10)))
    assert believe(pool(), more).regret < 0.6 * believe(pool(), few).regret


def test_a_belief_stands_on_the_truth_where_the_law_is_right():
    of = pool()
    belief = believe(of, made(of, *((c, s) for c in range(10) for s in (0.03, 0.1))), draws=800)
    low, high = np.quantile(belief.target, (0.01, 0.99), axis=0)
    assert ((low < np.log(truth(of))) & (np.log(truth(of)) < high)).all()
    assert truth(of)[belief.best] < 1.02 * truth(of).min()


def test_a_run_of_a_decoder_tells_of_that_decoder():
    of, before = pool(), made(pool(), (0, 0.02), (2, 0.02))
    spread = [believe(of, runs, draws=1500).target[:, 1].std()
              for runs in (before, before + made(of, (1, 0.1)))]  # fmt: skip
    assert spread[1] < spread[0]


def test_a_decoder_of_one_block_tells_less_of_the_others_than_another_would():
    """It obeys no common law: a good loss of it is largely its own affair."""
    of = pool()
    lone = replace(of, single=np.array([True, False, False, False, False]))
    usual = made(of, (1, 0.02), (2, 0.02), (0, 0.05))
    good = replace(usual, loss=usual.loss * np.array([1.0, 1.0, 0.8]))

    def moved(at):
        before, after = (believe(at, runs, draws=1500).target for runs in (usual, good))
        return (before - after)[:, 1:5].mean()

    assert moved(lone) < 0.8 * moved(of)


def test_a_belief_is_the_same_for_the_same_runs():
    runs = made(pool(), (0, 0.01), (2, 0.01))
    assert (believe(pool(), runs).target == believe(pool(), runs).target).all()


def test_less_comes_from_the_prior_the_more_runs_there_are():
    few = made(pool(), (0, 0.005), (2, 0.005))
    many = few + made(pool(), *((c, s) for c in range(5) for s in (0.01, 0.05, 0.2)))
    assert 0 < from_priors(pool(), many) < from_priors(pool(), few) <= 1


def test_runs_at_chance_and_an_unknown_chance_are_borne():
    of = pool()
    runs = Runs(np.array([0, 2]), np.array([5e10, 5e10]), np.array([0.999 * CHANCE] * 2))
    assert np.isfinite(believe(of, runs).target).all()
    assert np.isfinite(believe(replace(of, chance=math.nan), runs).target).all()


# What to run next


def test_the_first_round_is_of_two_sizes_with_the_likely_method():
    first = opening(pool())
    assert [pool().method[s.choice] for s in first] == [0, 0]
    assert first[0].choice < first[1].choice
    possible = np.array([True, True, False, False, False] * 2)
    assert {s.choice for s in opening(pool(), possible)} == {0, 1}


def test_a_decoder_of_one_block_is_not_in_the_first_round():
    lone = replace(pool(), single=np.array([True, False, False, False, False]))
    assert min(s.choice for s in opening(lone)) == 1


def test_the_second_round_is_an_outline_of_the_sizes_its_ends_first():
    of = pool()
    belief = believe(of, made(of, (0, 0.005), (2, 0.005)), *may_be_made(of))
    sizes = [s.choice for s in outline(belief, 0.1 * of.target)]
    assert sizes[:2] == [4, 0] and len(set(sizes)) == 4 and max(sizes) < len(of.decoders)
    assert [s.choice for s in outline(belief, 0.02 * of.target)] == [4, 0]
    assert not outline(belief, 0.005 * of.target)


def test_an_outline_leaves_out_a_decoder_of_one_block():
    lone = replace(pool(), single=np.array([True, False, False, False, False]))
    belief = believe(lone, made(lone, (1, 0.005), (2, 0.005)), *may_be_made(lone))
    assert {s.choice for s in outline(belief, 0.1 * lone.target)} == {1, 2, 3, 4}


@pytest.mark.parametrize("seed", range(4))
def test_a_world_that_obeys_a_law_exactly_is_known_for_a_tenth_of_its_target(seed):
    """One in which losses fall slowly with pairs, and start above chance."""
    params = np.array([3312.0, 6592, 14496, 38176, 84912, 200064, 559392, 1189888, 2669568])
    of = Pool(
        target=3e13, methods=("full", "lora"), method=np.repeat([0, 1], 9), decoders=params,
        decoder=np.tile(np.arange(9), 2), single=np.zeros(9, bool),
        flop_per_pair=np.tile(600 * params, 2), unique=np.inf, chance=CHANCE,
    )  # fmt: skip
    rng = np.random.default_rng(seed)

    def train(choice, flop, noise=0.01):
        pairs = flop / of.flop_per_pair[choice]
        loss = 0.06 + 0.6 * (of.params[choice] / 24000) ** -0.35
        loss += (3.3 + 0.5 * of.method[choice]) * (pairs / 60000) ** -0.22
        return Runs(choice, flop, loss * np.exp(noise * rng.standard_normal(len(loss))))

    steps, runs = [s for s in opening(of) for _ in range(2)], Runs.none()
    while steps:
        flop = np.array([s.flop for s in steps])
        runs += train(np.array([s.choice for s in steps]), flop)
        belief = believe(of, runs, *may_be_made(of))
        left = 0.1 * of.target - runs.spent
        steps = outline(belief, left) if len(runs) == 4 else next_runs(belief, left)
    assert runs.spent <= 0.1001 * of.target and runs.flop.min() >= OPENING * of.target
    best = train(np.arange(18), np.full(18, of.target), 0.0).loss
    assert best[belief.best] < 1.01 * best.min()


def test_no_round_costs_more_than_there_is():
    of = pool()
    belief = believe(of, made(of, (0, 0.005), (2, 0.005)), *may_be_made(of))
    for left in (0.009, 0.01, 0.03, 0.1):
        steps = next_runs(belief, left * of.target, 4)
        assert sum(s.flop for s in steps) <= left * of.target * 1.001
        assert bool(steps) == (left >= 0.01)


def test_a_gain_is_never_negative_and_a_known_run_gains_less():
    of = pool()
    belief = believe(of, made(of, (0, 0.01), (2, 0.01)), *may_be_made(of))
    gain = gains(belief)
    best = int(gain.argmax())
    assert (gain > -1e-9).all() and gains(belief.knowing(best))[best] < 0.7 * gain[best]


# The rate


def test_the_best_rate_lies_where_the_runs_say():
    def at(flop, best):
        factors = (1.0, 3.0)
        losses = tuple(3 * math.exp(0.05 * math.log(f / best) ** 2) for f in factors)
        return Tried(flop, factors, losses, 1.0)

    low, high, unknown = (
        Tuning.of(RATE, tried, 1e12).at(1e12)
        for tried in ([at(1e10, 0.6), at(1e11, 0.6)], [at(1e10, 2.5), at(1e11, 2.5)], [])
    )
    assert low.factor < 1 < 1.6 < high.factor
    assert high.low < 2.5 < high.high and low.low < 0.6 < low.high
    assert high.high / high.low < unknown.high / unknown.low


def test_without_a_comparison_the_rate_is_the_default_with_a_wide_interval():
    alone = Tuning.of(RATE, [Tried(1e10, (1.0,), (3.0,), 1.0)], 1e12).at(1e12)
    assert alone.cells == 0 and alone.factor == pytest.approx(1, abs=0.06) and alone.high > 2


def test_a_value_exceeds_the_best_by_nothing_at_the_median_and_by_more_the_farther_it_lies():
    tuning = Tuning.of(BATCH, [Tried(1e10, (1.0, 4.0), (3.0, 2.8), 1.0)], 1e12)
    middle = tuning.at(1e10).factor
    assert middle > 1.5 and tuning.excess(1e10, middle) == pytest.approx(0)
    assert 0 < tuning.excess(1e10, 0.9) < tuning.excess(1e10, 0.3)


# Rounds


def fake_sweep(plan, *, stop_after=None, fail=(), best_batch=1.0, unique=37807, steps=900, **_):
    """Executes a plan by the law of `law`; may be stopped after some runs.

    The best batch is a multiple of the default.
    """
    done = 0
    for config in plan.configs:
        folder = plan.run_folder(config)
        if folder.state().ended:
            continue
        if stop_after is not None and done >= stop_after:
            return SimpleNamespace(stopped=True, states=tuple(plan.states()))
        folder.prepare()
        if config.decoder in fail:
            folder.fail("it cannot be", 1.0)
            continue
        params = decoders.find(config.decoder).params
        pairs = int(config.budget_flop / (600 * params))
        factor = (config.lr or 0.26 / decoders.find(config.decoder).shape.hidden) / (
            0.26 / decoders.find(config.decoder).shape.hidden
        )
        default = defaults.batch_pairs(decoders.find(config.decoder), config.budget_flop)
        batch = config.batch_pairs or default
        loss = law(params, pairs, config.method == "lora")
        off = (
            0.03 * math.log(factor / 1.4) ** 2 + 0.07 * math.log(batch / default / best_batch) ** 2
        )
        loss *= math.exp(2 * (1 - loss / CHANCE) * off)
        folder.record.write_text(
            record(
                config, params=params, pairs=pairs, tokens=95 * pairs, unique_pairs=unique,
                loss=loss, lr=factor * 0.26 / decoders.find(config.decoder).shape.hidden,
                batch_pairs=batch, steps=steps,
            ).to_json()
        )  # fmt: skip
        done += 1
    return SimpleNamespace(stopped=False, states=tuple(plan.states()))


def test_rounds_are_made_until_the_money_is_spent(tmp_path):
    book = campaign.begin(tmp_path / "study", ASKED)
    standing, stopped = campaign.calibrate(book, run=fake_sweep)
    assert not stopped and standing.following is None
    assert 0.8 * ASKED.spend < standing.spent <= ASKED.spend * 1.001
    found = campaign.answer(standing)
    assert found.n_runs == len(standing.states) and found.rivals[0].regret == found.regret
    assert 0 <= found.regret <= found.regret_high and 0 < found.borrowed < 1
    assert found.lr[1] < found.lr[0] < found.lr[2]
    said = words.answer_in_words(found)
    assert found.rivals[0].decoder in said and "regret" in said and "one more round" in said
    assert any(s in said for s in words.STATUS.values())


@pytest.mark.parametrize(("best", "taken"), [(4.0, {64, 128, 256}), (1.0, {16, 32, 64})])
def test_a_batch_that_is_better_is_taken_by_later_runs_and_named_for_the_target(
    tmp_path, best, taken
):
    def run(plan, **options):
        return fake_sweep(plan, best_batch=best, **options)

    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", ASKED), run=run)
    later = [r for each in standing.book.rounds[1:] for r in each.runs]
    found = campaign.answer(standing)
    pairs, low, high = found.batch_pairs
    default = defaults.batch_pairs(decoders.find(found.rivals[0].decoder), ASKED.target)
    assert low <= best * default <= high and low < pairs < high and pairs in taken
    assert any("batch_pairs" in r for r in later) == (best > 1)
    assert f"batch {pairs} ({low} to {high}), batches were compared in 1 place" in (
        words.answer_in_words(found)
    )


@pytest.mark.parametrize(("steps", "warned"), [(60, True), (900, False)])
def test_runs_of_few_steps_are_said_to_tell_little(tmp_path, steps, warned):
    def run(plan, **options):
        return fake_sweep(plan, steps=steps, **options)

    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", ASKED), run=run)
    said = words.answer_in_words(campaign.answer(standing))
    assert ("had fewer than 200 steps" in said) == warned


def test_a_batch_that_was_asked_for_is_kept(tmp_path):
    asked = replace(ASKED, base={"data": "docstrings", "batch_pairs": 32})
    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", asked), run=fake_sweep)
    assert all("batch_pairs" not in r for each in standing.book.rounds for r in each.runs)
    assert "batch 32, as asked" in words.answer_in_words(campaign.answer(standing))


def test_a_run_counts_as_it_would_be_with_the_settings_that_would_be_taken_now(tmp_path):
    def run(plan, **options):
        return fake_sweep(plan, best_batch=4.0, **options)

    book = campaign.begin(tmp_path / "s", ASKED)
    book = book.with_round(campaign.stand(book).following)
    states = run(book.plan()).states
    candidates = Candidates.of(ASKED)
    of = candidates.pool(states)
    read = Settings.of(candidates, states, of).runs(states)
    small = [s for s in states if s.config.decoder == read_name(candidates, read)]
    assert read.loss[0] < min(s.record.loss for s in small)


def read_name(candidates, runs):
    return candidates.names[runs.choice[0]]


def test_stopped_anywhere_it_goes_on_to_the_same_answer(tmp_path):
    whole, _ = campaign.calibrate(campaign.begin(tmp_path / "a", ASKED), run=fake_sweep)
    folder, stops = tmp_path / "b", 0
    while True:
        book = campaign.begin(folder, ASKED if not stops else None)
        part, stopped = campaign.calibrate(book, run=fake_sweep, options={"stop_after": 1})
        if not stopped:
            break
        stops += 1
    assert stops >= 2
    assert [r.runs for r in part.book.rounds] == [r.runs for r in whole.book.rounds]
    assert campaign.answer(part).rivals == campaign.answer(whole).rivals


def test_the_page_shows_the_choices_the_runs_and_the_regret(tmp_path):
    from toolkit.calibrate.picture import picture

    seen = []
    book = campaign.begin(tmp_path / "s", ASKED)
    campaign.calibrate(book, run=fake_sweep, told=lambda standing: seen.append(picture(standing)))
    assert len(seen) > 2
    surface, regret = seen[-1].axes
    assert len(surface.lines) >= 3 and len(regret.lines[0].get_xdata()) == len(seen) - 1


def test_a_book_without_its_sweep_file_writes_it_again(tmp_path):
    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", ASKED), run=fake_sweep)
    before = (tmp_path / "s" / "sweep.yaml").read_text()
    (tmp_path / "s" / "sweep.yaml").unlink()
    assert campaign.stand(Book.open(tmp_path / "s", None)).spent == standing.spent
    assert (tmp_path / "s" / "sweep.yaml").read_text() == before


def test_a_decoder_that_fails_is_left_out_and_all_that_fail_are_a_sentence(tmp_path):
    def some(plan, **options):
        return fake_sweep(plan, fail=("small-85k",), **options)

    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", ASKED), run=some)
    found = campaign.answer(standing)
    failed = {(s.config.decoder, s.config.method) for s in standing.states if s.name == "failed"}
    assert failed.isdisjoint((r.decoder, r.method) for r in found.rivals)

    def none(plan, **options):
        return fake_sweep(plan, fail=NAMES, **options)

    with pytest.raises(ToolkitError, match="no run of the calibration"):
        campaign.calibrate(campaign.begin(tmp_path / "t", ASKED), run=none)


def test_failed_runs_are_tried_again_where_asked_even_when_the_money_is_spent(tmp_path):
    def broken(plan, **options):
        return fake_sweep(plan, fail=("small-15k", "small-38k", "small-85k"), **options)

    book = campaign.begin(tmp_path / "s", ASKED)
    before, _ = campaign.calibrate(book, run=broken)
    assert any(s.name == "failed" for s in before.states)
    book = campaign.begin(tmp_path / "s", None)
    after, _ = campaign.calibrate(book, run=fake_sweep, options={"retry_failed": True})
    assert all(s.ended for s in after.states)


# The command


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "--flop 1e16"),
        (["--flop", "3e11", "--spend", "200%"], "as much as the target"),
        (["--flop", "3e11", "--spend", "0.1%"], "at the least"),
        (["--flop", "3e11", "--spend", "x"], "--spend must be a positive number"),
        (["--flop", "3e11", "--decoders", "small-7k"], "two or more"),
        (["--flop", "3e11", "--decoders", "small-7k,small-8k"], "unknown decoder"),
        (["--flop", "3e11", "--methods", "ful"], "did you mean full"),
        (["--flop", "1e7"], "does not buy"),
        (["--flop", "3e11", "--pairs", "nothing.csv"], "does not exist"),
        (["--flop", "1e13", "--prior", "nothing"], "no run table at nothing"),
        (["--flop", "3e11", "--set", "nose=3"], "unknown run parameter"),
        (["--flop", "3e11", "--set", "lr=3"], "--set takes"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_made(tmp_path, capsys, options, sentence):
    folder = tmp_path / "study"
    assert main(["calibrate", str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not folder.exists()


def test_a_dry_run_shows_the_first_round_and_the_cost_and_makes_nothing(tmp_path, capsys):
    folder = tmp_path / "study"
    asked = ["calibrate", str(folder), "--flop", "1e12", "--dry-run"]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "round 1" in out and "10¹¹ FLOP in all" in out and not folder.exists()


def test_another_question_in_the_same_folder_is_refused(tmp_path, capsys):
    campaign.begin(tmp_path, ASKED).with_round(campaign.Round("first", ({"decoder": "small-7k"},)))
    assert main(["calibrate", str(tmp_path), "--flop", "2e12"]) == 2
    assert "was begun with another target" in capsys.readouterr().err


def test_a_sweep_is_not_written_over_and_a_damaged_book_is_said(tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text("grid: []")
    assert main(["calibrate", str(tmp_path), "--flop", "2e12"]) == 2
    assert "holds a sweep already" in capsys.readouterr().err
    (tmp_path / "calibration.json").write_text("{")
    assert main(["calibrate", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_a_borrowed_study_is_a_prior_with_a_width(tmp_path):
    from toolkit.calibrate.borrowed import WIDTH, borrow

    of = pool()
    runs = made(of, (0, 0.005), (2, 0.005), (4, 0.01), (6, 0.01))
    cells = runs.cells(of)
    priors = borrow(str(Path(__file__).parents[1] / "runs" / "reference"), cells)
    assert priors
    for link, prior in priors.items():
        place = JointLaw(cells, LINKS[link], own=True).parts["alpha"].start
        assert 0.9 * WIDTH < math.sqrt(prior.covariance[0, place, place]) < 1.1 * WIDTH
        assert 0.1 < math.exp(prior.centre[0, place]) < 1.0
    assert from_priors(of, runs, priors) > from_priors(of, runs)


def test_the_kept_calibration_is_read_as_it_was_made():
    folder = Path(__file__).parents[1] / "runs" / "calibrated"
    if not (folder / "calibration.json").exists():
        pytest.skip("none is kept")
    values = json.loads((folder / "calibration.json").read_text())
    assert values["answer"]["rivals"][0]["decoder"] in values["asked"]["decoders"]

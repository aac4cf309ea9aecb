"""The batch of a calibration: where it fails, meets its bounds, or was asked for."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.test_calibrate import ASKED, NAMES, fake_sweep
from toolkit.calibrate import campaign, words
from toolkit.calibrate.book import Round
from toolkit.cli import main


def second_batches_fail(plan, **options):
    """All runs as usual but those of a batch of their own."""
    for config in plan.configs:
        if config.batch_pairs:
            folder = plan.run_folder(config)
            folder.prepare()
            folder.fail("out of memory", 1.0)
    usual = tuple(config for config in plan.configs if not config.batch_pairs)
    summary = fake_sweep(replace(plan, configs=usual), **options)
    return SimpleNamespace(stopped=summary.stopped, states=tuple(plan.states()))


def test_a_second_batch_that_fails_leaves_its_decoder_in_the_running(tmp_path):
    book = campaign.begin(tmp_path / "s", ASKED)
    standing, _ = campaign.calibrate(book, run=second_batches_fail)
    found = campaign.answer(standing)
    assert any("out of memory" in reason for reason in found.failed)
    assert {r.decoder for r in found.rivals if r.method == "full"} == set(NAMES)
    assert found.batch.cells == 0


def test_no_batch_is_larger_than_there_are_distinct_pairs(tmp_path):
    """All the more where larger ones are better."""

    def few(plan, **options):
        return fake_sweep(plan, best_batch=8.0, unique=20, **options)

    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", ASKED), run=few)
    later = [r for each in standing.book.rounds[1:] for r in each.runs]
    assert {r.get("batch_pairs", 16) for r in later} == {16}
    assert set(campaign.answer(standing).batch_pairs) == {16}


@pytest.mark.parametrize("setting", ["null", "32"])
def test_a_batch_left_open_is_tuned_and_one_that_is_set_is_shown(tmp_path, capsys, setting):
    asked = ["calibrate", str(tmp_path / "s"), "--flop", "1e12", "--dry-run"]
    assert main([*asked, "--set", f"batch_pairs={setting}"]) == 0
    out = capsys.readouterr().out
    assert ("a second batch" in out) == (setting == "null")
    assert all(row.endswith("32") for row in out.splitlines() if "small-" in row) == (
        setting == "32"
    )


def test_a_calibration_that_was_begun_goes_on_whatever_a_first_round_would_cost_now(tmp_path):
    """Without a second batch it was cheaper."""
    asked = replace(ASKED, spend=0.021 * ASKED.target)
    with pytest.raises(campaign.ToolkitError, match="a second batch, takes"):
        campaign.begin(tmp_path / "new", asked)
    four = campaign.stand(campaign.Book(tmp_path / "s", ASKED)).following.runs[:4]
    campaign.Book(tmp_path / "s", asked).with_round(Round("two rates at two sizes", four))
    standing, _ = campaign.calibrate(campaign.begin(tmp_path / "s", None), run=fake_sweep)
    assert campaign.answer(standing).batch.cells == 0
    assert "from the default alone" in words.answer_in_words(campaign.answer(standing))


def test_pairs_too_few_for_a_decoders_batch_are_said_before_anything_is_paid(tmp_path, pairs_file):
    """Of the second decoder here, which takes 1,024 pairs a step."""
    base = {"data": str(pairs_file), "candidates": 16}
    asked = replace(ASKED, target=1e16, spend=1e15, decoders=("small-7k", "pythia-14m"), base=base)
    with pytest.raises(campaign.ToolkitError, match="pythia-14m: a batch needs 1,024 pairs"):
        campaign.begin(tmp_path / "s", asked)

"""Nothing that happens to a sweep loses a finished run, repeats one or tells a lie about one."""

import os

import pytest

from tests.chaos.chaos import Books, Chaos

pytestmark = pytest.mark.process


def assert_unharmed(books: Books, kills: int) -> None:
    print(f"\n{books}")
    assert books.kills.total() >= kills
    assert (books.finished_lost, books.finished_repeated) == (0, 0), str(books)
    assert (books.false_finishes, books.orphans, books.different_tables) == (0, 0, 0), str(books)


def test_a_dozen_kills_leave_a_sweep_as_if_nothing_had_happened(tmp_path):
    assert_unharmed(Chaos(tmp_path, seed=1).go(12), 12)


@pytest.mark.chaos
@pytest.mark.slow
def test_a_hundred_kills_leave_every_sweep_as_if_nothing_had_happened(tmp_path):
    kills = int(os.environ.get("CHAOS_KILLS", "100"))
    assert_unharmed(Chaos(tmp_path, seed=int(os.environ.get("CHAOS_SEED", "2"))).go(kills), kills)

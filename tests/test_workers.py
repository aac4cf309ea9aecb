"""How many notebooks are at work at a time."""

import pytest

from tests.sweeps import make_sweep
from toolkit import hardware
from toolkit.sweep.workers import workers_for


@pytest.mark.parametrize(
    "gpus, asked, left, number",
    [((), None, 9, 4), ((), 2, 9, 2), ((), None, 1, 1), (("0", "1"), None, 9, 2), ((), None, 0, 1)],
    ids=["a core each", "as asked", "no more than runs", "a GPU each", "nothing left"],
)
def test_notebooks_at_a_time(tmp_path, monkeypatch, gpus, asked, left, number):
    monkeypatch.setattr(hardware, "cpu_cores", lambda: 4)
    monkeypatch.setattr(hardware, "visible_gpus", lambda: gpus)
    plan = make_sweep(tmp_path, "  - {budget_flop: 1e9}")
    assert workers_for(plan, left, asked) == number

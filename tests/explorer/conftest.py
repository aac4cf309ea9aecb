import pytest

from toolkit.explorer import Explorer, explore
from toolkit.recipe.study import Study
from toolkit.synthetic import run_table
from toolkit.tables import tidy


@pytest.fixture(scope="session")
def table():
    return tidy(run_table(ranks=(8, 64, 512), shares=(0.5, 1.0), noise=0.003))


@pytest.fixture(scope="session")
def study(table) -> Study:
    return Study.of(table, draws=100)


@pytest.fixture
def explorer(table, study, monkeypatch) -> Explorer:
    """An open explorer; a callback that failed during the test fails the test."""
    fit = Study.of  # The same runs are fitted once for all tests.
    monkeypatch.setattr(
        Study, "of", lambda given, **how: study if given.equals(table) else fit(given, **how)
    )
    opened = explore(table, draws=100)
    yield opened
    opened.alerts.check()

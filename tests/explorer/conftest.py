import pytest

from toolkit.explorer import Explorer, explore
from toolkit.recipe.study import Study
from toolkit.synthetic import run_table
from toolkit.tables import tidy


@pytest.fixture(scope="session")
def table():
    return tidy(run_table(ranks=(8, 64, 512), shares=(0.5, 1.0), noise=0.003))


@pytest.fixture(scope="session")
def study(table, fit_once) -> Study:
    return fit_once(table, draws=100)


@pytest.fixture
def explorer(table, study, fitted_once) -> Explorer:
    """An open explorer; a callback that failed during the test fails the test."""
    opened = explore(table, draws=100)
    yield opened
    opened.alerts.check()

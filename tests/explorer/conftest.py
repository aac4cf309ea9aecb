import pytest

from toolkit.explorer import Explorer, explore
from toolkit.recipe.study import Study
from toolkit.synthetic import run_table


@pytest.fixture(scope="session")
def table():
    return run_table(ranks=(8, 64, 512), shares=(0.5, 1.0), noise=0.003)


@pytest.fixture(scope="session")
def study(table) -> Study:
    return Study.of(table, resamples=40)


@pytest.fixture
def explorer(table, study) -> Explorer:
    """An open explorer; a callback that failed during the test fails the test."""
    opened = explore(table, resamples=40)
    yield opened
    opened.alerts.check()

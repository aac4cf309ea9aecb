"""The long chaos tests run when they are asked for: `pytest -m chaos`."""

import pytest


def pytest_collection_modifyitems(config, items):
    if "chaos" in config.option.markexpr:
        return
    for item in items:
        if item.get_closest_marker("chaos"):
            item.add_marker(pytest.mark.skip(reason="long; runs with `pytest -m chaos`"))

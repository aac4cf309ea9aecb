"""A shipped study as a benchmark reads it: its runs and those of the tests within its folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from toolkit.tables import read_table


def with_tests(study: Path) -> pd.DataFrame:
    """The run table of a study's folder, and those of the folders in it, one after the other."""
    folders = [study, *(table.parent for table in sorted(study.glob("*/runs.csv")))]
    return pd.concat(map(read_table, folders), ignore_index=True)

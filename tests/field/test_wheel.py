"""A wheel, installed elsewhere, plans and sweeps with nothing of the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the wheel unpacked in it, as pip installs one."""
    made = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", made, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = made.glob("*.whl")
    assert wheel.stat().st_size < 3_000_000
    zipfile.ZipFile(wheel).extractall(made / "site")
    return made / "site"


@pytest.mark.slow
def test_a_wheel_plans_and_sweeps_away_from_the_checkout(site, tmp_path, pairs_file):
    text = f"""
base: {{data: {pairs_file}, batch_pairs: 16, candidates: 16}}
grid: [{{decoder: [small-3k, small-7k], budget_flop: 2e8}}]
"""
    (tmp_path / "sweep.yaml").write_text(text)

    def toolkit(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "toolkit", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )

    planned = toolkit("plan", ".")
    assert planned.returncode == 0, planned.stderr
    swept = toolkit("sweep", ".", "--workers", "1")
    assert swept.returncode == 0, swept.stderr
    assert "2 finished" in swept.stdout
    assert list((tmp_path / "cache" / "decoders-to-encoders").iterdir())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "sweep.yaml").write_text(text.replace("small-7k", "small-15k"))
    lacking = toolkit("plan", "more")
    assert lacking.returncode == 2 and "brings small-3k and small-7k" in lacking.stderr

"""A wheel, installed elsewhere, plans and sweeps with nothing of the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process


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


@pytest.fixture
def away(site, tmp_path):
    """Runs a command of the installed wheel in an empty folder, away from the checkout."""
    (tmp_path / "empty").mkdir()

    def toolkit(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "toolkit", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path / "empty",
            env={**os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache"),
                 "TOOLKIT_CACHE": ""},
        )  # fmt: skip
        return done

    return toolkit


def test_a_wheel_has_the_files_that_it_needs_and_no_more(site):
    files = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    for wanted in (
        "toolkit/py.typed",
        "toolkit/tables/published/farseer.csv",
        "toolkit/tables/published/README.md",
        "toolkit/files/notebooks/train.ipynb",
        "toolkit/files/notebooks/report.ipynb",
        "toolkit/files/runs/reference/runs.csv",
        "toolkit/files/runs/reference/test/runs.csv",
        "toolkit/files/runs/suite/small-7k/model.safetensors",
    ):
        assert wanted in files
    assert not [name for name in files if name.startswith(("tests", "docs", "benchmarks"))]


@pytest.mark.slow
def test_a_wheel_plans_and_sweeps_away_from_the_checkout(away, tmp_path, pairs_file):
    text = f"""
base: {{data: {pairs_file}, batch_pairs: 16, candidates: 16}}
grid: [{{decoder: [small-3k, small-7k], budget_flop: 2e8}}]
"""
    (tmp_path / "empty" / "sweep.yaml").write_text(text)
    planned = away("plan", ".")
    assert planned.returncode == 0, planned.stderr
    swept = away("sweep", ".", "--workers", "1")
    assert swept.returncode == 0, swept.stderr
    assert "2 finished" in swept.stdout
    assert list((tmp_path / "cache" / "decoders-to-encoders").iterdir())
    (tmp_path / "empty" / "more").mkdir()
    more = text.replace("small-7k", "small-15k")
    (tmp_path / "empty" / "more" / "sweep.yaml").write_text(more)
    lacking = away("plan", "more")
    assert lacking.returncode == 2 and "brings" in lacking.stderr
    assert lacking.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_wheel_answers_from_the_shipped_study(away, tmp_path):
    recipe = away("recipe", "reference", "--flop", "1e13")
    assert recipe.returncode == 0, recipe.stderr
    assert "small-85k" in recipe.stdout
    page = away("explorer", "reference", "--output", "page.html")
    assert page.returncode == 0, page.stderr
    assert "<script src=" not in (tmp_path / "empty" / "page.html").read_text()
    report = away("report", "reference")
    assert report.returncode == 0, report.stderr
    written = {path.name for path in (tmp_path / "empty" / "reference").iterdir()}
    assert {"report.html", "recipe.json", "fits.json", "figures", "runs.csv"} <= written

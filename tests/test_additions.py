"""A form of a law and a source of pairs are a file each and a name in a list."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import toolkit
from tests.sweeps import record
from toolkit import place
from toolkit.encoder.card import card
from toolkit.pairs.sources import NAMED
from toolkit.runs import RunConfig

FORM = """
import numpy as np

from toolkit.laws.forms.base import Form, Parameter, Shift


def _evaluate(phi, z, centre):
    return phi - z[0] / 2, [np.ones_like(z[0])[None]]


TOY = Form(
    "toy",
    "L(D) = A / sqrt(D)",
    "nobody",
    ("x",),
    (Parameter("A", True, -50.0, 50.0, (-1.0, 1.0), (Shift(0, 0.5),), True),),
    _evaluate,
    usual="tokens",
)
"""
OWN_INPUTS = """
import numpy as np

from toolkit.laws.forms.base import Form, Parameter, Shift


def _evaluate(phi, z, centre):
    log_a, rank = phi[:, :1], phi[:, 1:2]
    return log_a - rank * z[0] - z[1] / 2, [np.ones_like(z[0])[None], -z[0][None]]


OWN = Form(
    "own",
    "L(r, S) = A r^-rho / sqrt(S)",
    "nobody",
    ("lora_rank", "steps"),
    (
        Parameter(
            "A", True, -50.0, 50.0, (-1.0, 1.0), (Shift(0, 1.0, "rho"), Shift(1, 0.5)), True
        ),
        Parameter("rho", False, 0.0, 5.0, (0.0, 1.0)),
    ),
    _evaluate,
)
"""
SOURCE = """
from toolkit.pairs.pair import Pair

LICENCE = "free for all"


def mine():
    for n in range(60):
        words, origin = f"{n} {n * 7919} {n * 104729}", ("even", "odd")[n % 2]
        yield Pair(f"what is {words}", f"the answer of {words} is {n * n}", origin=origin)


def fingerprint():
    return "toy-1"
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the toolkit with one file more of each kind, listed as CONTRIBUTING says."""
    folder = tmp_path_factory.mktemp("house")
    package = folder / "toolkit"
    shutil.copytree(
        Path(toolkit.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    forms, pairs = package / "laws" / "forms", package / "pairs"
    (forms / "toy.py").write_text(FORM)
    toy = "from toolkit.laws.forms.toy import TOY"
    listed(forms / "__init__.py", toy, "        BOUNDED,\n", "TOY,")
    (forms / "own.py").write_text(OWN_INPUTS)
    listed(forms / "__init__.py", "from toolkit.laws.forms.own import OWN", "TOY,", "OWN,")
    (pairs / "toy.py").write_text(SOURCE)
    listed(pairs / "sources.py", "from toolkit.pairs import toy", "ModuleType] = {", '"toy": toy,')
    tokenizer = Path("runs", "suite", "tokenizer")
    shutil.copytree(place.SUITE / "tokenizer", package / "files" / tokenizer)
    return folder


def listed(path: Path, line: str, behind: str, entry: str) -> None:
    """Import a thing, and put it into a list behind what stands there once."""
    text = path.read_text()
    assert text.count(behind) == 1
    text = text.replace(behind, behind + entry)
    path.write_text(text.replace("\nfrom toolkit", f"\n{line}\nfrom toolkit", 1))


def said(house: Path, *args: object, status: int = 0) -> str:
    """What the copy's command line prints."""
    found = subprocess.run(
        [sys.executable, "-m", "toolkit", *map(str, args)],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "TOOLKIT_CACHE": str(house / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == status, found.stderr
    return found.stdout if status == 0 else found.stderr


@pytest.mark.process
def test_a_toy_form_is_fitted_grouped_asked_and_drawn(house: Path) -> None:
    tokens = np.geomspace(1e3, 1e8, 12)
    rows = [
        pd.DataFrame({"method": name, "tokens": tokens, "loss": a / np.sqrt(tokens)})
        for name, a in (("full", 700.0), ("lora", 900.0))
    ]
    table = house / "table.csv"
    pd.concat(rows).to_csv(table, index=False)
    command = ("fit", table, "--form", "toy", "--group", "method", "--bootstrap", 20)
    drawn = ("--at", "tokens=1e6", "--figures", house / "drawn", "--json")
    report = json.loads(said(house, *command, *drawn))
    assert report["failed"] == {}
    for name, a in (("full", 700.0), ("lora", 900.0)):
        law = report["groups"][name]
        assert law["params"]["A"]["value"] == pytest.approx(a, rel=1e-6)
        assert law["at"][0]["value"]["value"] == pytest.approx(a / 1e3, rel=1e-6)
        assert law["figures"] and all(Path(path).is_file() for path in law["figures"])
    assert "A / sqrt(D)" in said(house, *command)


@pytest.mark.process
def test_a_form_of_other_inputs_reads_the_columns_of_their_names(house: Path) -> None:
    ranks, steps = (x.ravel() for x in np.meshgrid((4, 8, 16, 32), np.geomspace(100, 1e4, 4)))
    loss = 30.0 * ranks**-0.2 / np.sqrt(steps)
    table = house / "own.csv"
    pd.DataFrame({"lora_rank": ranks, "steps": steps, "loss": loss}).to_csv(table, index=False)
    at = ("--at", "lora_rank=64,steps=1e5", "--bootstrap", 20, "--json")
    law = json.loads(said(house, "fit", table, "--form", "own", *at))
    assert law["params"]["A"]["value"] == pytest.approx(30, rel=1e-5)
    assert law["params"]["rho"]["value"] == pytest.approx(0.2, rel=1e-5)
    there = 30 * 64**-0.2 / np.sqrt(1e5)
    assert law["at"][0]["loss"]["value"] == pytest.approx(there, rel=1e-5)
    pd.DataFrame({"steps": steps, "loss": loss}).to_csv(table, index=False)
    assert "lora_rank" in said(house, "fit", table, "--form", "own", status=2)


@pytest.mark.process
def test_an_unknown_form_is_refused_with_the_toy_among_the_known(house: Path) -> None:
    table = house / "small.csv"
    pd.DataFrame({"tokens": [1, 2], "loss": [2, 1]}).to_csv(table, index=False)
    assert "toy" in said(house, "fit", table, "--form", "toyy", status=2)


@pytest.mark.process
def test_a_toy_source_is_told_of(house: Path) -> None:
    found = json.loads(said(house, "pairs", "toy", "--json"))
    assert (found["source"], found["pairs"]) == ("toy", 60)
    assert {name: of["pairs"] for name, of in found["origins"].items()} == {"even": 30, "odd": 30}
    assert "toy: 60 pairs, fingerprint" in said(house, "pairs", "toy")
    assert "toy" in said(house, "pairs", "no-such-source", status=2)


def test_an_encoders_card_tells_the_licence_of_a_toy_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = RunConfig("small-7k", 1e9, data="toy")
    monkeypatch.setitem(NAMED, "toy", SimpleNamespace(LICENCE="free for all"))
    assert "free for all" in card(config, record(config), width=24, precision="float32")
    for name, source in NAMED.items():
        assert source.LICENCE, name

"""The papermill templates run as people run them, and are judged by what they leave behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from toolkit import cli
from toolkit.records import read_record
from toolkit.runs import RunConfig
from toolkit.tables import read_table

pytestmark = pytest.mark.process

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def papermill(template, output, **parameters):
    """Execute a template with papermill's own command; a parameter is passed as YAML."""
    flags = [flag for name, value in parameters.items() for flag in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", NOTEBOOKS / template, output]
    return subprocess.run([*command, *flags], capture_output=True, text=True, cwd=NOTEBOOKS)


def test_the_training_template_leaves_the_record_of_its_configuration(easy, tmp_path):
    folder = tmp_path / "run"
    done = papermill("train.ipynb", tmp_path / "out.ipynb", **easy, method="bias", folder=folder)
    assert done.returncode == 0, done.stderr
    config = RunConfig.from_dict({**easy, "method": "bias"})
    assert read_record(folder / "record.json", config).status == "finished"


def test_the_training_template_without_parameters_is_a_whole_small_run(tmp_path):
    done = papermill("train.ipynb", tmp_path / "out.ipynb")
    assert done.returncode == 0, done.stderr
    assert '"image/png"' in (tmp_path / "out.ipynb").read_text()


def test_the_pretraining_template_leaves_a_decoder_with_its_record(tmp_path):
    folder = tmp_path / "decoder"
    done = papermill(
        "pretrain.ipynb", tmp_path / "out.ipynb", decoder="small-7k", tokens=20_000, folder=folder
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((folder / "record.json").read_text())
    assert record["tokens"] == 16_384
    assert record["held_out_loss"] < 8.4  # ln 4096 = 8.3 is where it starts
    assert (folder / "model.safetensors").stat().st_size > 140_000


@pytest.mark.slow
def test_from_a_plan_to_a_recipe(easy, tmp_path, capsys):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    plan = {
        "title": "a whole study in small",
        "base": {name: value for name, value in easy.items() if name not in ("decoder", "lr")},
        "grid": [
            {
                "method": ["full", "bias"],
                "decoder": ["small-7k", "small-15k", "small-38k"],
                "budget_flop": [2e8, 4e8, 8e8],
            }
        ],
    }
    (sweep / "sweep.yaml").write_text(yaml.safe_dump(plan))
    assert cli.main(["sweep", str(sweep)]) == 0
    table = read_table(sweep)
    assert len(table) == 18
    assert set(table["status"]) == {"finished"}
    assert cli.main(["report", str(sweep)]) == 0
    assert json.loads((sweep / "recipe.json").read_text())
    page = (sweep / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 2
    capsys.readouterr()
    assert cli.main(["recipe", str(sweep), "--flop", "8e8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    again = cli.main(["sweep", str(sweep)])
    assert again == 0 and len(read_table(sweep)) == 18

"""The set-up: one source of dependencies, a help that lists all, and a core that starts fast."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command, **settings):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **settings)


def test_the_conda_environment_is_the_pip_install_of_the_makefile():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    packages = environment["dependencies"]
    assert f"python{PROJECT['requires-python']}" in packages
    (pip,) = [entry["pip"] for entry in packages if isinstance(entry, dict)]
    (extras,) = re.findall(r"-e '(\.\[[a-z,]+\])'", (ROOT / "Makefile").read_text())
    assert pip == ["-c constraints.txt", f"-e {extras}"]
    assert sorted(extras[2:-1].split(",")) == sorted(PROJECT["optional-dependencies"])


def test_every_dependency_is_pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    wanted = [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]  # noqa: RUF017
    names = {re.split(r"[<>=\[]", each)[0].lower().replace("_", "-") for each in wanted}
    assert names <= pinned
    assert "torch==2.13.0" in lines


@pytest.mark.process
def test_help_lists_every_target():
    listed = run("make", "help").stdout
    for target in ("setup", "recipe", "test", "lint", "lab", "bench", "help"):
        assert f"make {target}" in listed


@pytest.mark.process
@pytest.mark.parametrize(
    "module", ["toolkit", "toolkit.laws", "toolkit.recipe.recommendation", "toolkit.runs"]
)
def test_the_right_half_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert run(sys.executable, "-c", code).returncode == 0


@pytest.mark.process
def test_the_command_line_starts_without_heavy_imports():
    code = (
        "import sys; from toolkit.cli import build_parser; build_parser(); "
        "heavy = {'torch', 'transformers', 'peft', 'papermill', 'matplotlib', 'pandas'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr


@pytest.mark.process
def test_a_mistake_is_one_sentence_on_stderr_and_status_2():
    result = run(sys.executable, "-m", "toolkit", "flops", "pythia-71m")
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown decoder 'pythia-71m'; did you mean")
    assert result.stderr.count("\n") == 1


@pytest.mark.process
def test_no_reader_left_is_no_traceback():
    command = f"{sys.executable} -m toolkit flops pythia-70m | true"
    assert "Traceback" not in run("bash", "-c", command).stderr

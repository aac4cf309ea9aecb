"""Outputs into places where they cannot go: one sentence, before the work is done."""

import sys
from pathlib import Path

import pytest

from toolkit import cli
from toolkit.cache import cache_folder
from toolkit.errors import SurroundingsError
from toolkit.synthetic import run_table

PLACES = ["nowhere/x.png", "file/below.png", "dir", "/proc/x.png", "x" * 300, "a\0b.png"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "dir").mkdir()
    run_table().to_csv(tmp_path / "table.csv", index=False)
    return "table.csv"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "command", [["explorer", "TABLE", "--output"], ["trial", "TABLE", "TABLE", "--figure"]]
)
def test_a_page_or_a_figure(table, monkeypatch, capsys, command, place):
    monkeypatch.setattr("toolkit.recipe.study.Study.of", lambda *_, **__: pytest.fail("worked"))
    assert cli.main([table if word == "TABLE" else word for word in (*command, place)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1


@pytest.mark.parametrize("place", ["file/below", "/proc/x", "a\0b"])
def test_figures_of_a_fit(table, capsys, place):
    assert cli.main(["fit", table, "--form", "power", "--figures", place]) == 2
    assert "cannot write in" in capsys.readouterr().err


def test_a_report_beside_a_table_that_nobody_may_write_to(table, monkeypatch, capsys):
    monkeypatch.setattr("toolkit.report.output_folder", lambda sweep: Path("/proc/report"))
    assert cli.main(["report", table]) == 2
    assert "cannot write in /proc/report" in capsys.readouterr().err


def test_a_cache_that_cannot_be_made(monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", "/proc/nowhere/cache")
    with pytest.raises(SurroundingsError, match="set TOOLKIT_CACHE"):
        cache_folder()


def test_a_system_error_of_any_command_is_one_sentence(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "runs.csv")

    monkeypatch.setattr("toolkit.commands.status.run", full)
    assert cli.main(["status", "runs"]) == 2
    assert capsys.readouterr().err == "error: runs.csv: No space left on device\n"


def test_a_package_that_is_not_installed_is_named_with_what_brings_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "papermill", None)
    monkeypatch.setattr("toolkit.commands.status.run", lambda _: __import__("papermill"))
    assert cli.main(["status", "runs"]) == 2
    assert "pip install 'decoders-to-encoders[notebooks]'" in capsys.readouterr().err


PATHS = ["nowhere", "file", "file/below", "dangling", "loop", "dir", "x" * 300, "a\0b", "/dev/null"]


@pytest.mark.parametrize("place", PATHS)
@pytest.mark.parametrize(
    "command",
    [
        *(["plan"], ["sweep"], ["status"], ["train"], ["report"], ["explorer"]),
        *(["recipe", "--flop", "1e9"], ["fit", "--form", "power"], ["trial", "table.csv"]),
    ],
    ids=lambda command: command[0],
)
def test_a_bad_path_into_any_command(table, tmp_path, monkeypatch, capsys, command, place):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("toolkit.recipe.study.Study.of", lambda *_, **__: pytest.fail("worked"))
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    assert cli.main([*command, place]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1

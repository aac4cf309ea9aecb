"""Tables by name: those in the package are whole, the others are taken only if they are right."""

import pandas as pd
import pytest

from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.tables import published, read_table
from toolkit.tables.published import PUBLISHED, digest, fetch, keep, published_path, table_path

RUNS = pd.DataFrame({"Size": [1e6, 2e6, 4e6], "loss": [3.0, 2.5, 2.25], "x_page": [0, 1, 2]})


@pytest.fixture
def thing(tmp_path, monkeypatch):
    """A published table `thing` that may not lie in the package, and a copy of it as a file."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "points.csv"
    RUNS.to_csv(source, index=False)
    ours = RUNS[["Size", "loss"]].set_axis(["params", "loss"], axis=1)
    table = published.Published(
        "a thing",
        "someone/something at abc, points.csv",
        "none given",
        3,
        {"params": "Size", "loss": "loss"},
        digest(ours),
        url=source.as_uri(),
    )
    monkeypatch.setitem(PUBLISHED, "thing", table)
    return source


@pytest.mark.parametrize("name", [name for name, each in PUBLISHED.items() if each.path])
def test_a_table_of_the_package_is_read_by_name_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = read_table(name)
    assert len(table) == PUBLISHED[name].rows
    assert {"params", "loss"} <= set(table.columns)
    assert PUBLISHED[name].licence in ("MIT", "CC BY 4.0")


@pytest.mark.parametrize("name", [name for name, each in PUBLISHED.items() if not each.path])
def test_a_table_without_a_licence_is_not_in_the_package(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    with pytest.raises(ToolkitError, match=f"{name} is not here: .*--file FILE") as caught:
        published_path(name)
    assert PUBLISHED[name].source in str(caught.value)
    assert len(PUBLISHED[name].sha256) == 64


def test_a_path_that_is_there_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reference").mkdir()
    assert str(table_path("reference")) == "reference"


def test_a_person_s_file_is_kept_in_our_columns_and_then_read_by_name(thing):
    path = keep("thing", thing)
    assert list(pd.read_csv(path).columns) == ["params", "loss"]
    assert read_table("thing")["params"].tolist() == [1e6, 2e6, 4e6]
    assert keep("thing", path) == path  # our own file will do as well


def test_a_table_is_fetched_from_where_it_came_from(thing):
    assert pd.read_csv(fetch("thing"))["loss"].tolist() == [3.0, 2.5, 2.25]


def test_other_numbers_are_refused_and_not_kept(thing, tmp_path):
    RUNS.assign(loss=[3.0, 2.5, 2.26]).to_csv(thing, index=False)
    for get in (lambda: keep("thing", thing), lambda: fetch("thing")):
        with pytest.raises(ToolkitError, match=r"not the table thing that was published.*not kept"):
            get()
    assert not list((tmp_path / "cache").rglob("*.csv"))


def test_a_table_that_was_changed_in_the_cache_is_refused(thing):
    path = keep("thing", thing)
    path.write_text(path.read_text().replace("2.5", "2.6"))
    with pytest.raises(ToolkitError, match=r"its numbers differ; python -m toolkit data thing"):
        read_table("thing")


def test_what_is_no_table_or_not_there_is_one_sentence(thing, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    for file, words in ((other, "has no column 'Size'"), (tmp_path / "none", "there is no file")):
        with pytest.raises(ToolkitError, match=words):
            keep("thing", file)
    thing.unlink()
    with pytest.raises(ToolkitError, match="cannot fetch the table thing from file:"):
        fetch("thing")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chinchila"], "did you mean chinchilla?"),
        (["--fetch"], "which table?"),
        (["farseer", "--file", "x.csv"], "is part of the package"),
        (["refinedweb", "--fetch"], "cannot be fetched"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    assert main(["data", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1


def test_the_command_lists_them_with_their_licences_and_tells_of_one(capsys):
    assert main(["data"]) == 0
    listed = capsys.readouterr().out
    for name, each in PUBLISHED.items():
        assert name in listed and each.licence in listed
    assert main(["data", "farseer"]) == 0
    assert "arXiv 2604.22753" in capsys.readouterr().out


@pytest.mark.slow
def test_the_shipped_reference_study_gives_its_recipe_by_name(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["recipe", "reference", "--flop", "1e13"]) == 0
    assert "small-85k" in capsys.readouterr().out

"""The public face: few names, each with an example that holds, and none that costs before use."""

import ast
import doctest
import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import toolkit as d2e

SOURCE = ast.parse(Path(d2e.__file__).read_text())
LONG = {"run_sweep", "write_report"}  # They start kernels.


@pytest.fixture
def home(tmp_path, monkeypatch, cache):
    """A folder as a reader of the examples has it: pairs of their own, a sweep's plan."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLKIT_CACHE", str(cache))
    pairs = [
        {"query": f"what is number {i}", "positive": f"{i * 7919 % 10_007} is number {i}"}
        for i in range(600)
    ]
    Path("my_pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/sweep.yaml").write_text(
        f"base: {{data: {tmp_path / 'my_pairs.jsonl'}, batch_pairs: 16, candidates: 16}}\n"
        "grid: [{decoder: [small-3k, small-7k], budget_flop: 2e8}]\n"
    )


@pytest.mark.parametrize("room", ["contrast", "encoder", "pairs", "recipe", "training"])
def test_every_name_that_a_room_shows_is_where_it_says(room):
    package = import_module(f"toolkit.{room}")
    assert all(getattr(package, name) is not None for name in dir(package))


def examples():
    marks = {True: [pytest.mark.slow, pytest.mark.process], False: []}
    return [pytest.param(name, marks=marks[name in LONG]) for name in d2e.__all__]


@pytest.mark.parametrize("name", examples())
def test_each_public_name_has_an_example_that_holds(name, home, fitted_once):
    found = doctest.DocTestFinder(recurse=False).find(
        getattr(d2e, name), name, module=False, globs={"d2e": d2e}
    )
    (test,) = found
    assert test.examples, f"{name} has no Example"
    told = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert not told, "".join(told)


def test_the_package_s_own_example_holds(fitted_once):
    assert doctest.testmod(d2e).failed == 0


def test_types_and_homes_name_the_same_things():
    typed = {
        alias.asname or alias.name: f"{node.module.removeprefix('toolkit.')}:{alias.name}"
        for block in SOURCE.body
        if isinstance(block, ast.If)
        for node in block.body
        for alias in node.names
    }
    assert typed == d2e._HOMES
    assert list(typed) and sorted(typed) == sorted(d2e.__all__)


@pytest.mark.parametrize("name", d2e.__all__)
def test_no_public_name_takes_or_gives_anything_at_all(name):
    value = getattr(d2e, name)
    functions = [value] if inspect.isfunction(value) else [value.__init__]
    for function in functions:
        signature = inspect.signature(function)
        kinds = [p.annotation for p in signature.parameters.values()]
        assert not any(
            re.search(r"\bAny\b", str(kind)) for kind in [*kinds, signature.return_annotation]
        )


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = d2e.nothing
    assert set(d2e.__all__) <= set(dir(d2e))


@pytest.mark.process
def test_importing_it_loads_next_to_nothing():
    code = (
        "import sys, toolkit as d2e; "
        "sys.exit(', '.join({'numpy', 'pandas', 'torch', 'scipy'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_it_is_typed():
    assert (Path(d2e.__file__).parent / "py.typed").is_file()

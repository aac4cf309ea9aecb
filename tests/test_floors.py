"""The order of the house: an import only ever points down the floors of docs/architecture.md."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "toolkit"
ROOMS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
FLOORS = {
    room: int(floor)
    for floor, rooms in re.findall(
        r"^\| (\d+) \| (`.*?`) \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE
    )
    for room in re.findall(r"`(\w+)`", rooms)
}


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def walk(node: ast.AST):
    yield node
    for child in ast.iter_child_nodes(node):
        if not only_for_types(child):
            yield from walk(child)


def imported(tree: ast.Module):
    """Names of the toolkit's rooms that a file imports, wherever in it."""
    for node in walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.startswith("toolkit.") and n.count("."))


def imports() -> dict[str, set[str]]:
    """Which rooms each room imports. The face, `toolkit/__init__.py`, names them all, lazily."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        rooms = {name for name in imported(ast.parse(path.read_text())) if name in ROOMS}
        found.setdefault(room, set()).update(rooms - {room})
    return {room: rooms for room, rooms in found.items() if not room.startswith("__")}


def test_every_import_points_down():
    upward = [
        f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
        for room, others in imports().items()
        for other in others
        if room in FLOORS and other in FLOORS and FLOORS[other] >= FLOORS[room]
    ]
    assert not upward, "; ".join(upward)


def test_no_circle_of_rooms():
    TopologicalSorter(imports()).prepare()


def test_the_floors_name_rooms_that_exist():
    assert len(FLOORS) > 20 and set(FLOORS) <= ROOMS


def test_an_upward_import_would_be_seen():
    tree = ast.parse("def late():\n    from toolkit.cli import main\n    import toolkit.report")
    assert list(imported(tree)) == ["cli", "report"]
    typed = ast.parse("if TYPE_CHECKING:\n    from toolkit.recipe import Recipe")
    assert list(imported(typed)) == []

"""A notebook's parameters: papermill sets what it is given, the notebook refuses strangers.

Papermill only warns of a parameter that the notebook does not have, and the notebook would run
with the default of the one that was meant.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from itertools import pairwise

from toolkit.errors import ToolkitError
from toolkit.runs import meant

_INJECTED = "# Parameters"  # How papermill begins the cell that it puts behind the parameters'.


def refuse_unknown(cells: Sequence[str] | None = None) -> None:
    """Make sure that papermill set no parameter that the notebook does not have.

    Args:
        cells: Sources of the cells executed so far, in order; None for those of this kernel.

    Raises:
        ToolkitError: It did; every one is named, with the nearest that there is.
    """
    for before, cell in pairwise(_executed() if cells is None else cells):
        if not cell.startswith(_INJECTED):
            continue
        known = assigned(ast.parse(before).body)
        unknown = [name for name in assigned(ast.parse(cell).body) if name not in known]
        if unknown:
            said = " And none ".join(f"{name!r}{meant(name, known)}" for name in unknown)
            raise ToolkitError(f"this notebook has no parameter {said}")


def _executed() -> Sequence[str]:
    from IPython import get_ipython

    shell = get_ipython()
    return shell.user_ns["In"] if shell else ()


def assigned(statements: Sequence[ast.stmt]) -> list[str]:
    """Names that the statements of a cell of parameters set."""
    names = []
    for node in statements:
        if isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names

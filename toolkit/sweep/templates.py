"""Template notebooks: what a run executes, read without executing it."""

from __future__ import annotations

import ast
import json
import reprlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError, nearest
from toolkit.parameters import assigned
from toolkit.place import NOTEBOOKS
from toolkit.runs import RunConfig

# What training and its figures import late, seconds of it, only in the run that needs it.
TRAINING = (
    "peft",
    "toolkit.pairs.docstrings",
    "transformers.models.gpt_neox.modeling_gpt_neox",
    "transformers.models.auto.tokenization_auto",
    "transformers.tokenization_utils_tokenizers",
    "pyarrow.pandas_compat",
    "matplotlib_inline.backend_inline",
    *(f"PIL.{kind}ImagePlugin" for kind in ("Bmp", "Gif", "Jpeg", "Png", "Ppm")),
)
# It looks at import whether it is in a notebook: that is for each kernel to see.
IN_THE_KERNEL = "tqdm"

DEFAULT = "train.ipynb"


@dataclass(frozen=True)
class Template:
    """A notebook with a cell tagged `parameters`: one for each field of RunConfig, and `folder`."""

    path: Path

    def check(self, *, keep: bool = False) -> None:
        """Make sure that it takes every parameter of a run, and `keep` where encoders are kept.

        Raises:
            ToolkitError: It lacks one. Papermill would only warn, and the notebook would run with
                a value of its own: every run would be another than the planned one.
        """
        taken = set(assigned(self._statements(tag="parameters")))
        wanted = {*(field.name for field in fields(RunConfig)), "folder"}
        missing = (wanted | {"keep"} if keep else wanted) - taken
        if missing:
            raise ToolkitError(
                f"{self.path} has no parameter {', '.join(sorted(missing))} "
                "in its cell tagged parameters"
            )

    def imports(self) -> tuple[str, ...]:
        """Modules that its cells import, for a warm host; `from a import b` is given as `a:b`."""
        names: set[str] = set()
        for node in ast.walk(ast.Module(self._statements(), [])):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {f"{node.module}:{alias.name}" for alias in node.names}
        if any(name.startswith("toolkit.training.run") for name in names):
            names.update(TRAINING)
        return tuple(sorted(name for name in names if not name.startswith(IN_THE_KERNEL)))

    def _statements(self, tag: str | None = None) -> list[ast.stmt]:
        """Statements of its code cells, or of those with a tag; magics are passed over."""
        found: list[ast.stmt] = []
        for cell in self._read()["cells"]:
            tags = cell.get("metadata", {}).get("tags", [])
            if cell.get("cell_type") != "code" or (tag is not None and tag not in tags):
                continue
            lines = "".join(cell["source"]).splitlines()
            python = ("" if line.startswith(("%", "!")) else line for line in lines)
            try:
                found += ast.parse("\n".join(python)).body
            except SyntaxError:  # The run will say so.
                continue
        return found

    def _read(self) -> dict[str, Any]:
        try:
            notebook = json.loads(self.path.read_text(encoding="utf-8"))
            if isinstance(notebook["cells"], list) and isinstance(notebook["metadata"], dict):
                return notebook
        except FileNotFoundError:
            raise ToolkitError(f"there is no template notebook at {self.path}") from None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ToolkitError(f"{self.path} is not a notebook")


def find(name: Any) -> Template:
    """One of this project's notebooks by name: a sweep file from elsewhere can run nothing else.

    Raises:
        ToolkitError: There is no such notebook; the nearest names are offered.
    """
    known = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
    if name not in known and name != DEFAULT:
        raise ToolkitError(f"unknown template {reprlib.repr(name)}{nearest(str(name), known)}")
    return Template(NOTEBOOKS / name)

"""The folder that one run is given: not another run's, and one that can be written in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.records import as_made, read_record
from toolkit.runs import RunConfig
from toolkit.writing import check_folder


def check_own(folder: Path, config: RunConfig) -> None:
    """Make sure that a folder may be given to a run: it is empty, or holds this very run.

    Raises:
        ToolkitError: It holds another run's record, configuration or checkpoint, or cannot be
            written in.
    """
    check_folder(folder)
    for path, held in _runs_in(folder):
        differing = [
            f"{name} {value!r}, not {config.to_dict()[name]!r}"
            for name, value in held.to_dict().items()
            if value != config.to_dict()[name]
        ]
        if differing:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            raise ToolkitError(
                f"{folder} holds another run ({path.name}: {', '.join(differing[:3])}{more}); "
                "name another folder, or move that one away"
            )


def _runs_in(folder: Path) -> Iterator[tuple[Path, RunConfig]]:
    """The configurations that a folder's files are of."""
    record = folder / "record.json"
    if record.exists():
        try:
            yield record, read_record(record).config
        except ToolkitError as error:
            cause = str(error).removesuffix("; the run will be done again")
            raise ToolkitError(f"{cause}; name another folder, or move that file away") from error
    for path in (folder / "config.json", *sorted(folder.glob("checkpoint-*/state.json"))):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            config = as_made(values["config"] if path.name == "state.json" else values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ToolkitError):
            continue  # Damaged: there is nothing in it to lose.
        yield path.parent if path.name == "state.json" else path, config

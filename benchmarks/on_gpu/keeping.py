"""Figures and their results: one JSON file, written anew after each figure."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from on_gpu.process import call
from toolkit.errors import ToolkitError

# Less time than this is not worth a start.
_LEAST_SECONDS = 5.0


@dataclass(frozen=True)
class Figure:
    """Something to find out.

    Attributes:
        name: In the results.
        measure: Gives plain values; `passed` among them where there is a right and a wrong.
        arguments: Of `measure`.
    """

    name: str
    measure: Callable[..., dict[str, Any]]
    arguments: tuple = ()


class Results:
    """The result file: what is known, on which machine.

    Args:
        path: Of the file. machine: Facts of it. retry: Measure what failed once more.

    Raises:
        ToolkitError: The file is another machine's, or no such file.
    """

    def __init__(self, path: Path, machine: dict[str, Any], *, retry: bool = False) -> None:
        self.path = path
        self.retry = retry
        self.left = 0
        self.known: dict[str, Any] = {"machine": machine, "figures": {}}
        if path.exists():
            self.known = self._read(machine)

    def _read(self, machine: dict[str, Any]) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
            held = known["machine"]
            known["figures"].items()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolkitError(
                f"{self.path} is no result of this script; move it away, or name another: --out"
            ) from error
        if (held["device"], held["torch"]) != (machine["device"], machine["torch"]):
            raise ToolkitError(
                f"{self.path} is of {held['device']} with torch {held['torch']}, and this is "
                f"{machine['device']} with {machine['torch']}; name another file: --out"
            )
        return known

    def work(self, stage: str, figures: Iterable[Figure], end: float) -> None:
        """Measure what is not known yet, until the time is over (`time.monotonic`)."""
        for figure in figures:
            name = f"{stage}: {figure.name}"
            if self._is_known(name):
                continue
            seconds = end - time.monotonic()
            if seconds < _LEAST_SECONDS:
                self.left += 1
                continue
            begin = time.monotonic()
            found = call(figure.measure, *figure.arguments, seconds=seconds)
            if found.get("late"):
                self.left += 1
                continue
            found["seconds"] = round(time.monotonic() - begin, 2)
            self.known["figures"][name] = found
            self._write()
            print(f"{name}: {_line(found)}", flush=True)

    def _is_known(self, name: str) -> bool:
        found = self.known["figures"].get(name)
        return found is not None and not (self.retry and _went_wrong(found))

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self.known, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path)

    def told(self) -> int:
        """Say how it stands; an exit status: 1 where something went wrong."""
        wrong = [name for name, found in self.known["figures"].items() if _went_wrong(found)]
        count = len(self.known["figures"])
        print(f"{count} figures known, {len(wrong)} of them wrong, {self.left} left")
        for name in wrong:
            print(f"  {name}: {_line(self.known['figures'][name])}")
        if self.left:
            print("the time is over: the same command goes on where this one stopped")
        return 1 if wrong else 0


def _went_wrong(found: dict[str, Any]) -> bool:
    return "error" in found or found.get("passed") is False


def _line(found: dict[str, Any]) -> str:
    shown = {k: v for k, v in found.items() if k not in ("trace", "seconds")}
    parts = [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items()]
    return ", ".join(parts)[:300]

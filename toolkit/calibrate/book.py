"""The book of a calibration: what was asked, and its rounds, in a sweep's folder.

`calibration.json` is written before a round's runs are made, `sweep.yaml` follows from it: the
runs of all rounds, each an ordinary run of an ordinary sweep. So whoever is killed goes on.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from toolkit.errors import ToolkitError
from toolkit.sweep.plan import FILE, Plan, read_plan
from toolkit.writing import check_folder, write_atomically

BOOK = "calibration.json"
FORMAT = 1


@dataclass(frozen=True)
class Asked:
    """What a calibration is for; it cannot change once a round was made.

    Attributes:
        target: FLOP of the training that is to be advised on. spend: FLOP for the runs before it.
        decoders, methods: That it may name; the likely method first.
        base: Fields of every run's configuration: data, columns and so on.
        prior: A table whose exponents are borrowed; empty for none.
    """

    target: float
    spend: float
    decoders: tuple[str, ...]
    methods: tuple[str, ...]
    base: dict[str, Any]
    prior: str = ""


@dataclass(frozen=True)
class Round:
    """Runs that are made together, as fields of their configurations, and why."""

    reason: str
    runs: tuple[dict[str, Any], ...]
    regret: float | None = None  # Expected before it, ln L.


@dataclass(frozen=True)
class Book:
    """A calibration as far as it has come."""

    folder: Path
    asked: Asked
    rounds: tuple[Round, ...] = ()
    answer: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, asked: Asked | None) -> Book:
        """The book in a folder, or a new one.

        Raises:
            ToolkitError: There is none and nothing was asked, it is damaged, or it asks something
                else; or a sweep is there already.
        """
        path = folder / BOOK
        if not path.exists():
            if asked is None:
                raise ToolkitError(
                    f"no calibration at {folder}: say what it is for with --flop 1e16 --spend 10%"
                )
            if (folder / FILE).exists():
                raise ToolkitError(
                    f"{folder} holds a sweep already: give calibrate a folder of its own, and "
                    f"that sweep as --prior {folder}"
                )
            return cls(folder, asked)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            said = values["asked"]
            there = Asked(
                float(said["target"]),
                float(said["spend"]),
                tuple(said["decoders"]),
                tuple(said["methods"]),
                dict(said["base"]),
                str(said["prior"]),
            )
            rounds = tuple(
                Round(r["reason"], tuple(r["runs"]), r["regret"]) for r in values["rounds"]
            )
            book = cls(folder, there, rounds, values["answer"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolkitError(
                f"{path} is damaged ({error}); its runs are safe: move it away and start again "
                "with the same words"
            ) from error
        if asked is not None and rounds:
            for name, value in asdict(asked).items():
                mine = asdict(there)[name]
                if value != mine:
                    raise ToolkitError(
                        f"{folder} was begun with another {name} ({_short(mine)}, now "
                        f"{_short(value)}): go on without that option, or take another folder"
                    )
        return book if asked is None else replace(book, asked=asked)

    def with_round(self, new: Round) -> Book:
        """With one round more, on disk before any of its runs is made."""
        book = replace(self, rounds=(*self.rounds, new))
        book.write()
        return book

    def write(self) -> None:
        """Write the book, then the sweep that follows from it."""
        check_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        body = {
            "format": FORMAT,
            "asked": asdict(self.asked),
            "rounds": [asdict(r) for r in self.rounds],
            "answer": self.answer,
        }
        write_atomically(self.folder / BOOK, json.dumps(body, indent=1, ensure_ascii=False) + "\n")
        sweep = {
            "title": f"Calibration for {self.asked.target:.3g} FLOP",
            "about": f"Written by calibrate, a round at a time; {BOOK} has the reasons.",
            "base": self.asked.base,
            "grid": [run for r in self.rounds for run in r.runs],
        }
        text = yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True, default_flow_style=None)
        write_atomically(self.folder / FILE, text)

    def plan(self) -> Plan:
        """Its sweep, written anew should it have been lost in between."""
        self.write()
        return read_plan(self.folder)


def _short(value: Any) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"

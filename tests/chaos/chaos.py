"""A sweep under attack: kills and damage at random moments, and the books that are kept of it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.processes import MARK, marked, within
from tests.sweeps import make_sweep
from toolkit.errors import ToolkitError
from toolkit.records import read_record, table_csv
from toolkit.sweep.execution import run_sweep
from toolkit.sweep.plan import Plan

# Each attempt notes its start and, before it writes its record, its end.
BODY = """
import random
with open(Path(folder, "ledger"), "a") as ledger:
    print("again" if Path(folder, "record.json").exists() else "start", file=ledger, flush=True)
    for _ in range(random.randrange(4, 24)):
        time.sleep(0.02)
    print("end", file=ledger, flush=True)
write_atomically(Path(folder, "record.json"), record.to_json())
print("x" * 10_000)
"""
GRID = "  - {method: [full, bias, freeze], budget_flop: [1e9, 2e9, 3e9, 4e9]}"


@dataclass
class Books:
    """What happened, counted; the last four must stay 0."""

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    finished_lost: int = 0
    finished_repeated: int = 0
    false_finishes: int = 0
    orphans: int = 0
    different_tables: int = 0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kinds}) over {self.rounds} sweeps: finished runs lost "
            f"{self.finished_lost}, repeated {self.finished_repeated}, false finishes "
            f"{self.false_finishes}, orphans {self.orphans}, different tables "
            f"{self.different_tables}"
        )


class Chaos:
    """Attacks sweeps until so many blows have fallen, letting each come to its end."""

    def __init__(self, folder: Path, seed: int, command: list[str] | None = None) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.books = Books()
        self.command = command or []
        undisturbed = make_sweep(folder / "undisturbed", GRID, BODY)
        assert run_sweep(undisturbed).ok
        self.expected = (undisturbed.folder / "runs.csv").read_text()

    def go(self, kills: int) -> Books:
        while self.books.kills.total() < kills:
            self.books.rounds += 1
            self.round(make_sweep(self.folder / f"round-{self.books.rounds}", GRID, BODY), kills)
        return self.books

    def round(self, plan: Plan, kills: int) -> None:
        """One sweep, started again after each blow that ended it, until it is complete."""
        finished: set[str] = set()
        for _ in range(200):
            with self.sweep(plan) as sweep:
                while sweep.poll() is None:
                    pause = self.random.choice([0.1, 0.5, 1.5, 6.0]) * self.random.random()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        sweep.wait(pause)
                    if sweep.poll() is None and self.books.kills.total() < kills:
                        self.strike(sweep)
            self.books.orphans += self.count_orphans()
            # A blow from outside is no failure of the run: that would not be tried again.
            failed = [state for state in plan.states() if state.name == "failed"]
            assert not failed, failed
            finished = self.audit(plan, finished)
            if sweep.returncode == 0:
                break
            if self.random.random() < 0.3:
                finished -= self.lose_power(plan)
        else:
            raise AssertionError("the sweep never came to its end")
        table = (plan.folder / "runs.csv").read_text()
        records = [state.record for state in plan.states()]
        self.books.different_tables += table != self.expected or table != table_csv(records)

    @contextlib.contextmanager
    def sweep(self, plan: Plan) -> Iterator[subprocess.Popen]:
        command = [sys.executable, "-m", "toolkit", "sweep", str(plan.folder), "--workers", "2"]
        self.mark = uuid.uuid4().hex
        sweep = subprocess.Popen(
            [*command, "--template", str(plan.template.path), *self.command],
            env={**os.environ, MARK: self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield sweep
        finally:
            if sweep.poll() is None:
                sweep.kill()
            sweep.wait()

    def strike(self, sweep: subprocess.Popen) -> None:
        """One blow: at the sweep, its process group, its kernel host or a kernel."""
        signals = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
        signum = self.random.choice(signals)
        aim = self.random.choice(["sweep", "group", "host", "kernel", "kernel", "kernel"])
        try:
            if aim == "sweep":
                sweep.send_signal(signum)
            elif aim == "group":
                os.killpg(sweep.pid, signum)
            else:
                signum = signal.SIGKILL if aim == "host" else signum
                self.victim(sweep, aim).send_signal(signum)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return  # The blow fell on nobody, and does not count.
        self.books.kills[f"{aim} {signum.name.removeprefix('SIG')}"] += 1

    def victim(self, sweep: subprocess.Popen, aim: str) -> psutil.Process:
        """The kernel host or a kernel, waited for as long as the sweep lives."""
        while sweep.poll() is None:
            with contextlib.suppress(psutil.Error):
                ours = [process for process in marked(self.mark) if process.pid != sweep.pid]
                hosts = [process for process in ours if process.ppid() == sweep.pid]
                found = hosts if aim == "host" else [p for p in ours if p not in hosts]
                if found:
                    return self.random.choice(found)
            time.sleep(0.02)
        raise psutil.NoSuchProcess(sweep.pid)

    def count_orphans(self, patience: float = 3.0) -> int:
        """Processes of the sweep that are still there a moment after it has ended."""
        within(patience, lambda: not marked(self.mark))
        left = marked(self.mark)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return len(left)

    def audit(self, plan: Plan, before: set[str]) -> set[str]:
        """Check the evidence. Returns the runs that are finished now."""
        finished = set()
        for config in plan.configs:
            folder = plan.run_folder(config)
            ledger = _lines(folder.path / "ledger")
            self.books.finished_repeated += ledger.count("again")
            try:
                read_record(folder.record, config)
            except ToolkitError:
                assert not folder.state().ended
                continue
            finished.add(config.run_id)
            self.books.false_finishes += ledger[-1:] != ["end"]
        self.books.finished_lost += len(before - finished)
        with contextlib.suppress(FileNotFoundError):
            listed = (plan.folder / "runs.csv").read_text()
            named = {line.split(",")[0] for line in listed.splitlines()[1:] if line}
            self.books.false_finishes += len(named - finished)
        return finished

    def lose_power(self, plan: Plan) -> set[str]:
        """Cut or blank a file, as a loss of power can. Returns the runs whose record that hit."""
        files = [path for path in plan.folder.rglob("*") if path.is_file()]
        files = [p for p in files if p.suffix != ".yaml" and p.name not in ("template.ipynb",)]
        if not files:  # The sweep was killed before it had written any.
            return set()
        path = self.random.choice(files)
        content = path.read_bytes()
        if path.name == "ledger" or not content:
            return set()
        keep = self.random.randrange(len(content))
        path.write_bytes(self.random.choice([content[:keep], bytes(len(content)), b""]))
        self.books.kills["power loss"] += 1
        if path.name in ("runs.csv", "record.json"):
            # The table is not evidence, and was right when it was written: a sweep writes it anew.
            (plan.folder / "runs.csv").unlink(missing_ok=True)
        if path.name == "record.json":
            (path.parent / "ledger").write_text("")
            return {path.parent.name}
        return set()


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []

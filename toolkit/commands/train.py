"""`python -m toolkit train`: one run of a sweep without its notebook, on one GPU or on several."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig
from toolkit.sweep import locks
from toolkit.sweep.folders import RunFolder
from toolkit.training.kept import is_kept

HELP = "do one run from its config.json, by torchrun on several GPUs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="the run's folder, with a config.json; its record goes there"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the encoder there; a run that has ended without keeping it is done again",
    )


def run(args: argparse.Namespace) -> int:
    from toolkit.contrast import distributed

    path = args.folder / "config.json"
    try:
        config = RunConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ToolkitError(f"{path} is not a run's configuration: {error}") from error
    folder = RunFolder(args.folder.resolve(), config, args.keep)
    with distributed.joined():
        if distributed.rank() > 0:
            _train(folder, show=False)
            return 0
        _check_undone(folder)
        try:
            with locks.hold(folder.lock):
                folder.prepare()
                _train(folder, show=True)
        except BlockingIOError:
            raise ToolkitError(f"the run is held by {locks.holder(folder.lock)}") from None
    state = folder.state()
    print(f"{state.name}: {state.reason or folder.record}")
    return 0 if state.ended else 1


def _check_undone(folder: RunFolder) -> None:
    """Raises ToolkitError if the run has ended and left all that is asked for."""
    if not folder.state().ended:
        return
    if not folder.keep:
        raise ToolkitError(
            f"{folder.record} is there already; this run is done"
            + ("" if is_kept(folder.path) else " (--keep does it again and keeps its encoder)")
        )
    if is_kept(folder.path):
        raise ToolkitError(f"{folder.path} keeps its encoder already; this run is done")


def _train(folder: RunFolder, *, show: bool) -> None:
    from tqdm import tqdm

    from toolkit.training.loop import Progress
    from toolkit.training.run import train

    bar = tqdm(unit="step", disable=not (show and sys.stderr.isatty()))

    def advance(point: Progress) -> None:
        bar.total = point.steps
        bar.set_postfix(loss=f"{point.loss:.3f}", refresh=False)
        bar.update(point.step - bar.n)

    with bar:
        train(folder.config, folder.path, progress=advance, keep=folder.keep)

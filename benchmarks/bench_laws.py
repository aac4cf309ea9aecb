"""Fitting L(N, D) = E + A/N^alpha + B/D^beta: against the `chinchilla` package from PyPI.

Both fit the same 240 rows by the same objective (Huber loss of the log residual, delta 1e-3): the
package from the grid of 5^5 starts that its documentation uses, on all cores; ours from 200 random
starts, on one. The third entry compares our bootstrap of 1,000 resamples with ten of our own fits.

The peer brings dependencies of its own. It is looked for in this environment, then in the
interpreter that $CHINCHILLA_PYTHON names; where neither has it, it is installed into an environment
that is thrown away afterwards. Without it, its two entries are left out.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from entry import entry

from toolkit.laws import FORMS, Objective, fit

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "laws" / "chinchilla_points.csv"
DELTA = 1e-3
GRID = 5  # Starts of the peer along each of five parameters.
BY_HAND = (
    "to install it yourself: python -m venv peer && peer/bin/pip install chinchilla && "
    "export CHINCHILLA_PYTHON=$PWD/peer/bin/python"
)
PEER = """
import json, sys, time
from functools import partial
import numpy as np
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber

if __name__ == "__main__":
    n = int(sys.argv[2])
    grid = dict(
        E=np.linspace(1, 2, n), a=np.linspace(1, 10, n), b=np.linspace(1, 10, n),
        alpha=np.linspace(0.1, 0.7, n), beta=np.linspace(0.1, 0.7, n),
    )
    huber = partial(log_huber, delta=1e-3)
    law = Chinchilla(sys.argv[1], param_grid=grid, loss_fn=huber, log_level=50)
    law.visualizer.optim = lambda *args, **kwargs: None
    start = time.perf_counter()
    law.fit()
    seconds = time.perf_counter() - start
    params = {name: float(getattr(law, name)) for name in ("E", "A", "alpha", "B", "beta")}
    print(json.dumps({"seconds": seconds, "params": params}))
"""


def measure(repeats: int = 3, grid: int = GRID) -> list[dict[str, object]]:
    """The entries for `latest.json`: speed and objective against the peer, and the bootstrap.

    A `grid` below 5 only tries out that all of it runs.
    """
    inputs, loss = _rows()
    ours, boots, objectives = [], [], []
    for _ in range(max(repeats, 3)):
        start = time.perf_counter()
        found = fit("parametric", inputs, loss)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        fit("parametric", inputs, loss, resamples=1000)
        boots.append(time.perf_counter() - start - ours[-1])
        objectives.append(found.objective)
    entries = [
        entry(
            "laws: 1,000 resamples, in fits of the same law",
            boots,
            ours,
            "at most 10",
            [boot / one for boot, one in zip(boots, ours, strict=True)],
        )
    ]
    theirs, their_objectives = [], []
    try:
        with _peer_python() as peer:
            for _ in range(repeats):
                answer = _run_peer(peer, inputs, loss, grid)
                theirs.append(answer["seconds"])
                their_objectives.append(_objective(answer["params"], inputs, loss))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        print(
            f"laws: the peer `chinchilla` does not run, its entries are left out; {BY_HAND}\n"
            f"    {said.strip().splitlines()[-1]}"
        )
        return entries
    best = min(their_objectives)
    return [
        entry(
            "laws: seconds of a parametric fit, theirs over ours",
            ours,
            theirs,
            "at least 100",
            [a / b for a in theirs for b in ours],
        ),
        entry(
            "laws: objective of that fit, ours over theirs",
            objectives,
            their_objectives,
            "at most 1",
            [value / best for value in objectives],
        ),
        *entries,
    ]


def _rows() -> tuple[np.ndarray, np.ndarray]:
    """240 rows: the published ones where they lie beside the project, else rows made like them."""
    if PUBLISHED.is_file():
        table = pd.read_csv(PUBLISHED)
        table = table[table.loss < table.loss.nlargest(5).min()]
        tokens = table.train_flop / (6 * table.params)
        return np.stack([table.params, tokens]), table.loss.to_numpy()
    rng = np.random.default_rng(0)
    inputs = np.exp(rng.uniform(np.log([[4e7], [1e9]]), np.log([[2e10], [1e12]]), (2, 240)))
    clean = FORMS["parametric"].value([1.82, 478.0, 0.347, 2143.0, 0.367], inputs)
    return inputs, clean * np.exp(0.005 * rng.standard_t(3, size=240))


@contextmanager
def _peer_python() -> Iterator[str]:
    """An interpreter that has the peer.

    Raises:
        OSError, subprocess.CalledProcessError: It cannot be installed.
    """
    named = os.environ.get("CHINCHILLA_PYTHON")
    if importlib.util.find_spec("chinchilla"):
        yield sys.executable
    elif named:
        yield named
    else:
        print("laws: installing the peer `chinchilla` into an environment of its own", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            python = str(Path(folder) / "bin" / "python")
            _run([python, "-m", "pip", "install", "--quiet", "chinchilla"])
            yield python


def _run_peer(python: str, inputs: np.ndarray, loss: np.ndarray, grid: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        columns = {"C": 6 * inputs[0] * inputs[1], "N": inputs[0], "D": inputs[1], "loss": loss}
        pd.DataFrame(columns).to_csv(Path(folder) / "df.csv", index=False)
        script = Path(folder) / "peer.py"
        script.write_text(PEER)
        answer: dict = json.loads(_run([python, str(script), folder, str(grid)]).splitlines()[-1])
        return answer


def _run(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _objective(params: dict[str, float], inputs: np.ndarray, loss: np.ndarray) -> float:
    law = FORMS["parametric"]
    value = law.value([params[name] for name in law.names], inputs)
    rho, _ = Objective("huber-log", DELTA).rho(np.log(value) - np.log(loss))
    return float(rho.sum())


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))

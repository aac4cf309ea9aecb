"""How fast a machine trains that has not trained yet: a few real steps, timed.

Nothing of it is kept: once a sweep has ended its runs tell more (`toolkit.sweep.throughput`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import psutil

from toolkit import decoders, hardware, machine
from toolkit.runs import RunConfig
from toolkit.sweep.footprint import peak_bytes
from toolkit.sweep.plan import RunCost, makespan
from toolkit.sweep.throughput import Seen, Throughput

SECONDS = 8.0  # Of timing; a process that can train starts in a few more.
WORTH = 60.0  # Seconds of guessed work from which on it pays.
PATIENCE = 60.0  # Seconds beyond those of timing after which the guess has to do.
_MOST = 24  # Trials; each has its share of the seconds.
_STEPS = 3  # So many at least are made in a trial; its batch is halved until its share suffices,
_LEAST_PAIRS = 16  # or until it has so many pairs.


@dataclass(frozen=True)
class Trial:
    """Steps to be timed: those of a run, at so many pairs a step, and what one is guessed to
    take."""

    config: RunConfig
    batch_pairs: int
    seconds: float


def probe(prices: Mapping[RunConfig, RunCost], workers: int) -> Throughput:
    """The rates of these runs, `workers` of them side by side; none where it does not pay, where
    there is a GPU, and where no step can be timed.

    A process of its own is asked, with the kernels' number of threads: it may fail or be killed,
    and this one needs no torch.
    """
    total = makespan((price.seconds(Throughput()) for price in prices.values()), workers)
    if total < WORTH or (machine.gpu_names() and hardware.visible_gpus()):
        return Throughput()
    begun = time.monotonic()
    try:
        seen = _asked(trials(prices, workers), workers)
    except Exception:  # Whatever is wrong with it, a guess will do.
        return Throughput()
    if not seen:
        return Throughput()
    return Throughput(tuple(seen), probe_seconds=time.monotonic() - begun)


def trials(prices: Mapping[RunConfig, RunCost], workers: int) -> list[Trial]:
    """One for each size, method, precision and batch, the fastest steps first.

    Of too many, some from the fastest to the slowest. Left out are steps for which there is no time
    after those before, and those that take too much memory.
    """
    found: dict[tuple[Any, ...], Trial] = {}
    for config, price in prices.items():
        key = (price.params, price.method, price.precision, price.batch_pairs)
        if key not in found and _fits(config, price, workers):
            found[key] = Trial(config, price.batch_pairs, _step_seconds(price))
    distinct = sorted(found.values(), key=lambda trial: trial.seconds)
    count = min(len(distinct), _MOST)
    chosen = [distinct[i * (len(distinct) - 1) // max(1, count - 1)] for i in range(count)]
    shortened = [_shortened(trial, SECONDS / count) for trial in chosen]
    ends = accumulate(_STEPS * trial.seconds for trial in shortened)
    return [trial for trial, end in zip(shortened, ends, strict=True) if end <= SECONDS]


def _step_seconds(price: RunCost) -> float:
    return price.training_seconds(Throughput()) / price.steps


def _fits(config: RunConfig, price: RunCost, workers: int) -> bool:
    free = psutil.virtual_memory().available
    shape = decoders.find(config.decoder).shape
    return workers * peak_bytes(config, shape, price.tokens, free / workers) < free


def _shortened(trial: Trial, share: float) -> Trial:
    """The trial with as large a batch as its share of the seconds allows."""
    batch, seconds = trial.batch_pairs, trial.seconds
    while _STEPS * seconds > share and batch >= 2 * _LEAST_PAIRS:
        batch, seconds = batch // 2, seconds / 2
    return Trial(trial.config, batch, seconds)


def _asked(asked: Sequence[Trial], workers: int) -> list[Seen]:
    """What the trials show, from a process that makes them, the slowest first: what these leave of
    the time is the others'."""
    if not asked:
        return []
    threads = hardware.thread_variables(max(1, hardware.cpu_cores() // workers))
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit.sweep.timing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **threads, "CUDA_VISIBLE_DEVICES": ""},
        start_new_session=True,  # So that all of it can be ended.
        text=True,
    )
    question = {
        "trials": [(trial.config.to_dict(), trial.batch_pairs) for trial in asked[::-1]],
        "workers": workers,
        "seconds": SECONDS,
        "parent": os.getpid(),
    }
    try:
        answer, _ = process.communicate(json.dumps(question) + "\n", SECONDS + PATIENCE)
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return [Seen(**values) for values in json.loads(answer) if values is not None]

"""The steps of a run, from the first one that is left to the last."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from toolkit import flops
from toolkit.contrast import distributed
from toolkit.contrast.step import ContrastiveStep, StepResult
from toolkit.records import as_made
from toolkit.training import checkpoints, trunk
from toolkit.training.evaluation import Evaluation, evaluate, halvings
from toolkit.training.preparation import Run, make_step
from toolkit.training.schedule import affordable, cooldown_start, trunk_rate, warmup_cosine

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Evaluations on the way may cost so much of the budget; they are not part of it.
_EVALUATION_SHARE = 0.05
_MOST_EVALUATIONS = 10
_CURVE_POINTS = 200


@dataclass(frozen=True)
class Progress:
    """One step of a run: what the progress bar and the curve show.

    Attributes:
        step, steps: Steps done, and of the whole run.
        flop: Spent so far, in the run's convention.
        loss: Training loss of the step. held_out: Held-out loss, where it was just measured.
    """

    step: int
    steps: int
    flop: float
    loss: float
    held_out: float | None


@dataclass(frozen=True)
class Outcome:
    """What the steps came to.

    Attributes:
        steps: Done. seconds: Of training; evaluation and checkpoints are left out.
        loss: Training loss of the last step; no number where the run diverged.
    """

    steps: int
    seconds: float
    loss: float


class Loop:
    """All steps that are left, up to the end or to a loss that is no number.

    It goes on from the newest checkpoint of the run's folder, or of a trunk that the run shares.
    """

    def __init__(
        self,
        run: Run,
        model: PreTrainedModel,
        optimizer: torch.optim.Optimizer,
        folder: Path | None,
        progress: Callable[[Progress], None],
        checkpoint_seconds: float,
    ) -> None:
        self.run, self.model, self.optimizer = run, model, optimizer
        self.folder, self.progress = folder, progress
        self.checkpoint_seconds = checkpoint_seconds
        config, schedule = run.config, run.schedule
        self.spent = schedule.spent[:, flops.CONVENTIONS.index(config.flop_convention)]
        self.trunk = trunk.Trunk.of(folder, config, schedule.batch_pairs, self.spent)
        self.first, self.seconds = self._begin()
        self.step = _contrastive_step(run, model)
        # A GPU works on while the losses of steps before come in; a processor has them at once.
        self.on_gpu = self.step.body.like.is_cuda
        self.running: deque[tuple[int, StepResult]] = deque()
        self.evaluated = _evaluation_steps(run)
        self.drawn = max(1, schedule.steps // _CURVE_POINTS)
        self.rate = _rate(run, self.spent)
        self.saved = time.monotonic()

    def go(self) -> Outcome:
        """Make the steps."""
        steps, loss = self.run.schedule.steps, 0.0
        for step in range(self.first, steps):
            started = time.perf_counter()
            self._launch(step)
            done = step + 1
            due = self._due()
            branching = self._branching(done)
            pause = due or branching or done in self.evaluated or done == steps
            come = self._come(0 if pause or not self.on_gpu else 1)
            for past, one in come:
                loss = one.loss
                self.run.masked += one.masked
                self.run.masked_by_margin += one.masked_by_margin
                if not math.isfinite(loss):
                    return Outcome(past + 1, self.seconds + time.perf_counter() - started, loss)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.on_gpu and pause:
                torch.cuda.synchronize()
            self.seconds += time.perf_counter() - started
            self._show(come, done)
            self._save(done, due, branching)
        return Outcome(steps, self.seconds, loss)

    def _begin(self) -> tuple[int, float]:
        """The first step that is left and the seconds trained before it, from a checkpoint."""
        run = self.run
        state = self.folder and self._restored(self.folder)
        run.curve[:] = [tuple(point) for point in state.curve] if state else []
        run.precision = state.precision if state else run.precision
        run.masked = state.masked if state else 0
        run.masked_by_margin = state.masked_by_margin if state else 0
        run.inherited = state.inherited if state else 0
        return (state.step, state.seconds) if state else (0, 0.0)

    def _restored(self, folder: Path) -> checkpoints.State | None:
        """Bring back the latest state there is: the run's own, or of a trunk that it shares."""
        run = self.run
        own = checkpoints.newest(folder, lambda held: held == run.config)
        found = self.trunk.newest(own[1].step if own else 0) if self.trunk else None
        for path, state in (x for x in (found, own) if x is not None):
            if checkpoints.restore(path, self.model, self.optimizer):
                if as_made(state.config) == run.config:
                    return state
                return replace(state, inherited=int(run.schedule.spent[state.step - 1, 1]))
        return None

    def _launch(self, step: int) -> None:
        """Set a step's rate and send its batch through the model."""
        schedule, train = self.run.schedule, self.run.train
        for group in self.optimizer.param_groups:
            group["lr"] = self.run.lr * self.rate(step)
        order = distributed.share(schedule.batch(step))
        sides = [train.queries.take(order), train.positives.take(order)]
        if train.negatives is not None:
            sides.append(train.negatives.take(order, schedule.epoch(step)))
        self.running.append((step, self.step(*sides)))

    def _come(self, ahead: int) -> list[tuple[int, StepResult]]:
        """The results of all steps but the last `ahead`."""
        return [self.running.popleft() for _ in range(len(self.running) - ahead)]

    def _due(self) -> bool:
        """Whether it is time for a checkpoint."""
        waited = time.monotonic() - self.saved
        return self.folder is not None and waited > self.checkpoint_seconds

    def _branching(self, done: int) -> bool:
        """Whether another budget of the trunk branches off here."""
        return self.trunk is not None and self.trunk.missing(done) and distributed.rank() == 0

    def _show(self, come: list[tuple[int, StepResult]], done: int) -> None:
        """Tell what the steps came to, and the held-out loss where it is asked for."""
        steps = self.run.schedule.steps
        held_out = measure(self.run, self.model).loss if done in self.evaluated else None
        for past, one in come:
            at = past + 1
            measured = held_out if at == done else None
            point = Progress(at, steps, float(self.spent[past]), one.loss, measured)
            if at % self.drawn == 0 or measured is not None or at == steps:
                self.run.curve.append((point.step, point.flop, point.loss, point.held_out))
            self.progress(point)

    def _save(self, done: int, due: bool, branching: bool) -> None:
        """Write the checkpoints that are wanted after so many steps."""
        if not (due or branching) or distributed.rank() != 0:
            return
        run = self.run
        state = checkpoints.State(
            run.config.to_dict(),
            done,
            self.seconds,
            run.curve,
            run.precision,
            run.masked,
            run.masked_by_margin,
            run.inherited,
        )
        if self.trunk is not None and branching:
            checkpoints.save(self.trunk.folder, state, self.model, self.optimizer, alone=False)
        if self.folder is not None and due:
            checkpoints.save(self.folder, state, self.model, self.optimizer)
            self.saved = time.monotonic()


def _contrastive_step(run: Run, model: PreTrainedModel) -> ContrastiveStep:
    """The step that a run makes, on one device or shared by several."""
    kind = distributed.SharedStep if distributed.size() > 1 else ContrastiveStep
    return make_step(
        model, run.config, dimensions=run.dimensions, precision=run.precision, kind=kind
    )


def measure(run: Run, model: PreTrainedModel) -> Evaluation:
    """The run's held-out loss and retrieval, of the model as it is."""
    config = run.config
    return evaluate(
        model,
        run.held_out,
        temperature=config.temperature,
        pooling=config.pooling,
        precision=run.precision,
        dimensions=run.dimensions or halvings(run.decoder.shape.hidden),
    )


def _evaluation_steps(run: Run) -> frozenset[int]:
    """Steps after which the held-out loss is measured on the way: as many as stay cheap."""
    texts = (run.held_out.queries, run.held_out.positives)
    forward = 2 * run.decoder.params * sum(int(text.lengths.sum()) for text in texts)
    count = min(_MOST_EVALUATIONS, int(_EVALUATION_SHARE * run.config.budget_flop / forward))
    return frozenset(round(run.schedule.steps * i / (count + 1)) for i in range(1, count + 1))


def _rate(run: Run, spent: np.ndarray) -> Callable[[int], float]:
    """The learning rate's share of its peak at each step."""
    config, steps = run.config, run.schedule.steps
    if config.schedule == "cosine":
        return partial(warmup_cosine, steps=steps, warmup=config.warmup)
    warming = round(config.warmup * steps)
    if config.warmup_flop is not None:
        warming = affordable(spent, config.warmup_flop)
    return partial(
        trunk_rate, steps=steps, warming=warming, start=cooldown_start(steps, config.cooldown)
    )

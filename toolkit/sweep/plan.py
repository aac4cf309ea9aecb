"""A sweep's plan: from its `sweep.yaml` to the runs it stands for and what they will cost.

The file is written by a person::

    title: Which method at which budget
    about: Four methods on three decoders.
    base: {batch_pairs: 32}                # for every run
    grid:                                  # each entry: every combination of its lists
      - {method: [full, bias], decoder: [small-7k, small-15k], budget_flop: [1e11, 3e11]}
      - {method: lora, lora_rank: [4, 8], decoder: small-15k, budget_flop: 3e11}
    workers: 2                             # optional: notebooks at a time
    keep: best                             # optional: encoders of which runs; best, all or none
    template: train.ipynb                  # optional: one of the project's notebooks

Everything is decided here before a run starts, without torch: which runs there are, that each can
start at all, and how many FLOPs and hours they take.
"""

from __future__ import annotations

import heapq
import itertools
import math
import reprlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from toolkit import hardware, machine
from toolkit.errors import ToolkitError, nearest
from toolkit.runs import RunConfig
from toolkit.sweep import trunks
from toolkit.sweep.folders import RunFolder, RunState
from toolkit.sweep.templates import DEFAULT, Template, find
from toolkit.sweep.throughput import Throughput, device_of, expected_device, known, of_records
from toolkit.values import convert

if TYPE_CHECKING:
    from toolkit.flops import StepFlops

FILE = "sweep.yaml"
KEYS = ("title", "about", "base", "grid", "workers", "keep", "template")
KEEP = ("none", "best", "all")
MOST_RUNS = 100_000
PADDED = "{name} takes no packed stream: its texts are padded, which is in these figures"
_LISTS = ("lora_targets", "matryoshka")  # Fields of which one value is a list.


@dataclass(frozen=True)
class Plan:
    """A sweep, fully described.

    Attributes:
        folder: The sweep's folder; all that it produces goes there.
        title, about: For people.
        configs: The runs, distinct, in the order of the file.
        workers: Notebooks at a time; None leaves it to the machine.
        template: The notebook that one run executes.
        keep: Which runs keep their encoder: none, best or all (`toolkit.sweep.keeping`).
    """

    folder: Path
    title: str
    about: str
    configs: tuple[RunConfig, ...]
    workers: int | None
    template: Template
    keep: str = "none"

    def run_folder(self, config: RunConfig) -> RunFolder:
        return RunFolder(self.folder / "runs" / config.run_id, config, self.keep != "none")

    def states(self) -> list[RunState]:
        """What became of each run, from the evidence in its folder."""
        return [self.run_folder(config).state() for config in self.configs]


@dataclass(frozen=True)
class RunCost:
    """What one run takes, by the arithmetic of `toolkit.flops` on texts of a mean length.

    Attributes:
        params: Non-embedding parameters of the decoder.
        steps: Training steps.
        flop: In the model convention, whatever convention the budget is in.
        note: What to know about the decoder's weights.
        method, precision, batch_pairs: What its speed depends on besides its size.
        paid: Share of the FLOP that it pays itself; the rest its trunk does.
        tokens: Of a step, with what pads them.
        padding: FLOP that are executed, over those without padding; 1 on a packed stream.
    """

    params: int
    steps: int
    flop: float
    note: str = ""
    method: str = "full"
    precision: str = "auto"
    batch_pairs: int = 32
    paid: float = 1.0
    tokens: int = 0
    padding: float = 1.0

    def training_seconds(self, seen: Throughput) -> float:
        """Of training alone, as if it shared no trunk: what its record will say."""
        rate = seen.rate(
            self.params, self.method, self.precision, self.batch_pairs, padding=self.padding
        )
        return self.flop / rate

    def seconds(self, seen: Throughput) -> float:
        """On one worker, from what was seen of the machine, or by a guess; overhead included."""
        return self.paid * self.training_seconds(seen) + seen.overhead


def read_plan(source: str | Path, template: str | Path | None = None) -> Plan:
    """The plan of the sweep in a folder, or at a `sweep.yaml`.

    Args:
        source: The folder, or the file itself.
        template: Executes this notebook instead of the one that the plan names.

    Example:
        >>> plan = d2e.read_plan("runs/mine")
        >>> [config.decoder for config in plan.configs]
        ['small-3k', 'small-7k']

    Raises:
        ToolkitError: There is none, it is no such file, or a run in it is impossible; the
            sentence names the file and the entry.
    """
    path = Path(source)
    path = path if path.name == FILE else path / FILE
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise ToolkitError(
            f"no sweep at {path.parent}: a sweep is a folder with a {FILE}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ToolkitError(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        sentence = " ".join(str(error).split())
        raise ToolkitError(f"{path} is not valid YAML: {sentence}") from error
    try:
        return _plan(path.parent.resolve(), values, template)
    except ToolkitError as error:
        raise ToolkitError(f"{path}: {error}") from error


def _plan(folder: Path, values: Any, template: str | Path | None) -> Plan:
    if not isinstance(values, dict):
        raise ToolkitError(f"a sweep file is a mapping with the keys {', '.join(KEYS)}")
    for key in values:
        if key not in KEYS:
            raise ToolkitError(f"unknown key {reprlib.repr(key)}{nearest(str(key), KEYS)}")
    texts = {key: values.get(key) or "" for key in ("title", "about")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise ToolkitError(f"{key} must be text, not {reprlib.repr(text)}")
    workers = convert("workers", values.get("workers"), (int, type(None)))
    if workers is not None and workers < 1:
        raise ToolkitError(f"workers must be a whole number from 1, not {reprlib.repr(workers)}")
    keep = values.get("keep") or "none"
    if keep not in KEEP:
        raise ToolkitError(f"unknown keep {reprlib.repr(keep)}{nearest(str(keep), KEEP)}")
    return Plan(
        folder=folder,
        title=texts["title"],
        about=texts["about"],
        configs=expand(values.get("base"), values.get("grid")),
        workers=workers,
        template=Template(Path(template))
        if template is not None
        else find(values.get("template", DEFAULT)),
        keep=keep,
    )


def expand(base: Any, grid: Any) -> tuple[RunConfig, ...]:
    """The distinct runs of a grid over a base, in order.

    A list under a field means every one of its values; `lora_targets` and `matryoshka`, whose one
    value is a list, take a list of lists for several.

    Raises:
        ToolkitError: An entry is malformed or impossible; the sentence counts entries from 1.
    """
    base = {} if base is None else base
    if not isinstance(base, dict):
        raise ToolkitError("base must be a mapping from run parameters to values")
    if not isinstance(grid, list) or not grid:
        raise ToolkitError("grid must be a list with at least one mapping")
    configs: dict[RunConfig, None] = {}
    for number, entry in enumerate(grid, 1):
        if not isinstance(entry, dict):
            raise ToolkitError(f"grid entry {number} must be a mapping, not {reprlib.repr(entry)}")
        try:
            lists = {key: _choices(key, value) for key, value in {**base, **entry}.items()}
            if len(configs) + math.prod(map(len, lists.values())) > MOST_RUNS:
                raise ToolkitError(f"a sweep has at most {MOST_RUNS:,} runs")
            for values in itertools.product(*lists.values()):
                configs[RunConfig.from_dict(dict(zip(lists, values, strict=True)))] = None
        except ToolkitError as error:
            raise ToolkitError(f"grid entry {number}: {error}") from error
    return tuple(dict.fromkeys(trunks.with_warmup(configs)))


def _choices(key: Any, value: Any) -> list[Any]:
    """The values that a field takes in turn."""
    if not isinstance(value, list):
        return [value]
    if not value:
        raise ToolkitError(f"{reprlib.repr(key)} has an empty list: no run would come of it")
    if key in _LISTS and not any(each is None or isinstance(each, list) for each in value):
        return [value]
    return value


def cost(config: RunConfig) -> RunCost:
    """Steps and model FLOPs of a run, before its real text lengths are known.

    Raises:
        ToolkitError: The decoder is unknown, the method does not fit it, or the budget is far
            under one step.
    """
    from toolkit import decoders, methods
    from toolkit.choices import nested_dimensions
    from toolkit.contrast.paths import packs
    from toolkit.training import defaults

    decoder = decoders.find(config.decoder)
    dimensions = nested_dimensions(config, decoder.shape.hidden)
    method = methods.resolve(config, decoder.shape)
    batch = config.batch_pairs or defaults.batch_pairs(decoder, config.budget_flop)
    packed = packs(decoder, config.attention)
    flops, slots, padding = _step(config, decoder.shape, method, batch, dimensions, packed)
    if config.negatives == "mined":
        # As if every pair were seen once; each is embedded, and compared with a group of others.
        flops += _mining_flops(
            decoder.shape, batch, mean_lengths(config, decoder.shape.vocabulary), packed
        )
    step = getattr(flops, config.flop_convention)
    steps = int(config.budget_flop // step)
    # Texts may be shorter than expected: the run itself knows, and refuses as well.
    if config.budget_flop < step / 2:
        raise ToolkitError(
            f"its budget of {config.budget_flop:.3g} FLOP is under one step of {batch:,} pairs, "
            f"about {step:.3g}; give a larger budget_flop or a smaller batch_pairs"
        )
    return RunCost(
        params=decoder.params,
        steps=max(1, steps),
        flop=config.budget_flop * flops.model / step,
        note=decoder.note if packed else PADDED.format(name=decoder.name),
        method=config.method,
        precision=config.precision,
        batch_pairs=batch,
        tokens=slots,
        padding=padding,
    )


def costs(configs: Iterable[RunConfig]) -> list[RunCost]:
    """What each run of a sweep takes, those that branch off a trunk for their own part only."""
    configs = list(configs)
    shares = trunks.shares(configs)
    return [replace(cost(config), paid=shares.get(config, 1.0)) for config in configs]


def seen_here(
    states: Iterable[RunState], workers: int, probe: Callable[[], Throughput] = Throughput
) -> Throughput:
    """What is known of this machine's speed.

    Of this sweep's runs that were made on such a one and, newer, of all that ran here with as many
    threads; where there is neither, what a probe finds, or else of the sweep's runs elsewhere.
    """
    device = expected_device(workers)
    records = [state.record for state in states if state.record is not None]
    here = of_records(r for r in records if device_of(r.hardware) == device) + known(device)
    if not here.seen:
        here += probe()
    return here if here.seen else here + of_records(records)


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Seconds until the last of these runs ends, the longest started first."""
    busy = [0.0] * max(1, workers)
    for length in sorted(seconds, reverse=True):
        heapq.heapreplace(busy, busy[0] + length)
    return max(busy)


def _step(
    config: RunConfig,
    shape: Any,
    method: Any,
    batch: int,
    dimensions: tuple[int, ...],
    packed: bool,
) -> tuple[StepFlops, int, float]:
    """FLOPs of a step, its token slots, and what padding makes of its executed FLOP."""
    lengths = mean_lengths(config, shape.vocabulary)
    known = shape, method, batch, lengths, config.checkpointing, dimensions
    flops, slots = _step_flops(*known, packed, config.chunk_tokens)
    if packed:
        return flops, slots, 1.0
    without, _ = _step_flops(*known, True, config.chunk_tokens)
    return flops, slots, flops.hardware / without.hardware


@lru_cache(maxsize=4096)
def _step_flops(
    shape: Any,
    method: Any,
    batch: int,
    lengths: tuple[int, int, int],
    checkpointing: bool,
    dimensions: tuple[int, ...],
    packed: bool,
    chunk_tokens: int | None,
) -> tuple[StepFlops, int]:
    """FLOPs and token slots of a step at texts of `mean_lengths`."""
    import numpy as np

    from toolkit.flops import planned_flops

    queries, positives = (np.full(batch, each) for each in lengths[:2])
    negatives = np.full(batch * lengths[2], lengths[1])
    flops, execution = planned_flops(
        shape,
        method,
        queries,
        positives,
        negatives,
        packed=packed,
        dimensions=dimensions,
        chunk_tokens=chunk_tokens,
        checkpointing=checkpointing,
        usual=_usual_chunk(),
    )
    return flops, int(execution.tokens.sum())


@lru_cache(maxsize=1)
def _usual_chunk() -> int:
    """Tokens of a chunk on what will run here."""
    from toolkit.contrast.packing import CPU_CHUNK, GPU_CHUNK

    return GPU_CHUNK if machine.gpu_names() and hardware.visible_gpus() else CPU_CHUNK


def mean_lengths(config: RunConfig, vocabulary: int) -> tuple[int, int, int]:
    """Tokens of a query and of a positive, with their prefixes at four letters a token, and how
    many negatives a query has."""
    from toolkit.pairs.lengths import mean_tokens

    prefixes = config.query_prefix or "", config.positive_prefix or ""
    tokens = mean_tokens(config.source, vocabulary, config.max_tokens)
    query, positive = (
        min(round(mean) + -(-len(prefix) // 4), config.max_tokens)
        for mean, prefix in zip(tokens, prefixes, strict=True)
    )
    return query, positive, 0 if config.negatives == "none" else config.negatives_per_query or 1


def _mining_flops(shape: Any, batch: int, lengths: tuple[int, int, int], packed: bool) -> StepFlops:
    """FLOPs of mining for a batch's pairs."""
    import numpy as np

    from toolkit.choices import GROUP
    from toolkit.contrast.packing import plan_step
    from toolkit.flops import StepFlops, forward_flops

    found = StepFlops(0, 0, 0)
    for side in lengths[:2]:
        texts = np.full(batch, side)
        found += forward_flops(shape, texts, plan_step(texts, packed=packed))
    search = 2 * batch * GROUP * shape.hidden
    return found + StepFlops(0, search, search)


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)

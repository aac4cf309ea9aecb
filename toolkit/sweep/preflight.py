"""What is in the way of runs, so far as it is known before the first step: all of it at once."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from toolkit import decoders
from toolkit.cache import cache_folder
from toolkit.encoder.encoder import SIDES, token_ids_of
from toolkit.errors import ToolkitError, noting, refuse
from toolkit.pairs.sources import NAMED, read_pairs
from toolkit.pairs.split import split
from toolkit.pairs.tokens import prefixes_of
from toolkit.runs import RunConfig
from toolkit.sweep.plan import FILE, Plan, cost
from toolkit.training import defaults, tracking
from toolkit.training.enough import check_batch, check_candidates
from toolkit.writing import check_folder

# Files up to this size are read through and split, half a minute at most, and once;
# larger ones have pairs enough for any batch, and the first run says what is wrong with a line.
_COUNTED_BYTES = 200_000_000
_MOST_TOLD = 10


def validate(plan: Plan, configs: Iterable[RunConfig] | None = None) -> None:
    """Make sure that each run can start: template, folder, decoder, method, budget and data.

    Args:
        plan: The sweep's.
        configs: Those of its runs that are meant; None for all.

    Raises:
        ToolkitError: Something is in the way; the sentence says all that is, and of which runs.
    """
    found: list[ToolkitError] = []
    meant = list(plan.configs if configs is None else configs)
    with noting(found):
        plan.template.check(keep=plan.keep != "none")
    if meant:
        with noting(found):
            check_folder(plan.folder)
    runs: dict[tuple[type[ToolkitError], str], list[RunConfig]] = {}
    for config in meant:
        for error in problems(config):
            runs.setdefault((type(error), str(error)), []).append(config)
    for (kind, words), stopped in runs.items():
        more = f" and {len(stopped) - 1} more" if len(stopped) > 1 else ""
        found.append(kind(f"run {stopped[0].run_id}{more}: {words}"))
    if len(found) > _MOST_TOLD:
        found[_MOST_TOLD:] = [ToolkitError(f"and {len(found) - _MOST_TOLD} more such")]
    refuse(found, f"{plan.folder / FILE}: ")


def check_run(
    config: RunConfig,
    folder: str | Path | None = None,
    export_to: str | Path | None = None,
    *,
    keep: bool = False,
) -> None:
    """Make sure that one run can start, and that what comes of it can be kept.

    Args:
        config: The run's.
        folder: Of its record and checkpoints, if any. export_to: Of its encoder, if any.
        keep: Whether its encoder is to stay in `folder`.

    Raises:
        ToolkitError: Something is in the way; the sentence says all that is.
    """
    from toolkit.encoder.export import check_export
    from toolkit.training.folder import check_own

    found = problems(config)
    with noting(found):
        _check_keep(keep, folder)
    if folder:
        with noting(found):
            check_own(Path(folder), config)
    if export_to:
        with noting(found):
            check_export(config, Path(export_to))
    refuse(found)


def _check_keep(keep: object, folder: object) -> None:
    if not isinstance(keep, bool):
        raise ToolkitError(f"keep is true or false for one run, not {reprlib.repr(keep)}")
    if keep and not folder:
        raise ToolkitError("keep needs a folder for the encoder to stay in: give folder as well")


def problems(config: RunConfig) -> list[ToolkitError]:
    """What is in the way of a run, by its decoder, method, budget and data."""
    found: list[ToolkitError] = []
    with noting(found):
        cost(config)
    with noting(found):
        decoders.check_files(decoders.find(config.decoder))
        decoders.check_attention(config.decoder, config.attention, config.max_tokens)
    with noting(found):
        _check_data(config)
    with noting(found):
        tracking.check(config.tracking)
    with noting(found):
        _check_prefixes(config)
    return found


def _check_prefixes(config: RunConfig) -> None:
    """Make sure that each prefix leaves room for a text, and ends where a token does.

    Raises:
        ToolkitError: It does not.
    """
    if config.query_prefix is None and config.positive_prefix is None:
        return
    decoder = decoders.find(config.decoder)
    if decoder.source and not Path(decoder.source).is_dir():
        return  # of a hub's decoder nothing is known before it is fetched
    tokenizer = decoders.load_tokenizer(decoder)
    encode = partial(token_ids_of, tokenizer=tokenizer, config=config)
    for side in SIDES:
        prefixes_of(config).tokens(side, encode, tokenizer)


def _check_data(config: RunConfig) -> None:
    """Make sure that the data can be read and are enough.

    Raises:
        ToolkitError: They cannot or are not.
    """
    cache_folder()
    if config.data.startswith("hub:") and find_spec("datasets") is None:
        raise ToolkitError("hub data needs `pip install decoders-to-encoders[export]`")
    source = config.source
    source.check()
    if config.negatives == "given" and source.name in NAMED:
        raise ToolkitError(f"data {source.name!r} names no negatives; use negatives: mined or none")
    if not source.is_file:
        return
    if Path(source.name).stat().st_size > _COUNTED_BYTES:
        next(read_pairs(source), None)
        return
    facts = split(source).facts
    if config.negatives == "given" and not facts.negatives:
        raise ToolkitError(
            f"{source.name} names no negatives; give a column of them (negative_column), or use "
            "negatives: mined or none"
        )
    check_candidates(facts.held_out, config.candidates, facts)
    batch = config.batch_pairs
    if batch is None:
        batch = defaults.batch_pairs(decoders.find(config.decoder), config.budget_flop)
    check_batch(min(config.max_pairs or facts.train, facts.train), batch)

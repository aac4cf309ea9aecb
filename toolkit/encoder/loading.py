"""An encoder from wherever it is: a run's folder, an exported folder, a decoder's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.encoder.encoder import Encoder
from toolkit.errors import SurroundingsError, ToolkitError
from toolkit.records import RunRecord, as_made, read_record
from toolkit.runs import RunConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

EXPORTED = "toolkit.json"  # In an exported folder: the run's configuration and its record.
MODULES = "modules.json"  # What a folder of sentence-transformers has.
OF_SENTENCE_TRANSFORMERS = "config_sentence_transformers.json"
_TRACES = (OF_SENTENCE_TRANSFORMERS, "sentence_bert_config.json", "1_Pooling")
_RUN, _SWEEP = ("record.json", "config.json"), "sweep.yaml"


def load(source: str | Path, **settings: object) -> Encoder:
    """The encoder of a run, of an exported folder, or, untuned, of a decoder.

    Args:
        source: Folder of a run that kept its encoder; folder written by `toolkit export`; name or
            folder of a decoder, for what it gives without any training.
        settings: For a decoder only: fields of RunConfig that say how texts are read and pooled
            (`pooling`, `max_tokens`, …).

    Example:
        >>> encoder = d2e.load("small-3k")  # or "runs/mine/runs/<run>", "my_encoder"
        >>> encoder.encode(["a text", "another"]).shape
        (2, 16)

    Raises:
        ToolkitError: There is none; says what there is, and how to keep one.
    """
    if not isinstance(source, (str, Path)):
        raise ToolkitError(f"an encoder is named by a text or a path, not by {source!r:.60}")
    folder = Path(source)
    check_readable(folder)
    config = run_config(folder)
    exported = None if config else _exported(folder)
    if settings and (config or exported):
        raise ToolkitError(f"{source} is trained, and read as it was: it takes no {min(settings)}")
    if config is not None:
        return _of_run(folder, config)
    if exported is not None:
        return _of_export(folder, exported)
    if (folder / _SWEEP).is_file():
        raise ToolkitError(f"{folder} is a sweep; name one of its runs{_kept_in(folder)}")
    if (folder / MODULES).is_file() and not settings:
        raise ToolkitError(
            f"{folder} is a model of sentence-transformers, whose pooling and prompts are not read "
            f'here: SentenceTransformer("{folder}") does; embed, search and evaluate take it'
        )
    if not settings and any((folder / name).exists() for name in _TRACES):
        raise ToolkitError(
            f"{folder} is a model of sentence-transformers without its {MODULES}, so that nobody "
            "knows how it pools; copy it whole, or name the pooling in Python: "
            f'toolkit.load("{folder}", pooling="mean")'
        )
    return _untuned(
        str(source), RunConfig.from_dict({"budget_flop": 1, **settings, "decoder": str(source)})
    )


def check_readable(folder: Path) -> None:
    """Make sure that what lies at a path can be a model.

    Raises:
        ToolkitError: It is a file, or a folder that may not be read.
    """
    try:
        if folder.is_dir():
            next(folder.iterdir(), None)
        elif folder.is_file():
            raise ToolkitError(f"{folder} is a file; an encoder is a folder, or a decoder's name")
    except OSError as error:
        raise SurroundingsError(f"{folder} cannot be read: {error.strerror}") from error


def run_config(folder: Path) -> RunConfig | None:
    """The configuration of the run whose folder this is; None where it is none's.

    Raises:
        ToolkitError: Its record is damaged.
    """
    for name in _RUN:
        path = folder / name
        values = _values(path)
        if name == "record.json" and path.is_file() and (not values or "sha256" in values):
            return read_record(path).config
        if "budget_flop" in values:
            return _as_made(values, path)
    return None


def _as_made(values: dict[str, Any], path: Path) -> RunConfig:
    """The configuration that a file holds.

    Raises:
        ToolkitError: It holds none; the file is named.
    """
    try:
        return as_made(values)
    except ToolkitError as error:
        raise ToolkitError(f"{path} holds no configuration of a run: {error}") from error


def _values(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    except (OSError, ValueError):
        return {}


def _exported(folder: Path) -> RunConfig | None:
    """The configuration of an exported encoder; None where the folder is no such.

    Raises:
        ToolkitError: It is one, and what says how it reads texts is damaged.
    """
    path = folder / EXPORTED
    if not path.is_file():
        return None
    config = _values(path).get("config")
    if not isinstance(config, dict):
        raise ToolkitError(f"{path} is damaged: it no longer says how texts are read; export again")
    return _as_made({**config, "decoder": str(folder)}, path)


def _of_run(folder: Path, config: RunConfig) -> Encoder:
    from toolkit import decoders, methods
    from toolkit.training import kept

    if not kept.is_kept(folder):
        raise ToolkitError(f"{folder} kept no encoder{_how_to_keep(folder)}")
    decoder = decoders.find(config.decoder)
    model = decoders.load(decoder, bidirectional=config.attention == "bidirectional")
    methods.resolve(config, decoder.shape).apply(model, config.seed)
    kept.restore(folder, config, model)
    path = folder / "record.json"
    record = read_record(path) if path.is_file() else None
    return trained(model, config, record, str(folder))


def trained(
    model: PreTrainedModel, config: RunConfig, record: RunRecord | None = None, name: str = ""
) -> Encoder:
    """The encoder that a trained model is.

    Args:
        model: From `toolkit.training.run.train_encoder`; its adapters are merged in place, and
            its gradients end. config, record: Of its run.
        name: To call it by; the run's where empty.
    """
    from toolkit import decoders
    from toolkit.encoder.merging import merge_adapters

    merge_adapters(model)
    tokenizer = decoders.load_tokenizer(decoders.find(config.decoder))
    return Encoder(name or config.run_id, _ready(model), tokenizer, config, record)


def _of_export(folder: Path, config: RunConfig) -> Encoder:
    from toolkit import decoders

    # Its shape, which nobody asks for, would be refused where it is no causal decoder any more.
    decoder = decoders.Decoder(str(folder), shape=None, source=str(folder))  # type: ignore[arg-type]
    decoders.check_files(decoder)
    tokenizer = decoders.load_tokenizer(decoder)
    record = _record(folder / EXPORTED)
    return Encoder(str(folder), _ready(decoders.load(decoder)), tokenizer, config, record)


def _record(path: Path) -> RunRecord | None:
    """The record in an exported folder, if there is one."""
    record = _values(path).get("record")
    try:
        return RunRecord.from_json(json.dumps(record)) if record else None
    except ToolkitError as error:
        raise ToolkitError(f"the record in {path} {error}; export again") from error


def _untuned(name: str, config: RunConfig) -> Encoder:
    from toolkit import decoders

    decoder = decoders.find(config.decoder)
    decoders.check_files(decoder)
    decoders.check_attention(config.decoder, config.attention, config.max_tokens)
    model = decoders.load(decoder, bidirectional=config.attention == "bidirectional")
    return Encoder(name, _ready(model), decoders.load_tokenizer(decoder), config)


def _ready(model: PreTrainedModel) -> PreTrainedModel:
    from toolkit.training.preparation import device

    return model.requires_grad_(False).eval().to(device())


def _how_to_keep(folder: Path) -> str:
    again = f"python -m toolkit train {folder} --keep"
    if not (folder / "record.json").is_file():
        return f", as it has not ended: {again}"
    return (
        f"; keep it by doing the run again: {again} "
        f"(in a sweep.yaml, keep: best or keep: all){_kept_in(folder.parent.parent, 'those kept')}"
    )


def _kept_in(sweep: Path, what: str = "these kept theirs") -> str:
    """The runs of a sweep that kept their encoder, the lowest loss first, as the end of a
    sentence."""
    from toolkit.training.kept import is_kept

    found = []
    for record in sweep.glob("runs/*/record.json"):
        if is_kept(record.parent):
            try:
                found.append((read_record(record).loss, str(record.parent)))
            except ToolkitError:
                continue
    if not found:
        return "; none of its sweep has kept one" if (sweep / _SWEEP).is_file() else ""
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"; {what}, best first: {', '.join(name for _, name in sorted(found)[:3])}{more}"

"""Records: what came of a run, and the run table that the two halves share.

A run's folder holds `config.json`, later `record.json`. The record is the only evidence that a
run ended: it is written last, in one atomic step, and carries a checksum of its own content.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import reprlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit import decoders
from toolkit.errors import ToolkitError
from toolkit.runs import RunConfig, canonical
from toolkit.values import field_types, is_one

if TYPE_CHECKING:
    import pandas as pd

ENDED = ("finished", "diverged")
FORMAT = 1


@dataclass(frozen=True)
class RunRecord:
    """What a run did: one row of the run table, and its curve.

    Attributes:
        config: As asked for.
        status: finished or diverged.
        reason: Why it diverged; empty when finished.
        params, trainable: Non-embedding parameters, and the trained ones among them.
        flop_paper, flop_model, flop_hardware: FLOP spent in each convention.
        tokens, pairs, unique_pairs, steps: Real tokens and pairs seen; distinct pairs; steps.
        loss: Held-out contrastive loss over `candidates` candidates (nats); NaN if diverged.
        recall_at_1, recall_at_10, mrr: Retrieval of the positive on the same held-out set.
        lr, batch_pairs, trained_blocks, lora_rank: As resolved from the defaults.
        seconds: Wall time of training, evaluation left out.
        hardware, code_version: Where, and by which version of this package.
        curve: Points of (step, FLOP in the run's convention, training loss, held-out loss or
            None).
        precision: float32 or bfloat16, as resolved; records older than the field are float32.
        fingerprint: Of the pairs trained and measured on, with their sides; whatever file they
            came from. Empty where the record is older than the field, as in what follows.
        masked: Candidates of all training batches that were not counted as wrong, since a text
            of theirs equals the right one's.
        masked_by_margin: Candidates of all training batches, in either direction, that were not
            counted as wrong since they scored better than the right one by the margin.
        negatives_seen: Hard negatives of all training batches.
        mining_flop: Model FLOP of what the untuned decoder mined; part of the flop above.
        loss_by_dimension: Held-out loss of the first so many features, by their number.
        loss_by_origin: Of a mixed data source, the held-out loss of each origin's pairs.
        revision, libraries: Of the code, and the versions of what it stands on.
        flop_inherited: Of `flop_model`, what another run had already spent on the steps that both
            share (`schedule: trunk`): what the run did cost is the rest.
        peak_bytes: The most memory that its process has held, or on a GPU its tensors; 0 in records
            older than the field.

    Example:
        >>> config = d2e.RunConfig(
        ...     decoder="small-3k", budget_flop=2e8,
        ...     data="my_pairs.jsonl", batch_pairs=16, candidates=16,
        ... )
        >>> record = d2e.train(config)
        >>> record.loss < 4 and record.flop_model <= 2.2e8
        True
    """

    config: RunConfig
    status: str
    reason: str
    params: int
    trainable: int
    flop_paper: int
    flop_model: int
    flop_hardware: int
    tokens: int
    pairs: int
    unique_pairs: int
    steps: int
    loss: float
    recall_at_1: float
    recall_at_10: float
    mrr: float
    lr: float
    batch_pairs: int
    trained_blocks: int | None
    lora_rank: int | None
    seconds: float
    hardware: str
    code_version: str
    curve: tuple[tuple[int, float, float, float | None], ...] = ()
    precision: str = "float32"
    fingerprint: str = ""
    masked: int | None = None
    masked_by_margin: int | None = None
    negatives_seen: int | None = None
    mining_flop: int | None = None
    loss_by_origin: dict = field(default_factory=dict)
    loss_by_dimension: dict = field(default_factory=dict)
    revision: str = ""
    libraries: str = ""
    flop_inherited: int = 0
    peak_bytes: int = field(default=0, compare=False)  # the machine's, not the run's

    def row(self) -> dict[str, Any]:
        """The run's row of the table: its configuration, overlaid with what came of it."""
        result = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_COLUMNS}
        return {"run": self.config.run_id, **self.config.to_dict(), **result}

    def to_json(self) -> str:
        """The record as text, with a checksum that makes damage visible."""
        body = {
            "format": FORMAT,
            "config": self.config.to_dict(),
            "result": {f.name: getattr(self, f.name) for f in fields(self) if f.name != "config"},
        }
        body["sha256"] = hashlib.sha256(canonical(body).encode()).hexdigest()
        return json.dumps(body, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """The record from its text.

        Raises:
            ToolkitError: The text is damaged, incomplete, altered or of another format.
        """
        try:
            body = json.loads(text)
            claimed = body.pop("sha256")
            if body["format"] != FORMAT:
                raise ToolkitError(f"is of format {reprlib.repr(body['format'])}, not {FORMAT}")
            if claimed != hashlib.sha256(canonical(body).encode()).hexdigest():
                raise ToolkitError("does not match its checksum")
            result = body["result"]
            result["curve"] = tuple(tuple(point) for point in result["curve"])
            record = cls(config=as_made(body["config"]), **result)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ToolkitError("is not a whole run record") from error
        if record.status not in ENDED:
            raise ToolkitError(f"has status {reprlib.repr(record.status)}")
        for name, hint in field_types(cls).items():  # type: ignore[arg-type]
            if name not in _NOT_COLUMNS and not is_one(getattr(record, name), hint):
                raise ToolkitError(f"has no sensible {name}")
        if record.status == "finished" and not math.isfinite(record.loss):
            raise ToolkitError("claims to be finished without a finite loss")
        return record


_NOT_COLUMNS = ("config", "curve")


def as_made(values: dict[str, Any]) -> RunConfig:
    """The configuration of a run that was made, maybe before there was one of today's fields.

    Raises:
        ToolkitError: The values are no configuration.
    """
    if "special_tokens" not in values:
        # No run had them then; the tokenizers of the decoders known by name add none.
        named = decoders.catalogued(str(values.get("decoder", ""))) is not None
        values = {**values, "special_tokens": named}
    return RunConfig.from_dict(values)


def read_record(path: Path, expected: RunConfig | None = None) -> RunRecord:
    """The record at `path`; where `expected` is given, of that very configuration.

    Raises:
        ToolkitError: It is missing, damaged or another run's; the sentence names the file.
    """
    try:
        record = RunRecord.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ToolkitError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ToolkitError(f"{path} cannot be read: {error}") from error
    except ToolkitError as error:
        raise ToolkitError(f"{path} {error}; the run will be done again") from error
    if expected is not None and record.config != expected:
        raise ToolkitError(f"{path} belongs to another configuration; the run will be done again")
    return record


def table_csv(records: list[RunRecord]) -> str:
    """The run table as CSV text: one row a record, in a stable order, every digit kept."""
    rows = sorted((record.row() for record in records), key=lambda row: str(row["run"]))
    out = io.StringIO()
    columns = _table_columns()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        plain = {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in row.items()}
        writer.writerow(plain)
    return out.getvalue()


def _table_columns() -> list[str]:
    ours = [f.name for f in fields(RunRecord) if f.name not in _NOT_COLUMNS]
    return list(dict.fromkeys(["run", *(f.name for f in fields(RunConfig)), *ours]))


def run_table(records: list[RunRecord]) -> pd.DataFrame:
    """The run table, one row a record, in a stable order."""
    import pandas as pd

    return pd.read_csv(io.StringIO(table_csv(records)))

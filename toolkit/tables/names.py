"""Which column of a stranger's table is which of ours, by its name as people write it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError, nearest
from toolkit.methods import SETTINGS
from toolkit.records import RunRecord
from toolkit.runs import RunConfig
from toolkit.tables.numbers import read_cell, read_multiple
from toolkit.values import field_types

if TYPE_CHECKING:
    import pandas as pd

CORE = ("method", "params", "tokens", "budget_flop", "loss", "status")
COUNTS = (
    "params", "trainable", "tokens", "pairs", "unique_pairs", "unique_tokens", "max_pairs",
    "budget_flop", "flop_paper", "flop_model", "flop_hardware", "steps", "batch_pairs",
)  # fmt: skip
MEASURES = (
    "loss", "recall_at_1", "recall_at_10", "mrr", "lr", "weight_decay", "warmup", "temperature",
    "candidates", "max_tokens", "seed", "seconds",
    *(name for name in SETTINGS if {int, float} & {*field_types(RunConfig)[name]}),
)  # fmt: skip
OTHERS = ("run", "decoder", "method", "status", "reason", "data", "flop_convention", "pooling")
ALIASES = {  # Keys of names (`key`) that others give to the same thing.
    "run": "runid runname name",
    "decoder": "model modelname basemodel backbone",
    "method": (
        "methodname finetuningmethod finetunemethod tuningmethod finetuning tuning peftmethod"
    ),
    "params": (
        "param parameters nparams nparameters numparams numparameters paramcount parametercount "
        "modelsize modelparams modelparameters nonembeddingparams nonembeddingparameters "
        "nonembedparams"
    ),
    "tokens": "token ntokens numtokens trainingtokens traintokens tokensseen totaltokens",
    "budget_flop": (
        "budget flop flops budgetflops flopbudget flopsbudget trainingflop trainingflops trainflop "
        "trainflops totalflop totalflops compute computebudget trainingcompute"
    ),
    "loss": (
        "finalloss evalloss evaluationloss valloss validationloss testloss heldoutloss devloss "
        "finalevalloss finalvalloss finaltestloss evalsetloss"
    ),
    "status": "state runstatus runstate",
    "lr": "learningrate peaklr peaklearningrate maxlr maxlearningrate",
    "batch_pairs": "batchsize batch",
    "lora_rank": "lorar rank",
    "seed": "randomseed",
    "unique_tokens": "distincttokens",
}
# What experiment trackers put before a name: config/lr, params.lr, metrics.loss, summary/loss.
TRACKED = re.compile(
    r"^(?:config|configs|params|metrics|summary|summary_metrics|hparams|hyperparameters|args"
    r"|values|result|results|record|run)[./:]\s*",
    re.IGNORECASE,
)
_IN_UNIT = re.compile(r"^(.*\S)\s*[(\[]\s*(?:in\s+|x\s*|×\s*)?([^()\[\]]+?)\s*[)\]]$")
_UNIT_WORD = re.compile(
    r"^(.*[^\W_])[_\s]+(?:in[_\s])?((?:thousand|million|billion|trillion)s?)$", re.IGNORECASE
)


@dataclass(frozen=True)
class Naming:
    """What the columns of a table are.

    Attributes:
        renamed: New name by the old one.
        units: By new name, what a name such as `Params (M)` says that the column is counted in.
        notes: A sentence for each name that was guessed.
    """

    renamed: dict[str, str]
    units: dict[str, float]
    notes: tuple[str, ...]


@cache
def known() -> tuple[str, ...]:
    """Our own column names, those first that laws need."""
    record = [field.name for cls in (RunConfig, RunRecord) for field in fields(cls)]
    rest = [name for name in record if name not in ("config", "curve")]
    return tuple(dict.fromkeys([*CORE, *OTHERS, *COUNTS, *MEASURES, *rest]))


def key(name: str) -> str:
    """A name without its case, blanks, underscores and marks: what spellings have in common."""
    return re.sub(r"[\W_]+", "", name.casefold())


def role_named(word: str) -> str:
    """The column of ours that a person means, by its name or a usual other one.

    Raises:
        ToolkitError: There is none; the nearest are offered.
    """
    for name in known():
        if key(word) == key(name) or key(word) in ALIASES.get(name, "").split():
            return name
    raise ToolkitError(f"there is no usual column {word!r}{nearest(word, list(CORE))}")


def find(name: str, names: Sequence[str]) -> str:
    """The column that a person means by `name`: so called or, if none is, so called but for case,
    blanks and marks.

    Raises:
        ToolkitError: There is none, or there are several.
    """
    found = [n for n in names if n == name] or [n for n in names if key(n) == key(name)]
    if len(found) > 1:
        raise ToolkitError(several(name, found))
    if not found:
        raise ToolkitError(f"the table has no column {name!r}{nearest(name, list(names))}")
    return found[0]


def several(name: str, found: Sequence[str]) -> str:
    """The sentence about several columns of one name."""
    if len(set(found)) == 1:
        return f"the table has {len(found)} columns called {found[0]!r}: rename one of them"
    listed = " and ".join(map(repr, found))
    return (
        f"the table has {len(found)} columns that may be {name!r}: {listed}; say which with "
        f"--columns {name}='{found[-1]}'"
    )


def name_columns(
    table: pd.DataFrame, given: Mapping[str, str], taken: Iterable[str] = ()
) -> Naming:
    """Find our columns in a table.

    By the name itself or a spelling of it (`Budget FLOP`, `config/lr`, `Params (M)`), else by a
    usual other name (`Model Size`), which is noted. Of several usual names none is taken.

    Args:
        table: With names as in the file; they may repeat.
        given: By our name, the file's, as a person has said.
        taken: Names of the file that are spoken for and stay as they are.

    Raises:
        ToolkitError: A name given is not there, or one of our names is that of several columns.
    """
    names = [str(name) for name in table.columns]
    renamed = {find(old, names): new for new, old in given.items()}
    if len(renamed) < len(given):
        raise ToolkitError("--columns names one column of the table twice")
    for old in set(names) & set(given) - set(renamed):
        renamed[old] = f"{old} (in the file)"
    free = [name for name in names if name not in renamed and name not in set(taken)]
    parts = {name: _parts(name) for name in free}
    units: dict[str, float] = {}
    notes: list[str] = []

    def take(old: str, new: str) -> None:
        free.remove(old)
        renamed[old] = new
        if parts[old][1] != 1 and new in COUNTS:
            units[new] = parts[old][1]

    wanted = [name for name in known() if name not in given]
    for new in wanted:
        found = [old for old in free if parts[old][0] == key(new)]
        if len(found) > 1 and _differ(table, found):
            if new in CORE or len(set(found)) == 1:
                raise ToolkitError(several(new, found))
            found = [new] if new in found else []
        for old in found[:1]:
            take(old, new)
    for new in wanted:
        if new in renamed.values():
            continue
        others = ALIASES.get(new, "").split()
        found = [old for old in free if parts[old][0] in others]
        if len(found) == 1:
            take(found[0], new)
            if new not in ("run", "decoder", "seed"):
                notes.append(f"column {found[0]!r} is taken as {new}")
    if "loss" in renamed.values() and "loss" not in given and (rivals := _losses(free, parts)):
        ours = next(old for old, new in renamed.items() if new == "loss")
        listed = " and ".join(map(repr, rivals))
        notes.append(f"the loss is column {ours!r}, not {listed} (--columns loss='{rivals[0]}')")
    return Naming({old: new for old, new in renamed.items() if old != new}, units, tuple(notes))


def _losses(free: list[str], parts: Mapping[str, tuple[str, float]]) -> list[str]:
    """Columns of held-out losses that were not taken."""
    return [old for old in free if parts[old][0] in ALIASES["loss"].split()]


def _parts(name: str) -> tuple[str, float]:
    """The key of a name without what trackers put before it, and the unit that it tells."""
    plain = name
    while len(shorter := TRACKED.sub("", plain)) < len(plain) and shorter:
        plain = shorter
    found = _IN_UNIT.match(plain) or _UNIT_WORD.match(plain)
    if found:
        said = found[2]
        try:
            multiple = read_multiple(said) or read_cell(said, counts=True)
        except ToolkitError:
            return key(plain), 1.0
        return key(found[1]), multiple if multiple > 0 else 1.0
    return key(plain), 1.0


def _differ(table: pd.DataFrame, found: Sequence[str]) -> bool:
    """Whether columns of one name say different things; the very same name is refused anyhow."""
    if len(set(found)) < len(found):
        return True
    return any(not table[found[0]].equals(table[other]) for other in found[1:])

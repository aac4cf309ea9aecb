"""Decoders to Encoders: compute-optimal contrastive fine-tuning of decoder language models.

    >>> import toolkit as d2e
    >>> runs = d2e.read_runs("reference")
    >>> recipe = d2e.recommend(runs, budget_flop=1e13)
    >>> recipe.decoder.name, recipe.method
    ('small-85k', 'full')

Two halves meet at one contract, the run table (`toolkit.records`): the left half trains and makes
rows, the right half (`toolkit.laws`, `toolkit.recipe`) fits rows from anywhere and needs no torch.
The names here are the public face; each is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from toolkit.faces import face

if TYPE_CHECKING:
    from toolkit.decoders import find as find_decoder
    from toolkit.encoder.encoder import Encoder
    from toolkit.encoder.loading import load
    from toolkit.errors import ToolkitError
    from toolkit.explorer import explore
    from toolkit.laws import fit_table as fit
    from toolkit.pairs.sources import read_pairs
    from toolkit.recipe.recommendation import Recipe, recommend, recommend_from
    from toolkit.recipe.study import Study
    from toolkit.records import RunRecord
    from toolkit.report import build as write_report
    from toolkit.runs import RunConfig
    from toolkit.sweep.execution import run_sweep
    from toolkit.sweep.plan import read_plan
    from toolkit.tables import read_table as read_runs
    from toolkit.training.run import train
    from toolkit.words import as_text as in_words

__version__ = "0.1.0"

__all__ = [
    "Encoder",
    "Recipe",
    "RunConfig",
    "RunRecord",
    "Study",
    "ToolkitError",
    "explore",
    "find_decoder",
    "fit",
    "in_words",
    "load",
    "read_pairs",
    "read_plan",
    "read_runs",
    "recommend",
    "recommend_from",
    "run_sweep",
    "train",
    "write_report",
]

# Where each name lives; what is loaded at once is this table alone.
_HOMES = {
    "Encoder": "encoder.encoder:Encoder",
    "Recipe": "recipe.recommendation:Recipe",
    "RunConfig": "runs:RunConfig",
    "RunRecord": "records:RunRecord",
    "Study": "recipe.study:Study",
    "ToolkitError": "errors:ToolkitError",
    "explore": "explorer:explore",
    "find_decoder": "decoders:find",
    "fit": "laws:fit_table",
    "in_words": "words:as_text",
    "load": "encoder.loading:load",
    "read_pairs": "pairs.sources:read_pairs",
    "read_plan": "sweep.plan:read_plan",
    "read_runs": "tables:read_table",
    "recommend": "recipe.recommendation:recommend",
    "recommend_from": "recipe.recommendation:recommend_from",
    "run_sweep": "sweep.execution:run_sweep",
    "train": "training.run:train",
    "write_report": "report:build",
}

# The rooms with a face of their own: `d2e.figures`, `d2e.flops`, …
_ROOMS = (
    "cli",
    "contrast",
    "decoders",
    "encoder",
    "explorer",
    "figures",
    "flops",
    "hardware",
    "laws",
    "methods",
    "pairs",
    "recipe",
    "report",
    "synthetic",
    "tables",
    "text",
    "training",
    "words",
)
_name, __dir__ = face(__name__, _HOMES)


def __getattr__(name: str) -> object:
    return import_module(f"{__name__}.{name}") if name in _ROOMS else _name(name)

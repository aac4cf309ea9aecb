"""The choices of today's embedding recipes, checked: prefixes, negatives, dimensions, margins."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.values import one_of

NEGATIVES = ("none", "given", "mined")
GROUP = 4096  # Pairs among which negatives are mined.


def check_choices(config: Any) -> None:
    """Make sure that a configuration's choices go together, as far as it alone tells.

    Args:
        config: With the fields of `toolkit.runs.RunConfig`.

    Raises:
        ToolkitError: They do not.
    """
    one_of("negatives", config.negatives, NEGATIVES)
    for name, kinds in (("negatives_per_query", NEGATIVES[1:]), ("negative_margin", ("mined",))):
        value = getattr(config, name)
        if value is not None and config.negatives not in kinds:
            raise ToolkitError(
                f"{name} belongs to negatives {' or '.join(kinds)}, but this run's are "
                f"{config.negatives}"
            )
    if config.negatives_per_query is not None and config.negatives_per_query < 1:
        raise ToolkitError(
            f"negatives_per_query must be at least 1, not {config.negatives_per_query}"
        )
    for name in ("negative_margin", "false_negative_margin"):
        margin = getattr(config, name)
        if margin is not None and not (0 <= margin <= 2 and math.isfinite(margin)):
            raise ToolkitError(
                f"{name} is a difference of cosine similarities, from 0 to 2, not {margin}"
            )
    if not (config.prefix_in_pooling or config.query_prefix or config.positive_prefix):
        raise ToolkitError(
            "prefix_in_pooling: false leaves out a query_prefix or positive_prefix; give one"
        )
    _check_order(config.matryoshka or ())


def _check_order(dimensions: tuple[int, ...]) -> None:
    if any(d < 1 for d in dimensions):
        raise ToolkitError(f"matryoshka dimensions must be at least 1, not {min(dimensions)}")
    steps = [b - a for a, b in pairwise(dimensions)]
    if not (all(s < 0 for s in steps) or all(s > 0 for s in steps)):
        raise ToolkitError(
            f"matryoshka dimensions must fall (or rise) from one to the next, not "
            f"{', '.join(map(str, dimensions))}"
        )


def nested_dimensions(config: Any, width: int) -> tuple[int, ...]:
    """The dimensions beside the whole width that a run trains for, falling.

    Raises:
        ToolkitError: One is above the decoder's width.
    """
    dimensions = sorted(config.matryoshka or (), reverse=True)
    if dimensions and dimensions[0] > width:
        raise ToolkitError(
            f"matryoshka dimension {dimensions[0]} is above the width {width} of "
            f"{config.decoder}; give at most that"
        )
    return tuple(d for d in dimensions if d < width)

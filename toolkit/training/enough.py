"""Whether there are enough pairs for a run: asked before it starts, and again by the run itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.pairs.split import Facts


def check_batch(pairs: int, batch_pairs: int) -> None:
    """Make sure that the training side holds a batch.

    Raises:
        ToolkitError: It does not.
    """
    if pairs < batch_pairs:
        raise ToolkitError(
            f"a batch needs {batch_pairs:,} pairs but the training side has {pairs:,}; "
            "give more pairs or a smaller batch_pairs"
        )


def check_candidates(pairs: int, candidates: int, facts: Facts | None = None) -> None:
    """Make sure that the held-out side holds as many pairs as the loss is to have candidates.

    Args:
        pairs: Held out. candidates: Asked for. facts: Of the data, to say why there are so few.

    Raises:
        ToolkitError: It does not.
    """
    if pairs >= candidates:
        return
    clusters = ""
    if facts is not None and facts.clusters == 1 < facts.pairs:
        raise ToolkitError(
            f"the {facts.pairs:,} pairs all belong together, since they share their queries or "
            "their positives or are near-duplicates: nothing is left to hold out or to tell apart"
        )
    if facts is not None and facts.clusters < facts.pairs:
        clusters = (
            f" of the {facts.clusters:,} clusters into which shared texts and near-duplicates "
            "join them"
        )
    lower = " or lower candidates to that" if pairs > 1 else ""
    raise ToolkitError(
        f"{candidates:,} held-out candidates are asked for but the data hold out only "
        f"{pairs:,} pair{'' if pairs == 1 else 's'} (5 %{clusters}); give more pairs{lower}"
    )

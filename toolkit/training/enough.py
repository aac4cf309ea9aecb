"""Whether there are enough pairs for a run: asked before it starts, and again by the run itself."""

from __future__ import annotations

from toolkit.errors import ToolkitError


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


def check_candidates(pairs: int, candidates: int) -> None:
    """Make sure that the held-out side holds as many pairs as the loss is to have candidates.

    Raises:
        ToolkitError: It does not.
    """
    if pairs < candidates:
        raise ToolkitError(
            f"{candidates:,} held-out candidates are asked for but the data hold out only "
            f"{pairs:,} pairs (5 %); give more pairs or lower candidates to that"
        )

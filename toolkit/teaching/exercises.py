"""Exercises of the walkthroughs: open, right or wrong, and the reader is told which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Wrong(AssertionError):
    """An answer that does not hold; Jupyter shows its one sentence instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def check(
    exercise: str,
    answer: Any,
    expected: Any | Callable[[Any], bool],
    *,
    hint: str,
    tolerance: float = 1e-6,
) -> None:
    """Print whether an exercise is open or right; a wrong answer is an error with a hint.

    Args:
        exercise: What to call it.
        answer: A number, text, array, or a list of those; open while there is a `...` in it.
        expected: The right answer, or a function that says of an answer whether it is right.
        hint: One sentence for who got it wrong.
        tolerance: Relative, for numbers.

    Raises:
        Wrong: The answer is given and does not hold.
    """
    if _is_open(answer):
        print(f"{exercise}: open. Replace the ... in the cell above, then run both cells again.")
    elif not (expected(answer) if callable(expected) else _agree(answer, expected, tolerance)):
        raise Wrong(f"{exercise}: not yet. {hint}")
    else:
        print(f"{exercise}: right.")


def _is_open(answer: Any) -> bool:
    parts = answer if isinstance(answer, (list, tuple)) else [answer]
    return any(part is ... for part in parts)


def _agree(answer: Any, expected: Any, tolerance: float) -> bool:
    try:
        given, wanted = (np.asarray(value) for value in (answer, expected))
        if given.shape != wanted.shape:
            return False
        if np.issubdtype(wanted.dtype, np.number):
            return bool(np.allclose(given, wanted, rtol=tolerance, atol=0))
        return bool((given == wanted).all())
    except (TypeError, ValueError, RuntimeError):
        return False

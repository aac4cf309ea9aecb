"""Answers that are kept for as long as what they are about, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Owner = TypeVar("Owner")
Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def kept(
    most: int,
) -> Callable[
    [Callable[Concatenate[Owner, Asked], Answer]], Callable[Concatenate[Owner, Asked], Answer]
]:
    """As `functools.lru_cache`, but what is kept goes with the object that comes first.

    An `lru_cache` holds its arguments, so that a study that nobody has any more lives on in it.

    Args:
        most: Answers kept for one object; the oldest makes room.
    """

    def keeping(
        function: Callable[Concatenate[Owner, Asked], Answer],
    ) -> Callable[Concatenate[Owner, Asked], Answer]:
        answers: WeakKeyDictionary[Any, dict[Any, Answer]] = WeakKeyDictionary()

        @wraps(function)
        def answer(owner: Owner, *args: Asked.args, **kwargs: Asked.kwargs) -> Answer:
            mine, asked = answers.setdefault(owner, {}), (args, tuple(sorted(kwargs.items())))
            if asked not in mine:
                if len(mine) >= most:
                    del mine[next(iter(mine))]
                mine[asked] = function(owner, *args, **kwargs)
            return mine[asked]

        return answer

    return keeping

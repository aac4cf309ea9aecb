"""Plain values, as YAML, JSON or a notebook's parameters give them, checked against a type."""

from __future__ import annotations

import math
import reprlib
import types
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from toolkit.errors import ToolkitError, nearest
from toolkit.text import read_signed


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises ToolkitError, with the nearest names, unless `value` is one of the known."""
    if value not in known:
        raise ToolkitError(f"unknown {name} {value!r}{nearest(value, known)}")


def repeated(names: Iterable[str]) -> str | None:
    """The first name that occurs more than once; None if each is one thing's alone."""
    given = list(names)
    if len(set(given)) == len(given):
        return None
    return next(name for name in given if given.count(name) > 1)


@cache
def field_types(cls: Any) -> dict[str, tuple[type, ...]]:
    """For each field of RunConfig or RunRecord, the types it may have."""
    hints = get_type_hints(cls)
    return {
        f.name: get_args(hints[f.name])
        if get_origin(hints[f.name]) is types.UnionType
        else (hints[f.name],)
        for f in fields(cls)
    }


def convert(name: str, value: Any, allowed: tuple[type, ...]) -> Any:
    """`value` as one of the allowed types: YAML reads 1e12 as text, and whole floats as floats."""
    if value is None and type(None) in allowed:
        return None
    numbers: list[type] = [kind for kind in (int, float) if kind in allowed]
    if numbers and not isinstance(value, bool):
        return number(name, value, numbers)
    if bool in allowed and isinstance(value, bool):
        return value
    if str in allowed and is_text(value):
        return value
    several = next((kind for kind in allowed if get_origin(kind) is tuple), None)
    if several is not None and isinstance(value, (list, tuple)) and value:
        element = get_args(several)[0]
        if element is int or all(map(is_text, value)):
            return tuple(convert(name, each, (element,)) for each in value)
    raise ToolkitError(f"{name} has the bad value {reprlib.repr(value)}")


def is_text(value: Any) -> bool:
    """Non-empty text that a file can hold: lone surrogates cannot be written as UTF-8."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def number(name: str, value: Any, kinds: list[type]) -> int | float:
    """`value` as an int or a float; text is read as people write numbers: 1e12, 30k, 1.5B."""
    try:
        read = value
        if isinstance(value, str):
            read = read_signed(value)
            # Text cannot tell 2 from 2.0, and NaN is what is no number.
            read = int(read) if math.isnan(read) or read.is_integer() else read
        whole = int in kinds and float(read).is_integer()
        if whole and (float not in kinds or isinstance(read, int)):
            return int(read)
        if float in kinds:
            return float(read)
    except (TypeError, ValueError, OverflowError):
        pass
    wanted = "a number" if float in kinds else "a whole number"
    raise ToolkitError(f"{name} must be {wanted}, not {reprlib.repr(value)}")


def is_one(value: Any, allowed: tuple[type, ...]) -> bool:
    """Whether a record's value has its type; a count is never negative, a float may be whole."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value >= 0 and (int in allowed or float in allowed)
    return isinstance(value, allowed)

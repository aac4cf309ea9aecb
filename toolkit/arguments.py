"""Numbers on the command line, for argparse: read as everywhere, refused in its words."""

import argparse
import math

from toolkit.text import read_signed


def whole(text: str) -> int:
    """A whole number from 1."""
    number = read_signed(text)
    if math.isfinite(number) and number >= 1 and number.is_integer():
        return int(number)
    raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")


def positive(text: str) -> float:
    """A positive finite number."""
    number = read_signed(text)
    if number > 0 and math.isfinite(number):
        return number
    raise argparse.ArgumentTypeError(f"must be a positive number, not {text!r}")


def resources(text: str) -> dict[str, float]:
    """GPU=1,MEMORY=2e10 as dask takes it."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return {name.strip(): positive(number) for name, _, number in pairs if name.strip()}
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must read GPU=1,MEMORY=2e10, not {text!r}") from None

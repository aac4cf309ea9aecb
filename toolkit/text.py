"""Numbers, times and tables as people read and write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from toolkit.errors import ToolkitError

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
UNITS = {"T": 1e12, "B": 1e9, "M": 1e6, "k": 1e3}


def scientific(value: float, digits: int = 2) -> str:
    """3e11 as 3×10¹¹, 1e12 as 10¹², 3.16e12 as 3.2×10¹²."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPT)
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return power if mantissa == "1" else f"{mantissa}×{power}"


def count(value: float) -> str:
    """A count to three digits: 950, 18.9k, 1.19M, 2.5B; from a quadrillion on in powers of ten."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞"
    if value >= 999.5e12:
        return scientific(value)
    rounded = float(f"{value:.3g}")
    for unit, size in UNITS.items():
        if rounded >= size:
            return f"{rounded / size:.3g}{unit}"
    return f"{rounded:.3g}"


def size(taken: float) -> str:
    """Bytes to three digits, in thousands: 950 bytes, 1.2 MB, 3 GB."""
    if taken < 999.5:
        return f"{taken:.0f} bytes"
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if float(f"{taken:.3g}") >= bytes_:
            return f"{taken / bytes_:.3g} {unit}"
    raise AssertionError


def read_number(text: str) -> float:
    """The positive number that a person wrote: 3e12, 3×10¹², 10^12, 30k, 1.2M or 30,000.

    Raises:
        ToolkitError: It is none.
    """
    value = read_signed(text)
    if not (value > 0 and math.isfinite(value)):
        raise ToolkitError(f"{text!r} is not a positive number; write 3e12, 3×10¹², 30k or 1.2M")
    return value


def read_signed(text: str) -> float:
    """The number that a person wrote, as `read_number` reads it, of any sign; NaN for none."""
    plain = text.strip().replace("−", "-")
    if "," in plain and not re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", plain):
        return math.nan  # A decimal comma, maybe: 1,5 is not 15.
    plain = plain.replace(",", "")
    plain = re.sub(r"[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: "^" + m[0].translate(SCRIPT), plain)
    power = re.fullmatch(r"([+-]?)(?:([\d.]+)\s*[×x*]\s*)?10\^(-?\d+)", plain)
    if power:
        plain = f"{power[1]}{power[2] or 1}e{power[3]}"
    unit = UNITS.get(plain[-1:], 1.0)
    try:
        return float(plain[:-1] if unit > 1 else plain) * unit
    except ValueError:
        return math.nan


def pretty(text: str) -> str:
    """Powers of ten in a sentence as people write them: 1.6e+12 as 1.6×10¹²; options stay so."""
    return re.sub(r"(?<![=\d.])\d+(?:\.\d+)?e[+-]?\d+", lambda m: scientific(float(m[0]), 3), text)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits: 42 s, 3 min 20 s, 5 h 10 min, 12 days."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole / 86400:,.0f} days"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Columns as wide as they need to be; the first `left` to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

"""Where the parameters of a person's own law stand, and so in what ranges they are looked for."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import replace

from toolkit.laws.forms.base import Parameter, Shift
from toolkit.laws.forms.expression import (
    called,
    constant,
    factors_of,
    is_constant,
    is_log,
    names_in,
    terms_of,
)


class Places:
    """Where every parameter stands, and so in what range it is looked for.

    In the order in which a parameter with several places is taken:

    | place | for example | range |
    |---|---|---|
    | falling | an exponent with a minus or below the line: `params**-alpha` | 0 to 5 |
    | exponent | another: `C**a`, or a factor of a log within exp() | -5 to 5 |
    | offset | a term within exp(): `exp(b + beta*log(D))` | -40 to 40 at the middle |
    | slope | a factor of log() elsewhere | ten losses either way |
    | scale | added to a column: `params + N0` | positive, by its log, about the column |
    | term | a factor of a term: `A*params**-alpha` | positive, by its log, at the middle |
    | factor | a factor or a base elsewhere: `Nc/params` | likewise |
    | asymptote | a term of its own: `E + ...` | 0 to ten losses |
    | free | anything else | a thousand losses either way |

    The middle is that of the inputs: `A*params**-alpha` is looked for where params have theirs.
    """

    ORDER = (
        "falling", "exponent", "offset", "slope", "scale", "term", "factor", "asymptote", "free",
    )  # fmt: skip

    def __init__(
        self, tree: ast.expr, inputs: Sequence[str], names: Sequence[str], level: float
    ) -> None:
        """Args: the expression, its columns and parameters, and the size of the losses."""
        self.inputs, self.names, self.level = list(inputs), names, level
        self.found: dict[str, dict[str, tuple[Shift, ...]]] = {name: {} for name in names}
        self._sum(tree, "top")

    def parameter(self, name: str) -> Parameter:
        """A parameter in the first of `ORDER` of its places."""
        place = next(place for place in self.ORDER if place in self.found[name])
        level, log_level = max(self.level, 1.0), math.log(self.level)
        wide = (log_level - 25.0, log_level + 25.0)
        log, low, high, start = {
            "falling": (False, 0.0, 5.0, (0.05, 1.0)),
            "exponent": (False, -5.0, 5.0, (-1.0, 1.0)),
            "offset": (False, -40.0, 40.0, (-3.0, 3.0)),
            "slope": (False, -10 * level, 10 * level, (-level, level)),
            "scale": (True, -25.0, 25.0, (-6.0, 3.0)),
            "term": (True, *wide, (log_level - 4.0, log_level)),
            "factor": (True, *wide, (-4.0, 1.0)),
            "asymptote": (False, 0.0, 10 * self.level, (0.02, 0.98)),
            "free": (False, -1e3 * level, 1e3 * level, (-3 * level, 3 * level)),
        }[place]
        shifts = self.found[name][place]
        return Parameter(name, log, low, high, start, shifts, unit=place == "asymptote")

    def _stands(self, name: str, place: str, shifts: Sequence[Shift] = ()) -> None:
        self.found[name].setdefault(place, tuple(shifts))

    def _sum(
        self, node: ast.expr, where: str, outer: Sequence[Shift] = (), side: float = 1.0
    ) -> None:
        """A sum: at the top, inside a product with the powers `outer`, in exp(), as a power's
        base or in its exponent."""
        terms = list(terms_of(node))
        bare = [term.id for _, term in terms if isinstance(term, ast.Name)]
        column = next((name for name in bare if name in self.inputs), "")
        logs = [shift for _, term in terms for shift in self._log_shifts(term)]
        # Beside the log of an input a term may be anything: it is the value where the log is 0.
        logarithmic = any(
            is_log(f) and not any(n.id in self.names for n in names_in(f))
            for _, term in terms
            for _, f in factors_of(term)
        )
        for sign, term in ((sign * side, term) for sign, term in terms):
            if not (isinstance(term, ast.Name) and term.id in self.names):
                self._product(term, where, sign, outer)
            elif where == "power":
                self._stands(term.id, "falling" if sign < 0 else "exponent")
            elif outer or (where == "base" and len(terms) == 1):
                self._stands(term.id, "factor", [replace(s, factor=-s.factor) for s in outer])
            elif column:
                self._stands(term.id, "scale", [Shift(self.inputs.index(column), 1.0)])
            else:
                place = "free" if logarithmic or where != "top" else "asymptote"
                shifts = [replace(s, factor=-sign * s.factor) for s in logs]
                self._stands(term.id, "offset" if where == "exp" else place, shifts)

    def _product(self, node: ast.expr, where: str, sign: float, outer: Sequence[Shift]) -> None:
        factors = list(factors_of(node))
        bare = [(p, f.id) for p, f in factors if isinstance(f, ast.Name) and f.id in self.names]
        powers = [*outer, *(shift for p, factor in factors for shift in self._powers(p, factor))]
        log = any(is_log(factor) for _, factor in factors)
        sign *= math.prod(math.copysign(1, constant(f)) for _, f in factors if is_constant(f))
        for i, (p, name) in enumerate(bare):
            if where == "power" or (where == "exp" and log):
                self._stands(name, "falling" if sign * p < 0 else "exponent")
            elif log:
                self._stands(name, "slope")
            else:
                shifts = [] if i else [replace(s, factor=-s.factor / p) for s in powers]
                self._stands(name, "term" if where == "top" else "factor", shifts)
        for p, factor in factors:
            if isinstance(factor, ast.Call):
                self._sum(factor.args[0], "exp" if called(factor) == "exp" else "inside")
            elif isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Pow):
                self._sum(factor.left, "base")
                # Below the line a power falls without a minus.
                self._sum(factor.right, "power", side=p)
            elif isinstance(factor, ast.BinOp):  # A sum in brackets.
                self._sum(factor, "inside", powers if p > 0 else ())

    def _powers(self, power: float, factor: ast.expr) -> list[Shift]:
        """The powers of columns that a factor is: of one, or of numbers and columns multiplied."""
        base, exponents = factor, [(1.0, "")]
        if isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Pow):
            base = factor.left
            exponents = [
                (sign * number, times)
                for sign, term in terms_of(factor.right)
                for number, times in self._linear(term)
            ]
            if len(exponents) < len(list(terms_of(factor.right))):
                return []
        columns, by = self._monomial(base)
        return [
            Shift(axis, power * number * times_axis, times, 0.0 if i else by / times_axis)
            for number, times in exponents
            for i, (axis, times_axis) in enumerate(columns)
        ]

    def _monomial(self, node: ast.expr) -> tuple[list[tuple[int, float]], float]:
        """Columns and their powers in a product of columns and numbers, and the numbers' log."""
        columns, by = [], 0.0
        for p, factor in factors_of(node):
            if isinstance(factor, ast.Name) and factor.id in self.inputs:
                columns.append((self.inputs.index(factor.id), p))
            elif is_constant(factor) and constant(factor) > 0:
                by += p * math.log(constant(factor))
            elif isinstance(factor, ast.Call) and called(factor) == "sqrt":
                inner, inner_by = self._monomial(factor.args[0])
                if not inner:
                    return [], 0.0
                columns += [(axis, p * q / 2) for axis, q in inner]
                by += p * inner_by / 2
            else:
                return [], 0.0
        return columns, by

    def _log_shifts(self, term: ast.expr) -> list[Shift]:
        """Of a term `number * parameter * log(column)`, how it moves with the column's centre."""
        factors = [factor for _, factor in factors_of(term)]
        logs = [f.args[0] for f in factors if isinstance(f, ast.Call) and is_log(f)]
        inputs = [i.id for i in logs if isinstance(i, ast.Name) and i.id in self.inputs]
        rest = [f for f in factors if not is_log(f) and not is_constant(f)]
        times = [f.id for f in rest if isinstance(f, ast.Name) and f.id in self.names]
        if len(inputs) != 1 or len(logs) > 1 or len(times) > 1 or len(rest) > len(times):
            return []
        number = math.prod(constant(f) ** p for p, f in factors_of(term) if is_constant(f))
        return [Shift(self.inputs.index(inputs[0]), number, "".join(times))]

    def _linear(self, term: ast.expr) -> list[tuple[float, str]]:
        """A term as a number times a parameter or nothing; empty where it is anything else."""
        name, number = "", 1.0
        for p, factor in factors_of(term):
            if is_constant(factor):
                number *= constant(factor) ** p
            elif isinstance(factor, ast.Name) and factor.id in self.names and p > 0 and not name:
                name = factor.id
            else:
                return []
        return [(number, name)]

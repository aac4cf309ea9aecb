"""A person's own law: an expression in a table's columns, read, differentiated and fitted.

    E + A*params**-alpha + B*tokens**-beta

Names that are columns are inputs; every other name is a parameter. Only arithmetic, log, exp and
sqrt are read: nothing is ever executed. The ranges that parameters are searched in follow from
where they stand (`_Places`), derivatives from the chain rule, node by node.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import NoReturn

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.forms.base import Evaluation, Form, Parameter, Shift
from toolkit.laws.optimiser import Array

LONGEST, DEEPEST = 2000, 100  # Characters, and nodes within nodes.
TRIED = 64  # Random starts by which a form's own domain is judged.
FUNCTIONS = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)
MOST = 1e100  # A number beyond is a slip.
ALLOWED = "a form is made of columns, parameters, numbers, + - * / **, log(), exp() and sqrt()"
Dual = tuple[Array, dict[str, Array]]  # A value, and its derivatives by the parameters in it.


@dataclass(frozen=True)
class Expression:
    """A law as it was written.

    Attributes:
        text, tree: As given, and parsed.
        inputs: The columns that it names, `params` and `tokens` first.
        parameters: All other names, in the order of the text.
    """

    text: str
    tree: ast.expr = field(repr=False, compare=False)
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]

    @classmethod
    def read(cls, text: str, columns: Sequence[str], loss: str = "loss") -> Expression:
        """Parse an expression in some of a table's columns.

        Raises:
            ToolkitError: It is no expression, holds anything but arithmetic, log, exp and sqrt,
                names the loss, no column, no parameter, or nearly a column.
        """
        tree = _parsed(text)
        names = list(dict.fromkeys(n.id for n in _names(tree)))
        columns = [name for name in columns if name != loss]
        for name in names:
            close = [] if name in columns else get_close_matches(name, columns, n=1, cutoff=0.8)
            if close and len(name) > 2:
                _refuse(
                    text, f"{name!r} is no column; did you mean {close[0]}? A parameter needs a "
                    "name less like a column's",
                )  # fmt: skip
            if name in FUNCTIONS:
                _refuse(text, f"{name} is a function: write {name}(...)")
        if loss in names:
            _refuse(text, f"it names {loss!r}, which it is to predict")
        inputs = sorted(
            (n for n in names if n in columns), key=lambda n: (n != "params", n != "tokens")
        )
        if not inputs:
            _refuse(text, f"it names no column of the table; there are {', '.join(columns)}")
        parameters = [n for n in names if n not in inputs]
        if not parameters:
            _refuse(text, "it has no parameter to fit: every name in it is a column")
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                powers = {n.id for n in _names(node.right)}
                base = node.left.id if isinstance(node.left, ast.Name) else ""
                if base in parameters and powers and powers <= set(parameters):
                    _refuse(
                        text, f"{base!r} is raised to {ast.unparse(node.right)} as an input is, "
                        f"but is no column of the table; there are {', '.join(columns)}",
                    )  # fmt: skip
        return cls(text, tree, tuple(inputs), tuple(parameters))

    def form(self, inputs: Array, loss: Array) -> Form:
        """The form, its ranges chosen for losses (n,) at inputs (V, n).

        Raises:
            ToolkitError: It has no finite positive value there, whatever its parameters.
        """
        level = float(np.exp(np.mean(np.log(loss))))
        places = _Places(self, level)
        bare = Form(
            name="custom",
            equation=f"loss = {self.text}",
            citation="given by its user",
            roles=self.inputs,
            parameters=tuple(places.parameter(name) for name in self.parameters),
            evaluate=lambda phi, z, centre: (z, []),
            absolute=True,
        )

        def evaluate(phi: Array, z: Array, centre: Array) -> Evaluation:
            return _evaluate(self, bare, phi, z, centre)

        law = replace(bare, evaluate=evaluate)
        self._try(law, inputs, float(loss.min()))
        return law

    def _try(self, law: Form, inputs: Array, least: float) -> None:
        """Refuse a form that has no finite positive value on a table, and say what is to blame."""
        rng, centre = np.random.default_rng(0), np.log(inputs).mean(axis=1)
        phi = np.stack([rng.uniform(*p.start, TRIED) for p in law.parameters], axis=1)
        phi[:, [p.asymptote for p in law.parameters]] *= least
        columns = dict(zip(self.inputs, inputs, strict=True))
        theta = dict(zip(self.parameters, law.natural(phi, centre).T[:, :, None], strict=True))
        values = {**columns, **theta}
        with np.errstate(all="ignore"):
            value = _dual(self.tree, values, ())[0]
            if (np.isfinite(value) & (value > 0)).all(axis=-1).any():
                return
            for node in reversed(list(ast.walk(self.tree))):
                if isinstance(node, ast.expr) and _never_finite(node, values):
                    _refuse(self.text, _blame(node, values))
        _refuse(self.text, "on this table its value is not positive, whatever its parameters")


def _refuse(text: str, why: str) -> NoReturn:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    raise ToolkitError(f"form {shown!r}: {why}")


def _parsed(text: str) -> ast.expr:
    """The tree of an expression that holds nothing but what is allowed."""
    if len(text) > LONGEST:
        _refuse(text, f"it is longer than {LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        _refuse(text, f"it cannot be read as an expression ({error.msg}); {ALLOWED}")
    except (ValueError, MemoryError, RecursionError):
        _refuse(text, "it cannot be read as an expression: it is too deep, or a number is too long")
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        _refuse(text, f"it is nested more than {DEEPEST} deep")
    for node in ast.walk(tree):
        _permit(text, node)
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and not isinstance(node, ast.Constant) and _constant(node):
            with np.errstate(all="ignore"):
                if not np.isfinite(_dual(node, {}, ())[0]):
                    _refuse(text, f"{ast.unparse(node)!r} is not a finite number")
    return tree


def _permit(text: str, node: ast.AST) -> None:
    """Refuse a node that a form is not made of."""
    plain = (ast.Name, *OPERATORS, ast.expr_context)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        _refuse(text, "a power is written **, not ^")
    if isinstance(node, ast.Constant):
        number = isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
        known = number and abs(node.value) <= MOST  # type: ignore[arg-type]
    elif isinstance(node, (ast.BinOp, ast.UnaryOp)):
        known = isinstance(node.op, OPERATORS)
    elif isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        known = named and len(node.args) == 1 and not node.keywords
    else:
        known = isinstance(node, plain)
    if not known:
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        _refuse(text, f"{shown[:40]!r} is not allowed; {ALLOWED}")


def _number(node: ast.Constant) -> float:
    return float(node.value)  # type: ignore[arg-type]


def _names(tree: ast.AST) -> Iterator[ast.Name]:
    """Names of columns and parameters, in the order of the text."""
    if isinstance(tree, ast.Name):
        yield tree
    elif isinstance(tree, ast.Call):
        yield from _names(tree.args[0])
    else:
        for child in ast.iter_child_nodes(tree):
            yield from _names(child)


def _constant(node: ast.AST) -> bool:
    return next(_names(node), None) is None


def _dual(node: ast.expr, values: Mapping[str, Array], by: Sequence[str]) -> Dual:
    """The value of a node and its derivatives by the parameters `by`, forwards through the tree."""
    if isinstance(node, ast.Constant):
        return np.asarray(_number(node)), {}
    if isinstance(node, ast.Name):
        value = values[node.id]
        return value, {node.id: np.ones_like(value)} if node.id in by else {}
    if isinstance(node, ast.UnaryOp):
        value, slopes = _dual(node.operand, values, by)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return sign * value, {name: sign * slope for name, slope in slopes.items()}
    if isinstance(node, ast.Call):
        inner, slopes = _dual(node.args[0], values, by)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        value = FUNCTIONS[name](inner)
        outer = {"log": lambda: 1 / inner, "exp": lambda: value, "sqrt": lambda: 0.5 / value}[name]
        return value, {name: outer() * slope for name, slope in slopes.items()}
    assert isinstance(node, ast.BinOp)
    left, by_left = _dual(node.left, values, by)
    right, by_right = _dual(node.right, values, by)
    value, outer_left, outer_right = _operate(node.op, left, right, bool(by_right))
    slopes = {name: outer_left * slope for name, slope in by_left.items()}
    for name, slope in by_right.items():
        slopes[name] = slopes.get(name, 0.0) + outer_right * slope
    return value, slopes


def _operate(
    op: ast.operator, left: Array, right: Array, both: bool
) -> tuple[Array, Array | float, Array | float]:
    """left op right and its derivatives by left and, where asked for, by right."""
    if isinstance(op, ast.Add):
        return left + right, 1.0, 1.0
    if isinstance(op, ast.Sub):
        return left - right, 1.0, -1.0
    if isinstance(op, ast.Mult):
        return left * right, right, left
    if isinstance(op, ast.Div):
        return left / right, 1 / right, -left / right**2
    value = left**right
    return value, right * left ** (right - 1), value * np.log(left) if both else 0.0


def _evaluate(expression: Expression, law: Form, phi: Array, z: Array, centre: Array) -> Evaluation:
    """ln L and its derivatives by the coordinates of the law's parameters."""
    with np.errstate(all="ignore"):
        theta = law.natural(phi, centre)
        columns = {n: np.exp(z[v] + centre[v]) for v, n in enumerate(expression.inputs)}
        values = {**columns, **dict(zip(law.names, theta.T[:, :, None], strict=True))}
        value, slopes = _dual(expression.tree, values, law.names)
        value = np.broadcast_to(value, (len(phi), z.shape[-1]))
        # By each parameter, or by its log where that is the coordinate.
        own = [
            slopes.get(p.name, 0.0) / value * (theta[:, k, None] if p.log else 1.0)
            for k, p in enumerate(law.parameters)
        ]
        # An exponent's coordinate also moves the amplitudes that are centred with it.
        moved = list(own)
        for p, slope in zip(law.parameters, own, strict=True):
            for s in p.shifts:
                if s.times:
                    k = law.names.index(s.times)
                    moved[k] = moved[k] + s.factor * centre[s.axis] * slope
        return np.log(value), moved


def _never_finite(node: ast.expr, values: Mapping[str, Array]) -> bool:
    """Whether no start gives a node a number at every row."""
    if isinstance(node, ast.Name) and node.id not in values:
        return False  # The name of a function.
    return not np.isfinite(np.atleast_1d(_dual(node, values, ())[0])).all(axis=-1).any()


def _blame(node: ast.expr, values: Mapping[str, Array]) -> str:
    """Why a node whose parts are numbers is none."""
    if isinstance(node, ast.BinOp):
        zero = (np.asarray(_dual(node.right, values, ())[0]) == 0).any()
        if isinstance(node.op, ast.Div) and zero:
            return f"it divides by zero: {ast.unparse(node.right)!r}"
    if isinstance(node, ast.Call) and ast.unparse(node.func) != "exp":
        inner = ast.unparse(node.args[0])
        return f"{ast.unparse(node.func)}() of what is not positive on this table: {inner!r}"
    return f"{ast.unparse(node)!r} is no finite number on this table"


class _Places:
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

    def __init__(self, expression: Expression, level: float) -> None:
        self.inputs, self.names, self.level = expression.inputs, expression.parameters, level
        self.found: dict[str, dict[str, tuple[Shift, ...]]] = {name: {} for name in self.names}
        self._sum(expression.tree, "top")

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
            "scale": (True, -25.0, 25.0, (-3.0, 3.0)),
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
        terms = list(_terms(node))
        bare = [term.id for _, term in terms if isinstance(term, ast.Name)]
        column = next((name for name in bare if name in self.inputs), "")
        logs = [shift for _, term in terms for shift in self._log_shifts(term)]
        logarithmic = any(_is_log(f) for _, term in terms for _, f in _factors(term))
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
        factors = list(_factors(node))
        bare = [(p, f.id) for p, f in factors if isinstance(f, ast.Name) and f.id in self.names]
        powers = [*outer, *(shift for p, factor in factors for shift in self._powers(p, factor))]
        log = any(_is_log(factor) for _, factor in factors)
        sign *= math.prod(_sign(factor) for _, factor in factors)
        for i, (p, name) in enumerate(bare):
            if where == "power" or (where == "exp" and log):
                self._stands(name, "falling" if sign < 0 or p < 0 else "exponent")
            elif log:
                self._stands(name, "slope")
            else:
                shifts = [] if i else [replace(s, factor=-s.factor / p) for s in powers]
                self._stands(name, "term" if where == "top" else "factor", shifts)
        for p, factor in factors:
            if isinstance(factor, ast.Call):
                inside = "exp" if ast.unparse(factor.func) == "exp" else "inside"
                self._sum(factor.args[0], inside)
            elif isinstance(factor, ast.BinOp):
                # What the flattening left: a power, or a sum in brackets.
                if isinstance(factor.op, ast.Pow):
                    self._sum(factor.left, "base")
                    # Below the line a power falls without a minus.
                    self._sum(factor.right, "power", side=p)
                else:
                    self._sum(factor, "inside", powers if p > 0 else ())

    def _powers(self, power: float, factor: ast.expr) -> list[Shift]:
        """The powers of columns that a factor is."""
        if isinstance(factor, ast.Call) and ast.unparse(factor.func) == "sqrt":
            return self._powers(power / 2, factor.args[0])
        if isinstance(factor, ast.Name) and factor.id in self.inputs:
            return [Shift(self.inputs.index(factor.id), power)]
        if not (isinstance(factor, ast.BinOp) and isinstance(factor.op, ast.Pow)):
            return []
        if not (isinstance(factor.left, ast.Name) and factor.left.id in self.inputs):
            return []
        axis, shifts = self.inputs.index(factor.left.id), []
        for sign, term in _terms(factor.right):
            times, number = self._linear(term)
            if number is None:
                return []
            shifts.append(Shift(axis, power * sign * number, times))
        return shifts

    def _log_shifts(self, term: ast.expr) -> list[Shift]:
        """Of a term `number * parameter * log(column)`, how it moves with the column's centre."""
        factors = [factor for _, factor in _factors(term)]
        logs = [f.args[0] for f in factors if isinstance(f, ast.Call) and _is_log(f)]
        inputs = [i.id for i in logs if isinstance(i, ast.Name) and i.id in self.inputs]
        rest = [f for f in factors if not _is_log(f)]
        times = [f.id for f in rest if isinstance(f, ast.Name) and f.id in self.names]
        plain = all(isinstance(f, (ast.Name, ast.Constant)) for f in rest)
        if len(inputs) != 1 or len(logs) > 1 or len(times) > 1 or not plain:
            return []
        number = math.prod(_number(f) for f in rest if isinstance(f, ast.Constant))
        return [Shift(self.inputs.index(inputs[0]), number, "".join(times))]

    def _linear(self, term: ast.expr) -> tuple[str, float | None]:
        """A term as number times parameter; no number where it is anything else."""
        name, number = "", 1.0
        for p, factor in _factors(term):
            if _constant(factor):
                number *= float(_dual(factor, {}, ())[0]) ** p
            elif isinstance(factor, ast.Name) and factor.id in self.names and p > 0 and not name:
                name = factor.id
            else:
                return "", None
        return name, number


def _sign(node: ast.expr) -> float:
    """-1 for a negative number, else 1."""
    return -1.0 if _constant(node) and float(_dual(node, {}, ())[0]) < 0 else 1.0


def _is_log(node: ast.expr) -> bool:
    """Whether a factor is the log of something, or a power of one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _is_log(node.left)
    log = isinstance(node, ast.Call) and ast.unparse(node.func) == "log"
    return log and not _constant(node)


def _terms(node: ast.expr, sign: float = 1.0) -> Iterator[tuple[float, ast.expr]]:
    """The terms of a sum, each with its sign."""
    if isinstance(node, ast.UnaryOp):
        yield from _terms(node.operand, -sign if isinstance(node.op, ast.USub) else sign)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from _terms(node.left, sign)
        yield from _terms(node.right, -sign if isinstance(node.op, ast.Sub) else sign)
    else:
        yield sign, node


def _factors(node: ast.expr, power: float = 1.0) -> Iterator[tuple[float, ast.expr]]:
    """The factors of a product, each with its power, 1 or -1; a minus is a factor of -1."""
    if isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub):
            yield 1.0, ast.Constant(-1.0)
        yield from _factors(node.operand, power)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        yield from _factors(node.left, power)
        yield from _factors(node.right, -power if isinstance(node.op, ast.Div) else power)
    else:
        yield power, node

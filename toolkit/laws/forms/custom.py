"""A person's own law: an expression in a table's columns, fitted as any other.

    E + A*params**-alpha + B*tokens**-beta

Names that are columns are inputs; every other name is a parameter.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import numpy as np

from toolkit.laws.forms.base import Evaluation, Form
from toolkit.laws.forms.expression import FUNCTIONS, called, dual, names_in, parse, refuse
from toolkit.laws.forms.places import Places
from toolkit.laws.optimiser import Array

TRIED = 64  # Random starts by which a form's own domain is judged.


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
        tree = parse(text)
        names = list(dict.fromkeys(n.id for n in names_in(tree)))
        columns = [name for name in columns if name != loss]
        for name in names:
            close = [] if name in columns else get_close_matches(name, columns, n=1, cutoff=0.8)
            if close and len(name) > 2:
                refuse(
                    text, f"{name!r} is no column; did you mean {close[0]}? A parameter needs a "
                    "name less like a column's",
                )  # fmt: skip
            if name in FUNCTIONS:
                refuse(text, f"{name} is a function: write {name}(...)")
        if loss in names:
            refuse(text, f"it names {loss!r}, which it is to predict")
        inputs = sorted(
            (n for n in names if n in columns), key=lambda n: (n != "params", n != "tokens")
        )
        if not inputs:
            refuse(text, f"it names no column of the table; there are {', '.join(columns)}")
        parameters = [n for n in names if n not in inputs]
        if not parameters:
            refuse(text, "it has no parameter to fit: every name in it is a column")
        for node in ast.walk(tree):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                powers = {n.id for n in names_in(node.right)}
                base = node.left.id if isinstance(node.left, ast.Name) else ""
                if base in parameters and powers and powers <= set(parameters):
                    refuse(
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
        places = Places(self.tree, self.inputs, self.parameters, level)
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
            value = dual(self.tree, values, ())[0]
            if (np.isfinite(value) & (value > 0)).all(axis=-1).any():
                return
            for node in reversed(list(ast.walk(self.tree))):
                if isinstance(node, ast.expr) and _never_finite(node, values):
                    refuse(self.text, _blame(node, values))
        refuse(self.text, "on this table its value is not positive, whatever its parameters")


def _evaluate(expression: Expression, law: Form, phi: Array, z: Array, centre: Array) -> Evaluation:
    """ln L and its derivatives by the coordinates of the law's parameters."""
    with np.errstate(all="ignore"):
        theta = law.natural(phi, centre)
        columns = {n: np.exp(z[v] + centre[v]) for v, n in enumerate(expression.inputs)}
        values = {**columns, **dict(zip(law.names, theta.T[:, :, None], strict=True))}
        value, slopes = dual(expression.tree, values, law.names)
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
                    moved[k] = moved[k] + s.factor * (centre[s.axis] + s.by) * slope
        return np.log(value), moved


def _never_finite(node: ast.expr, values: Mapping[str, Array]) -> bool:
    """Whether no start gives a node a number at every row."""
    if isinstance(node, ast.Name) and node.id not in values:
        return False  # The name of a function.
    return not np.isfinite(np.atleast_1d(dual(node, values, ())[0])).all(axis=-1).any()


def _blame(node: ast.expr, values: Mapping[str, Array]) -> str:
    """Why a node whose parts are numbers is none."""
    if isinstance(node, ast.BinOp):
        zero = (np.asarray(dual(node.right, values, ())[0]) == 0).any()
        if isinstance(node.op, ast.Div) and zero:
            return f"it divides by zero: {ast.unparse(node.right)!r}"
    if isinstance(node, ast.Call) and called(node) != "exp":
        inner = ast.unparse(node.args[0])
        return f"{called(node)}() of what is not positive on this table: {inner!r}"
    return f"{ast.unparse(node)!r} is no finite number on this table"

"""Expressions as trees: read, told apart, differentiated. Nothing is ever executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.laws.optimiser import Array

LONGEST, DEEPEST = 2000, 100  # Characters, and nodes within nodes.
MOST = 1e100  # A number beyond is a slip.
FUNCTIONS = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)
ALLOWED = "a form is made of columns, parameters, numbers, + - * / **, log(), exp() and sqrt()"
Dual = tuple[Array, dict[str, Array]]  # A value, and its derivatives by the parameters in it.


def refuse(text: str, why: str) -> NoReturn:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    raise ToolkitError(f"form {shown!r}: {why}")


def parse(text: str) -> ast.expr:
    """The tree of an expression that holds nothing but what is allowed."""
    if len(text) > LONGEST:
        refuse(text, f"it is longer than {LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        refuse(text, f"it cannot be read as an expression ({error.msg}); {ALLOWED}")
    except (ValueError, MemoryError, RecursionError):
        refuse(text, "it cannot be read as an expression: it is too deep, or a number is too long")
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        refuse(text, f"it is nested more than {DEEPEST} deep")
    for node in ast.walk(tree):
        _permit(text, node)
    with np.errstate(all="ignore"):
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and is_constant(node) and not np.isfinite(constant(node)):
                refuse(text, f"{ast.unparse(node)!r} is not a finite number")
            below = node.right if isinstance(node, ast.BinOp) else None
            division = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            if division and below and is_constant(below) and constant(below) == 0:
                refuse(text, f"it divides by zero: {ast.unparse(below)!r}")
    return tree


def _permit(text: str, node: ast.AST) -> None:
    """Refuse a node that a form is not made of."""
    plain = (ast.Name, *OPERATORS, ast.expr_context)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitXor):
        refuse(text, "a power is written **, not ^")
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
        refuse(text, f"{shown[:40]!r} is not allowed; {ALLOWED}")


def constant(node: ast.expr) -> float:
    """The value of a node without names."""
    return float(dual(node, {}, ())[0])


def called(node: ast.AST) -> str:
    """The function that a node calls; empty if it calls none."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def names_in(tree: ast.AST) -> Iterator[ast.Name]:
    """Names of columns and parameters, in the order of the text."""
    if isinstance(tree, ast.Name):
        yield tree
    elif isinstance(tree, ast.Call):
        yield from names_in(tree.args[0])
    else:
        for child in ast.iter_child_nodes(tree):
            yield from names_in(child)


def is_constant(node: ast.AST) -> bool:
    """Whether no name stands in it."""
    return next(names_in(node), None) is None


def dual(node: ast.expr, values: Mapping[str, Array], by: Sequence[str]) -> Dual:
    """The value of a node and its derivatives by the parameters `by`, forwards through the tree."""
    if isinstance(node, ast.Constant):
        return np.asarray(node.value, float), {}
    if isinstance(node, ast.Name):
        value = values[node.id]
        return value, {node.id: np.ones_like(value)} if node.id in by else {}
    if isinstance(node, ast.UnaryOp):
        value, slopes = dual(node.operand, values, by)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return sign * value, {name: sign * slope for name, slope in slopes.items()}
    if isinstance(node, ast.Call):
        inner, slopes = dual(node.args[0], values, by)
        name = called(node)
        value = FUNCTIONS[name](inner)
        outer = {"log": lambda: 1 / inner, "exp": lambda: value, "sqrt": lambda: 0.5 / value}[name]
        return value, {name: outer() * slope for name, slope in slopes.items()}
    assert isinstance(node, ast.BinOp)
    left, by_left = dual(node.left, values, by)
    right, by_right = dual(node.right, values, by)
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


def is_log(node: ast.expr) -> bool:
    """Whether a factor is the log of something, or a power of one."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return is_log(node.left)
    return called(node) == "log" and not is_constant(node)


def terms_of(node: ast.expr, sign: float = 1.0) -> Iterator[tuple[float, ast.expr]]:
    """The terms of a sum, each with its sign."""
    if isinstance(node, ast.UnaryOp):
        yield from terms_of(node.operand, -sign if isinstance(node.op, ast.USub) else sign)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from terms_of(node.left, sign)
        yield from terms_of(node.right, -sign if isinstance(node.op, ast.Sub) else sign)
    else:
        yield sign, node


def factors_of(node: ast.expr, power: float = 1.0) -> Iterator[tuple[float, ast.expr]]:
    """The factors of a product, each with its power, 1 or -1; a minus is a factor of -1."""
    if isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.USub):
            yield 1.0, ast.Constant(-1.0)
        yield from factors_of(node.operand, power)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        yield from factors_of(node.left, power)
        yield from factors_of(node.right, -power if isinstance(node.op, ast.Div) else power)
    else:
        yield power, node

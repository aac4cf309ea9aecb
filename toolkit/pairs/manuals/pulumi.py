"""The resources of a cloud as Terraform's providers document them, from Pulumi's generated
classes: resource → description, property → description."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import partial

from toolkit.pairs.manuals.part import Part, in_words
from toolkit.wheels import Wheel


def _classes(names: list[str]) -> list[str]:
    """All but the inputs, whose texts are those of the outputs."""
    code = (name for name in names if name.endswith(".py"))
    return sorted(name for name in code if not name.endswith("_inputs.py"))


def _mine(cloud: str, member: str, content: bytes) -> Iterator[tuple[str, str]]:
    service = in_words(member.split("/")[1].removesuffix(".py"))
    for node in ast.parse(content).body:
        if isinstance(node, ast.ClassDef):
            named = f"{cloud} {service}, {in_words(node.name.removeprefix('_'))}"
            yield from _members(named, node)


def _members(where: str, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for member in node.body:
        if not isinstance(member, ast.FunctionDef):
            continue
        text = ast.get_docstring(member, clean=False) or ""
        if member.decorator_list and member.name != "__init__":
            yield f"{where}: {in_words(member.name)}", " ".join(text.split())
        elif member.name == "__init__":
            about = inspect.cleandoc(text).partition("\n:param")[0].partition("\n## ")[0]
            yield where, " ".join(about.split())


def part(name: str, cloud: str, version: str, sha256: str, megabytes: int) -> Part:
    """The part that one provider's wheel gives."""
    return Part(
        name=name,
        wheel=Wheel(name, version, sha256, megabytes),
        licence="Apache-2.0 (the package), MPL-2.0 (its provider's texts)",
        about="a cloud's resource or property → its description",
        members=_classes,
        mine=partial(_mine, cloud),
    )


AWS = part(
    "pulumi-aws",
    "AWS",
    "7.51.1",
    "bffc7fb6ce352e9019302498571799a771f7a84234b19ff8b1710a6250b31024",
    13,
)
AZURE = part(
    "pulumi-azure",
    "Azure",
    "6.40.1",
    "3ae3f8d78b3b31bd92d2e5e194ce100d6c99e2c6110b2edfd2cc16b890be04d7",
    8,
)

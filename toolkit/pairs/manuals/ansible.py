"""Ansible's modules: module, option, result → text; a task's name → its YAML."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from toolkit.pairs.manuals.part import Part, in_words
from toolkit.wheels import Wheel

_BLOCKS = ("DOCUMENTATION", "EXAMPLES", "RETURN")
_MARKUP = re.compile(r"\b[A-Z]{1,3}\(([^()]*)\)")  # C(code), I(option), V(value), …


def _plugins(names: list[str]) -> list[str]:
    return sorted(name for name in names if "/plugins/" in name and name.endswith(".py"))


def _mine(member: str, content: bytes) -> Iterator[tuple[str, str]]:
    blocks = _blocks(content)
    if "DOCUMENTATION" not in blocks:
        return
    document = _yaml_or_none(blocks["DOCUMENTATION"])
    if not isinstance(document, dict):
        return
    _, owner, collection = member.split("/")[:3]
    name = document.get("module") or document.get("name") or document.get("short_description")
    where = f"{owner} {collection}, {in_words(str(name).rsplit('.', 1)[-1])}"
    summary = str(document.get("short_description") or name)
    yield f"{owner} {collection}: {summary}", _text(document.get("description"))
    yield from _options(where, document.get("options"), "options", "suboptions")
    if "RETURN" in blocks:
        returned = _yaml_or_none(blocks["RETURN"])
        yield from _options(f"{where} returns", returned, "returned", "contains")
    yield from _examples(blocks.get("EXAMPLES", ""))


def _blocks(content: bytes) -> dict[str, str]:
    """The string constants that document a plugin; the code is not run."""
    found = {}
    for node in ast.parse(content).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id in _BLOCKS:
                    found[target.id] = str(node.value.value)
    return found


def _yaml_or_none(text: str) -> Any:
    import yaml

    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return None


def _options(where: str, options: Any, kind: str, nested: str) -> Iterator[tuple[str, str]]:
    if not isinstance(options, dict):
        return
    for name, option in options.items():
        if not isinstance(option, dict):
            continue
        named = f"{where}: {in_words(str(name))}"
        text = _text(option.get("description"))
        choices = option.get("choices")
        if choices:
            text += f" One of {', '.join(map(str, choices))}."
        yield named, text
        yield from _options(named, option.get(nested), kind, nested)


def _examples(text: str) -> Iterator[tuple[str, str]]:
    """Each named task of a list, as it is written."""
    tasks = re.split(r"(?m)^(?=- )", text)
    for task in tasks:
        first, _, rest = task.partition("\n")
        name = first.removeprefix("- ").strip()
        if name.startswith("name:") and rest.strip():
            yield name.removeprefix("name:").strip(" \"'"), re.sub(r"\n#.*", "", rest)


def _text(lines: Any) -> str:
    texts = lines if isinstance(lines, list) else [lines or ""]
    return _MARKUP.sub(r"\1", " ".join(str(text).strip() for text in texts))


PART = Part(
    name="ansible",
    wheel=Wheel(
        "ansible",
        "12.3.0",
        "cd156f82fa87f7a899212b0efa9f7ca3a24d609212de9f78428a572eb01e5414",
        54,
    ),
    licence="GPL-3.0-or-later",
    about="a module's task, option or result → its text; a task's name → its YAML",
    members=_plugins,
    mine=_mine,
)

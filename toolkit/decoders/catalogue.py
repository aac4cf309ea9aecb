"""Decoders by name: the small suite, Pythia, a real small one, folders, hub names, cut ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.decoders.architecture import check_bidirectional, config_shape, read_config
from toolkit.decoders.shapes import Shape, llama_shape, neox_shape
from toolkit.errors import SurroundingsError, ToolkitError, nearest
from toolkit.place import SUITE

SUITE_FOLDER = SUITE


@dataclass(frozen=True)
class Decoder:
    """A decoder by name: its shape, where its weights are, and how it was pre-trained.

    Attributes:
        name: What people call it: `pythia-70m`, `small-38k@2`, or the given folder or hub name.
        shape: See `Shape`.
        source: Hub name or folder that its weights are read from; empty for `smollm2-135m`, whose
            folder is made when it is first needed.
        family: small, pythia, smollm2, or empty for a decoder of the user's own.
        pretraining_lr: Peak learning rate of its pre-training, where that is known.
        blocks: A cut decoder keeps so many of its first blocks; None for a whole one.
        note: What a person should know about its weights.
    """

    name: str
    shape: Shape
    source: str
    family: str = ""
    pretraining_lr: float | None = None
    blocks: int | None = None
    note: str = ""

    @property
    def params(self) -> int:
        """Non-embedding parameters."""
        return self.shape.params


def _pythia(
    name: str, layers: int, hidden: int, heads: int, lr: float, vocabulary: int = 50_304
) -> Decoder:
    shape = neox_shape(vocabulary=vocabulary, hidden=hidden, layers=layers, heads=heads)
    return Decoder(f"pythia-{name}", shape, f"EleutherAI/pythia-{name}", "pythia", lr)


# Biderman et al. 2023, README and configurations of EleutherAI/pythia.
PYTHIA: dict[str, Decoder] = {
    decoder.name: decoder
    for decoder in (
        _pythia("14m", 6, 128, 4, 1e-3),
        _pythia("31m", 6, 256, 8, 1e-3),
        _pythia("70m", 6, 512, 8, 1e-3),
        _pythia("160m", 12, 768, 12, 6e-4),
        _pythia("410m", 24, 1024, 16, 3e-4),
        _pythia("1b", 16, 2048, 8, 3e-4),
        _pythia("1.4b", 24, 2048, 16, 2e-4),
        _pythia("2.8b", 32, 2560, 32, 1.6e-4),
        _pythia("6.9b", 32, 4096, 32, 1.2e-4, 50_432),
        _pythia("12b", 36, 5120, 40, 1.2e-4, 50_688),
    )
}

SMALL_VOCABULARY = 4096


def _small(name: str, layers: int, hidden: int, heads: int, lr: float) -> Decoder:
    shape = neox_shape(vocabulary=SMALL_VOCABULARY, hidden=hidden, layers=layers, heads=heads)
    return Decoder(f"small-{name}", shape, str(SUITE_FOLDER / f"small-{name}"), "small", lr)


# Pythia's shape rules, 1.9 to 2.8 times apart in non-embedding parameters; small-1.2m has the
# very shape of pythia-14m apart from its vocabulary.
SMALL: dict[str, Decoder] = {
    decoder.name: decoder
    for decoder in (
        _small("2k", 2, 8, 1, 1e-2),
        _small("3k", 1, 16, 2, 1e-2),
        _small("7k", 2, 16, 2, 1e-2),
        _small("15k", 2, 24, 3, 1e-2),
        _small("38k", 3, 32, 4, 8e-3),
        _small("85k", 3, 48, 6, 6e-3),
        _small("200k", 4, 64, 8, 4e-3),
        _small("559k", 5, 96, 6, 3e-3),
        _small("1.2m", 6, 128, 4, 2e-3),
        _small("2.7m", 6, 192, 6, 1.5e-3),
    )
}

# Ben Allal et al. 2025, "SmolLM2: When Smol Goes Big"; the 135M configuration.
SMOLLM2 = Decoder(
    "smollm2-135m",
    llama_shape(
        vocabulary=49_152,
        hidden=576,
        layers=30,
        heads=9,
        key_value_heads=3,
        intermediate=1536,
    ),
    source="",
    family="smollm2",
    note=(
        "SmolLM2-135M-Instruct: instruct-tuned, and its weights are de-quantised from 4 bits (Q4_1)"
    ),
)

KNOWN: dict[str, Decoder] = {**SMALL, **PYTHIA, SMOLLM2.name: SMOLLM2}


def find(name: str) -> Decoder:
    """The decoder called `name`: one of the catalogue, a local folder or a hub name, or the first
    k blocks of any of them: `name@k`.

    Only the configuration is read for a folder or a hub name (`owner/name`), and nothing at all
    for one of the catalogue.

    Example:
        >>> d2e.find_decoder("pythia-70m").params
        18915328
        >>> d2e.find_decoder("smollm2-135m@8").shape.layers
        8

    Raises:
        ToolkitError: The name is unknown (nearest names are offered), it has fewer blocks than
            it is to keep, or its configuration is not that of a causal decoder.
    """
    known = catalogued(name)
    if known is not None:
        return known
    if not Path(name).is_dir():
        whole, cut, blocks = name.rpartition("@")
        if cut:
            return cut_after(find(whole), blocks)
        if name.startswith((".", "/", "~")):
            raise SurroundingsError(f"decoder folder {name} does not exist")
        if "/" not in name:
            raise ToolkitError(f"unknown decoder {name!r}{nearest(name, list(KNOWN))}")
    return Decoder(name, config_shape(read_config(name), name), name)


def check_attention(name: str, attention: str, max_tokens: int) -> None:
    """Make sure that a decoder can attend as it is asked to: causal or bidirectional.

    Raises:
        ToolkitError: Not exactly, and why (`check_bidirectional`). GPT-NeoX and Llama, of which
            the catalogue is, always can.
    """
    if attention == "bidirectional" and catalogued(name) is None:
        whole = name if Path(name).is_dir() else name.rpartition("@")[0] or name
        check_bidirectional(read_config(whole), name, max_tokens)


def catalogued(name: str) -> Decoder | None:
    """The decoder of this name if it, or what it is cut from, is one of the catalogue."""
    whole, cut, blocks = name.partition("@")
    known = KNOWN.get(whole) or PYTHIA.get(whole.removeprefix("EleutherAI/"))
    if known is None or not cut:
        return known
    return cut_after(known, blocks) if _keeps(known, blocks) else None


def relatives(name: str) -> tuple[Decoder, ...]:
    """The decoders that a person who has this one has as well: its family by name, or, of a cut
    one, all cuts of the same whole. None of one that is not of the catalogue."""
    known = catalogued(name)
    if known is None:
        return ()
    if known.blocks is None:
        return tuple(each for each in KNOWN.values() if each.family == known.family)
    whole = KNOWN[known.name.partition("@")[0]]
    return tuple(cut_after(whole, str(k + 1)) for k in range(whole.shape.layers))


def cut_after(decoder: Decoder, blocks: str) -> Decoder:
    """The decoder's first blocks, as many as `blocks` says, with its final norm: `name@k`.

    Raises:
        ToolkitError: `blocks` is no whole number from 1 to the number of its blocks.
    """
    layers = decoder.shape.layers
    name = f"{decoder.name}@{blocks}"
    if not _keeps(decoder, blocks):
        raise ToolkitError(
            f"{name!r} does not say how many of its first blocks to keep: give "
            f"{decoder.name}@1 to {decoder.name}@{layers}"
        )
    kept = int(blocks)
    return replace(
        decoder,
        name=f"{decoder.name}@{kept}",
        shape=replace(decoder.shape, layers=kept),
        blocks=kept,
    )


def _keeps(decoder: Decoder, blocks: str) -> bool:
    """Whether `blocks` is a whole number from 1 to the decoder's own."""
    digits = blocks.isascii() and blocks.isdigit() and len(blocks) < 9
    return digits and 1 <= int(blocks) <= decoder.shape.layers

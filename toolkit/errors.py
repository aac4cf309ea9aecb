"""The one exception a person's mistake raises, and how several are told at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

ROOM = 360  # Characters for the names that a sentence lists; a table may have hundreds.


class ToolkitError(Exception):
    """A mistake that its maker can mend: one clear sentence saying what, where and what to do.

    The command line prints the sentence and exits with status 2; notebooks show it as it is. It
    may quote a file or another error: that is put on one line, and characters that would act on a
    terminal are shown as escapes.

    Example:
        >>> try:
        ...     d2e.find_decoder("pythia-71m")
        ... except d2e.ToolkitError as error:
        ...     print(str(error)[:50])
        unknown decoder 'pythia-71m'; did you mean pythia-
    """

    def __init__(self, sentence: str) -> None:
        line = " ".join(sentence.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


class SurroundingsError(ToolkitError):
    """What a run needs is not there now: a file, a disk with room, a permission, a network.

    It says nothing about the run, which is tried again when the sweep is.
    """


@contextmanager
def noting(found: list[ToolkitError]) -> Iterator[None]:
    """Go on after a mistake in the block, keeping it, so that all are told at once."""
    try:
        yield
    except ToolkitError as error:
        if str(error) not in map(str, found):
            found.append(error)


def refuse(found: Sequence[ToolkitError], where: str = "") -> None:
    """Raise what was found, all in one sentence; nothing where nothing was found.

    Raises:
        ToolkitError: As `noting` kept them; a SurroundingsError if all of them are.
    """
    if not found:
        return
    kind = next((type(e) for e in found if type(e) is not SurroundingsError), SurroundingsError)
    several = len(found) > 1
    said = "; ".join(f"({n}) {e}" if several else str(e) for n, e in enumerate(found, 1))
    raise kind(f"{where}{f'{len(found)} things are in the way: ' if several else ''}{said}")


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint such as `; did you mean lora?`, or the list of what is known, for an unknown name."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(map(_short, close))}?"
    listed = [_short(name) for name in known]
    while len(", ".join(listed)) > ROOM:
        listed.pop()
    more = f" and {len(known) - len(listed)} more" if len(listed) < len(known) else ""
    return f"; known: {', '.join(listed)}{more}"


def _short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"

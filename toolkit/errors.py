"""The one exception a person's mistake raises."""


class ToolkitError(Exception):
    """A mistake that its maker can mend: one clear sentence saying what, where and what to do.

    The command line prints the sentence and exits with status 2; notebooks show it as it is. It
    may quote a file or another error: that is put on one line, and characters that would act on a
    terminal are shown as escapes.
    """

    def __init__(self, sentence: str) -> None:
        line = " ".join(sentence.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line))


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """A hint such as `; did you mean lora?`, or the list of what is known, for an unknown name."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known: {', '.join(known)}"

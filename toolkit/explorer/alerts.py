"""Errors in callbacks: shown to the person, kept for the tests, never swallowed.

ipywidgets logs a callback's exception where nobody looks, and notebook runners do not see it. So
every callback of the explorer runs guarded.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as widgets

from toolkit.errors import ToolkitError

MARK = "data-explorer-error"


class Alerts:
    """Where the explorer says what went wrong.

    Attributes:
        widget: Empty while all is well; as high then as with a sentence in it.
        errors: Every unexpected exception so far. A person's mistake (ToolkitError) is shown in
            its sentence but is no error.
    """

    def __init__(self) -> None:
        self.widget = widgets.HTML(layout=widgets.Layout(min_height="30px"))
        self.errors: list[BaseException] = []
        self._depth = 0
        self._quiet = False

    def guard(self, action: Callable[..., Any]) -> Callable[..., None]:
        """`action`, except that its exceptions end up here; what was shown before goes.

        Callbacks call each other: only the outermost begins with a clean slate.
        """

        @functools.wraps(action)
        def guarded(*arguments: Any) -> None:
            if self._depth == 0:
                self.clear()
            self._depth += 1
            try:
                action(*arguments)
            except ToolkitError as mistake:
                self.say(str(mistake))
            except Exception as error:
                self.errors.append(error)
                self._show(error)
            finally:
                self._depth -= 1

        return guarded

    def observe(self, widget: Any, action: Callable[[], Any], names: str = "value") -> None:
        """Call `action` whenever a trait of `widget` changes, but for what we set while `quiet`."""
        guarded = self.guard(action)
        widget.observe(lambda _: None if self._quiet else guarded(), names)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """While the explorer sets its own controls."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def say(self, sentence: str) -> None:
        """Show a sentence to the person."""
        self.widget.value = f'<span role="alert">⚠ {escape(sentence)}</span>'

    def clear(self) -> None:
        if self.widget.value:
            self.widget.value = ""

    def check(self) -> None:
        """Raise the first error that any callback has met so far."""
        if self.errors:
            raise self.errors[0]

    def _show(self, error: BaseException) -> None:
        name = escape(f"{type(error).__name__}: {error}")
        detail = escape("".join(traceback.format_exception(error)))
        self.widget.value = (
            f'<div {MARK} role="alert" style="color: var(--jp-error-color1, #b00020)">'
            f"<b>{name}</b> <details><summary>where</summary><pre>{detail}</pre></details></div>"
        )


def widget_errors(notebook: Mapping[str, Any]) -> list[str]:
    """Errors in the widget state of an executed notebook: alerts shown, and outputs that failed."""
    stored = notebook.get("metadata", {}).get("widgets", {})
    models = stored.get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    found = []
    for model in models.values():
        state = model.get("state", {})
        value = state.get("value")
        if isinstance(value, str) and MARK in value:
            found.append(value)
        for output in state.get("outputs") or ():
            if output.get("output_type") == "error":
                found.append(f"{output.get('ename')}: {output.get('evalue')}")
    return found

"""Coalescing: of many requests in a burst only the last one is worth an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PAUSE = 0.015  # Seconds in which requests are gathered: about one frame of a screen.


class Latest:
    """Calls `action` soon after a request, once for all requests made until then.

    A kernel answers a dragged slider from its event loop. If every move were drawn, the picture
    would lag behind the hand. Without an event loop (a script, a test) the answer is immediate.

    Attributes:
        answers: How many there were.
    """

    def __init__(self, action: Callable[[], None], pause: float = PAUSE) -> None:
        self.action = action
        self.pause = pause
        self.answers = 0
        self._pending: asyncio.TimerHandle | None = None

    def request(self) -> None:
        """Ask for an answer."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._answer()
            return
        if self._pending is None:
            self._pending = loop.call_later(self.pause, self._answer)

    def flush(self) -> None:
        """Answer now what has been asked for."""
        if self._pending is not None:
            self._pending.cancel()
            self._answer()

    def _answer(self) -> None:
        self._pending = None
        self.answers += 1
        self.action()

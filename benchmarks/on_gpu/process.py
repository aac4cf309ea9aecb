"""One measurement in a process of its own: a GPU's context that broke breaks no other."""

from __future__ import annotations

import math
import multiprocessing as mp
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# The parent imports torch and never touches the GPU, so that its children may.
_CONTEXT = mp.get_context("fork")


class Skip(Exception):
    """It cannot be measured here, and why."""


def call(function: Callable[..., dict[str, Any]], *arguments: Any, seconds: float) -> dict:
    """What the function gave, or `{"error": line, "trace": text}`, or `{"skipped": why}`.

    Args:
        function: Gives plain values. seconds: It is killed after so many: `{"late": True}`.
    """
    here, there = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_answer, args=(there, function, arguments))
    process.start()
    there.close()
    try:
        if not here.poll(None if math.isinf(seconds) else max(0.0, seconds)):
            return {"late": True}
        return here.recv()
    except EOFError:
        process.join()
        return {"error": f"its process ended with {process.exitcode}"}
    finally:
        process.kill()
        process.join()


def _answer(pipe: Connection, function: Callable[..., dict], arguments: tuple) -> None:
    try:
        found = function(*arguments)
    except Skip as reason:
        found = {"skipped": str(reason)}
    except Exception as error:  # whatever a GPU never met before may bring
        line = next(iter(str(error).splitlines()), "")
        found = {"error": f"{type(error).__name__}: {line}", "trace": traceback.format_exc()}
    pipe.send(found)

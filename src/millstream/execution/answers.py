"""What a worker makes of a task: a value, or an error as text, whose class may not travel."""

from __future__ import annotations

import pickle
from typing import Any

from millstream import errors
from millstream.errors import FunctionError, MillstreamError
from millstream.execution.protocol import failure

Told = tuple[str, str] | None  # an error: the name of its class, and its message
Content = bytes | bytearray | memoryview


def begun(content: Content, number: int) -> Any:
    """The function to call; if it cannot be had here, one that says so for every task."""
    try:
        begin = pickle.loads(content)
    except BaseException as error:
        text = f"the function cannot be loaded in a worker process: {failure(error)}"
    else:
        try:
            return begin(number)
        except BaseException as error:
            text = f"worker {number} cannot begin: {failure(error)}"

    def fail(task: object, *_: object) -> None:
        raise FunctionError(text)

    return fail


def answer(work: Any, task: Content) -> tuple[Any, Told]:
    """What the function makes of a pickled task."""
    try:
        return work(pickle.loads(task)), None
    except MillstreamError as error:
        return None, told(error)
    except BaseException as error:  # SystemExit too: a task that ends the worker has failed
        return None, told(failure(error))


def told(error: MillstreamError) -> Told:
    """An error on its way to the parent."""
    return type(error).__name__, str(error)


def unsendable(problem: Exception) -> tuple[None, Told]:
    """The answer instead of one that cannot be pickled."""
    if isinstance(problem, MillstreamError):
        return None, told(problem)
    return None, ("FunctionError", f"a result cannot be pickled: {failure(problem)}")


def packed(value: Any, said: Told) -> bytes:
    """An answer in one piece."""
    try:
        return pickle.dumps((value, said), protocol=5)
    except Exception as problem:
        return pickle.dumps(unsendable(problem))


def error_of(said: Told) -> MillstreamError | None:
    """The inverse of `told`."""
    if said is None:
        return None
    name, message = said
    error: MillstreamError = getattr(errors, name, FunctionError)(message)
    return error

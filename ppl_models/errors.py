"""Errors that tell the user what to change.

Every refusal names the argument, the value that was given and the remedy, on one line, so that the scripts can print
it as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Where Pyro's description of a trace begins that it appends to an error.
TRACE_SHAPES = "Trace Shapes:"


class InvalidInput(ValueError):
    """Input that cannot be used, said in one line: argument, value, problem, remedy.

    Args:
        argument: what the user calls it, for example ``--recipe`` or ``x``.
        value: what was given.
        problem: what is wrong with it.
        remedy: what to do instead.

    Raised inside a traced Pyro model it is made anew by Pyro, as ``type(error)(message and the shapes of the trace)``:
    the line that was said is kept, and the shapes are cut off.
    """

    def __init__(self, argument: str, value: object = None, problem: str = "", remedy: str = "") -> None:
        self.argument, self.value, self.problem, self.remedy = argument, value, problem, remedy
        line = f"{argument} {value!r}: {problem}; {remedy}" if problem else argument.partition(TRACE_SHAPES)[0]
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, object, str, str]]:
        """An error must survive the way back from a worker process."""
        return type(self), (self.argument, self.value, self.problem, self.remedy)


class NotADensityError(TypeError):
    """A likelihood was asked of something that assigns no probability to images."""


class NoExactEvidenceError(InvalidInput):
    """An exact log p(x) was asked of a program that has only bounds."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest known ones first, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{hint}known: {', '.join(known)}"

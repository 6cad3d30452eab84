"""The one error that tells the user what to change, on one line."""

from __future__ import annotations


class InvalidInput(ValueError):
    """Input that cannot be used, said in one line: argument, value, problem, remedy.

    Args:
        argument: what the user calls it: an argument of a script, or a file and the key in it.
        value: what was given.
        problem: what is wrong with it.
        remedy: what to do instead.
    """

    def __init__(self, argument: str, value: object, problem: str, remedy: str) -> None:
        self.argument, self.value, self.problem, self.remedy = argument, value, problem, remedy
        line = f"{argument} {value!s}: {problem}; {remedy}"
        super().__init__(" ".join(line.split()))


class Incomparable(ValueError):
    """Two sets of numbers that must not be compared: another measure, other data, other images."""

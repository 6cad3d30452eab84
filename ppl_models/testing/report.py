"""What a run of the kit says: a list of checks, each passed, failed with one sentence, or skipped with its reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import pyro
import torch

from ..user_files import described

MARKS = {"passed": "✓", "failed": "✗", "skipped": "–"}
# Where the output cannot show these.
PLAIN_MARKS = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}


class Failure(Exception):
    """Raised inside a check: one sentence that says what is wrong and what to do."""


class Skip(Exception):
    """Raised inside a check that does not apply: the reason."""


@dataclass(frozen=True)
class Check:
    """One line of a report.

    Args:
        name: what is checked.
        outcome: ``"passed"``, ``"failed"`` or ``"skipped"``.
        sentence: what is wrong and its remedy, why it was skipped, or a remark such as a measured number.
    """

    name: str
    outcome: str
    sentence: str = ""

    def line(self, plain: bool = False) -> str:
        """Mark, name and sentence; ``plain`` keeps to ASCII marks."""
        mark = (PLAIN_MARKS if plain else MARKS)[self.outcome]
        return f"{mark} {self.name}{': ' if self.sentence else ''}{self.sentence}"


@dataclass(frozen=True)
class Report:
    """All checks of one object, in the order in which they ran.

    Args:
        subject: what was checked.
        checks: the lines.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def skipped(self) -> tuple[Check, ...]:
        """The checks that did not apply."""
        return tuple(check for check in self.checks if check.outcome == "skipped")

    def __getitem__(self, name: str) -> Check:
        """The check of that name; ``KeyError`` for none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def counts(self) -> str:
        """For example ``"17 passed, 1 skipped"``."""
        numbers = Counter(check.outcome for check in self.checks)
        return ", ".join(f"{numbers[outcome]} {outcome}" for outcome in MARKS if numbers[outcome])

    def text(self, plain: bool = False) -> str:
        """The subject, a line per check, and the counts."""
        return "\n".join([self.subject, *(check.line(plain) for check in self.checks), self.counts()])

    def __str__(self) -> str:
        return self.text()

    def or_raise(self) -> Report:
        """Itself, if no check failed.

        Raises:
            ConformanceError: otherwise.
        """
        if not self.ok:
            raise ConformanceError(self)
        return self


class ConformanceError(AssertionError):
    """Checks failed. The message has one line for each of them, the attribute ``report`` all that were made."""

    def __init__(self, report: Report) -> None:
        self.report = report
        failed = [f"{check.name}: {check.sentence}" for check in report.failed]
        super().__init__("\n".join([f"{report.subject}: {report.counts()}", *failed]))

    def __reduce__(self) -> tuple[type[ConformanceError], tuple[Report]]:
        """The message is made from the report."""
        return type(self), (self.report,)


@dataclass(frozen=True)
class Step:
    """One check as it is run.

    Args:
        name: what is checked.
        function: takes the subject; raises ``Failure`` or ``Skip``; returns a remark, or nothing.
        remedy: what to do about an error that it does not foresee.
        needs: names of checks without which it says nothing: it is skipped unless they passed.
    """

    name: str
    function: Callable[[Any], str | None]
    remedy: str
    needs: tuple[str, ...] = field(default=())


def run_steps(steps: Sequence[Step], subject: Any, title: str, seed: int, device: torch.device | str = "cpu") -> Report:
    """Run all steps, each with noise of its own that depends on the seed and its name alone."""
    checks: list[Check] = []
    for step in steps:
        done = {check.name: check.outcome for check in checks}
        unmet = [name for name in step.needs if done.get(name) != "passed"]
        if unmet:
            checks.append(Check(step.name, "skipped", f"it needs {unmet[0]!r}"))
            continue
        with sandbox(seed + crc32(step.name.encode()), device):
            checks.append(_outcome(step, subject))
    return Report(title, tuple(checks))


def _outcome(step: Step, subject: Any) -> Check:
    try:
        return Check(step.name, "passed", step.function(subject) or "")
    except Failure as failure:
        return Check(step.name, "failed", " ".join(str(failure).split()))
    except Skip as skip:
        return Check(step.name, "skipped", " ".join(str(skip).split()))
    except Exception as error:  # noqa: BLE001  a user's code may raise anything, and the other checks go on
        return Check(step.name, "failed", f"{' '.join(described(error).split())}; {step.remedy}")


@contextmanager
def sandbox(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, noise is seeded, Pyro validates and gradients are kept; afterwards generators and Pyro's parameter store
    are as they were."""
    device = torch.device(device)
    devices = [device.index or 0] if device.type == "cuda" else []
    # The order matters: the store is put back when validation and gradients already are.
    with (
        torch.random.fork_rng(devices=devices),
        pyro.get_param_store().scope(),
        pyro.validation_enabled(),
        torch.enable_grad(),
    ):
        torch.manual_seed(seed)
        yield


def holm(p_values: Sequence[float], level: float) -> list[int]:
    """The tests that are rejected at a family-wise level (Holm 1979)."""
    rejected: list[int] = []
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not p_values[index] * (len(p_values) - rank) < level:
            break
        rejected.append(index)
    return rejected


def two_sided(z: float) -> float:
    """The p-value of a standard normal statistic; 0 for NaN, which is no agreement."""
    return 0.0 if math.isnan(z) else math.erfc(abs(z) / math.sqrt(2))

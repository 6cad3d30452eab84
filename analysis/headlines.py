"""One line per pair of members from the verdicts on their runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.verdicts import Verdict, Word


@dataclass(frozen=True)
class Headline:
    """What the verdicts on the runs of two members have in common.

    Attributes:
        left, right: the members.
        word: the word that all run pairs share, else undecided.
        higher: the member that all of them put higher, or ``None``.
        verdicts: those on the single pairs of runs.
        weakest: the one with the largest adjusted p-value; its sentence stands for all.
    """

    left: str
    right: str
    word: Word
    higher: str | None
    verdicts: tuple[Verdict, ...]
    weakest: Verdict

    @property
    def mixed(self) -> bool:
        """Whether the run pairs differ in word or direction."""
        return len({(verdict.word, member_of(verdict.higher)) for verdict in self.verdicts}) > 1

    @property
    def tally(self) -> str:
        """How many pairs of runs got which word."""
        total = len(self.verdicts)
        words = [(verdict.word, member_of(verdict.higher)) for verdict in self.verdicts]
        counts = []
        for word, higher in sorted(set(words), key=lambda pair: (list(Word).index(pair[0]), str(pair[1]))):
            direction = f" ({higher} higher)" if self.mixed and higher else ""
            counts.append(f"{word}{direction} in {words.count((word, higher))}")
        return f"{', '.join(counts)} of {total} pair{'s' if total > 1 else ''} of runs"

    @property
    def relation(self) -> str:
        """Who is said to have the higher log p(x)."""
        if self.higher is None:
            return f"{self.left} and {self.right}"
        lower = self.right if self.higher == self.left else self.left
        return f"{self.higher} has higher log p(x) than {lower}"

    @property
    def sentence(self) -> str:
        """The headline as one line of text."""
        if self.mixed:
            return f"{self.relation}: {self.word} as a whole ({self.tally})"
        advice = f"; {self.weakest.would_decide}" if self.weakest.would_decide else ""
        lead = "" if len(self.verdicts) == 1 else f"{self.weakest.left} and {self.weakest.right}: "
        return f"{self.relation}: {self.word} ({self.tally}); {lead}{self.weakest.why}{advice}"


def headlines(verdicts: Sequence[Verdict]) -> list[Headline]:
    """Group the verdicts on runs by pair of members, in their order."""
    groups: dict[tuple[str | None, str | None], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((member_of(verdict.left), member_of(verdict.right)), []).append(verdict)
    return [_headline(str(left), str(right), group) for (left, right), group in groups.items()]


def _headline(left: str, right: str, group: list[Verdict]) -> Headline:
    agreed = {(verdict.word, member_of(verdict.higher)) for verdict in group}
    word, higher = agreed.pop() if len(agreed) == 1 else (Word.UNDECIDED, None)
    weakest = max(group, key=lambda verdict: verdict.p_adjusted)
    return Headline(left, right, word, higher, tuple(group), weakest)


def member_of(name: str | None) -> str | None:
    """The member of a run's printed name: ``vae`` of ``vae/seed-0``."""
    return None if name is None else name.rpartition("/seed-")[0] or name

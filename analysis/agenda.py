"""What is established, what is indicated, and what would decide the rest: the verdicts of a report in one table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from analysis.headlines import Headline, headlines
from analysis.pairs import Judgement
from analysis.verdicts import Verdict, Word

RUNS, METHODS = "these trained runs", "the methods"


@dataclass(frozen=True)
class AgendaRow:
    """Pairs that share a word and, where they are undecided, what would decide them.

    Attributes:
        word: established, indicated or undecided.
        pairs: (who, about what): ``("made > vae", "the methods")``; without an order, ``"made, vae"``.
        action: what would make the word stronger; for what is established, nothing.
    """

    word: Word
    pairs: tuple[tuple[str, str], ...]
    action: str


def agenda(judgement: Judgement) -> list[AgendaRow]:
    """The verdicts grouped: first what is established, then what is indicated, then the rest by what would decide it.

    Runs are taken as headlines, one entry per pair of members. What is indicated rests on the convergence of annealed
    importance sampling, which no finite computation shows on a given image; more temperatures and a narrower simulated
    width make it more credible and never established. An exact value or a numerical one does.
    """
    grouped: dict[tuple[Word, str], list[tuple[str, str]]] = {}
    for entry, about in _entries(judgement):
        grouped.setdefault((entry.word, _action(entry)), []).append((_who(entry), about))
    order = list(Word)
    rows = [AgendaRow(word, tuple(pairs), action) for (word, action), pairs in grouped.items()]
    return sorted(rows, key=lambda row: (order.index(row.word), -len(row.pairs)))


def _entries(judgement: Judgement) -> Iterable[tuple[Headline | Verdict, str]]:
    yield from ((line, RUNS) for line in headlines(judgement.of_scope("runs")))
    yield from ((verdict, METHODS) for verdict in judgement.of_scope("methods"))


def _who(entry: Headline | Verdict) -> str:
    if entry.higher is None:
        return f"{entry.left}, {entry.right}"
    return f"{entry.higher} > {entry.right if entry.higher == entry.left else entry.left}"


def _action(entry: Headline | Verdict) -> str:
    if entry.word is Word.ESTABLISHED:
        return ""
    if entry.word is Word.INDICATED:
        lower = entry.right if entry.higher == entry.left else entry.left
        return f"an exact or numerical log p(x) of {lower}; more temperatures make it more credible, not established"
    if isinstance(entry, Verdict):
        return entry.would_decide
    if entry.mixed:
        open_ones = [verdict.would_decide for verdict in entry.verdicts if verdict.would_decide]
        return "; ".join(dict.fromkeys(open_ones)) or "more seeds: the runs of the two differ in direction"
    return entry.weakest.would_decide
